"""A fabricated session: every file that the stages write, small, with numbers from the study of a made-up world."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import starfile
import yaml
from scipy import ndimage
from scipy.spatial.transform import Rotation

from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import StarTable, write_star
from scherzer.study.power import GroupWorld, World, WorldSettings, make_world
from scherzer.study.run import run_study
from scherzer.study.settings import StudyContext, StudySettings

PIXEL_A = 1.5
DIAMETER_A = 120.0
REJECTED = (
    ("drift_0001", "rejected", "drifted: 41.3 A in all, 12.0 A allowed"),
    ("drift_0002", "rejected", "drifted: 28.9 A in all, 12.0 A allowed"),
    ("empty_0001", "rejected", "empty: fewer than 5 particles and rings to 18 A only"),
    ("broken_0001", "failed", "truncated: 3 of 16 frames are there"),
)


def phantom(box: int, resolution_A: float, noise: float = 0.0) -> np.ndarray:
    """An octahedral shell of Gaussian blobs, (box, box, box)."""
    rng = np.random.default_rng(3)
    seeds = rng.normal(size=(26, 3))
    seeds *= (rng.uniform(0.62, 0.95, 26) / np.linalg.norm(seeds, axis=1))[:, None]
    points = np.concatenate([op.apply(seeds) for op in Rotation.create_group("O")]) * 0.36 * box
    volume = np.zeros((box, box, box))
    z, y, x = (np.round(points[:, axis]).astype(int) + box // 2 for axis in (2, 1, 0))
    np.add.at(volume, (z, y, x), 1.0)
    smooth = ndimage.gaussian_filter(volume, 0.022 * box * resolution_A / 4.0)
    smooth /= smooth.max()
    return (smooth + noise * ndimage.gaussian_filter(rng.normal(size=smooth.shape), 1.0)).astype(np.float32)


def _image(side: int, xy: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    particles = np.zeros((side, side))
    for x, y in xy:
        particles[int(y), int(x)] = 1.0
    radius = DIAMETER_A / 2 / PIXEL_A
    ring = ndimage.gaussian_filter(particles, 0.45 * radius) * radius**2
    return (rng.normal(size=(side, side)) - 8 * strength * ring).astype(np.float32)


def _micrographs(root: Path, world: World, side: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, picks = [], []
    for micrograph in world.micrographs.to_dict("records"):
        name = Path(micrograph["rlnMicrographName"]).stem
        xy = rng.uniform(0.08 * side, 0.92 * side, (max(6, (side // 128) ** 2 + 6), 2))
        write_mrc(
            root / "motion" / f"{name}.mrc",
            _image(side, xy, rng, 0.6 * micrograph["rlnDefocusU"] / 2e4),
            PIXEL_A,
            "image",
        )
        (root / "ctf").mkdir(exist_ok=True)
        k = np.linspace(0.03, 0.32, 240)
        rings = np.cos(np.pi * 0.0197 * micrograph["rlnDefocusU"] * k**2 * 2) * np.exp(-28 * k**2)
        profile = pd.DataFrame(
            {
                "sczFrequencyPerA": k,
                "sczCtfData": rings * np.exp(-12 * k**2) + 0.05 * rng.normal(size=len(k)),
                "sczCtfModel": rings,
                "sczCtfAgreement": np.clip(1.2 - 3 * k, -1, 1),
            }
        )
        starfile.write({"ctf_profile": profile}, root / "ctf" / f"{name}_profile.star", overwrite=True)
        grid = np.hypot(*np.meshgrid(np.linspace(-0.33, 0.33, 128), np.linspace(-0.33, 0.33, 128)))
        model = 0.5 + 0.5 * np.cos(np.pi * 0.0197 * micrograph["rlnDefocusU"] * grid**2 * 2) * np.exp(-8 * grid)
        data = np.clip(model + 0.18 * rng.normal(size=grid.shape), 0, 1)
        write_mrc(
            root / "ctf" / f"{name}.mrc",
            np.where(np.arange(128) < 64, data, model).astype(np.float32),
            PIXEL_A,
            "image",
        )
        rows.append(
            {
                **micrograph,
                "rlnMicrographName": f"motion/{name}.mrc",
                "rlnDefocusV": micrograph["rlnDefocusV"] - 180.0,
                "rlnDefocusAngle": 31.0,
                "rlnCtfMaxResolution": 3.6 + 6000.0 / micrograph["rlnDefocusU"] + rng.uniform(0, 0.6),
                "rlnCtfFigureOfMerit": 0.12 + rng.uniform(0, 0.05),
                "rlnAccumMotionTotal": rng.uniform(3, 9),
                "rlnCtfImage": f"ctf/{name}.mrc",
                "sczCtfProfile": f"ctf/{name}_profile.star",
                "rlnOpticsGroup": 1,
            }
        )
        picks.append(
            pd.DataFrame(
                {"rlnMicrographName": f"motion/{name}.mrc", "rlnCoordinateX": xy[:, 0], "rlnCoordinateY": xy[:, 1]}
            )
        )
    for name, state, reason in REJECTED:
        if state == "rejected":
            write_mrc(root / "motion" / f"{name}.mrc", _image(side, np.zeros((0, 2)), rng, 0), PIXEL_A, "image")
        rows.append(
            {"rlnMicrographName": f"motion/{name}.mrc", "sczState": state, "sczReason": reason, "rlnOpticsGroup": 1}
        )
    return pd.DataFrame(rows), pd.concat(picks, ignore_index=True)


def _classes(root: Path, box: int, rng: np.random.Generator) -> None:
    volume = phantom(box, 9.0)
    count = 20
    averages, rows = [], []
    for number in range(count):
        kept = number % 3 != 2
        turned = ndimage.rotate(volume, 17.0 * number, axes=(0, 1), reshape=False, order=1)
        projection = turned.sum(axis=0) if kept else 0.2 * turned.sum(axis=1)
        averages.append(
            projection / projection.max()
            + (0.04 if kept else 0.5) * ndimage.gaussian_filter(rng.normal(size=(box, box)), 2)
        )
        rows.append(
            {
                "rlnReferenceImage": f"{number + 1:06d}@class2d/classes.mrcs",
                "rlnClassDistribution": 1 / count,
                "rlnEstimatedResolution": 8.2 + number / 4,
                "sczClassParticles": 0.0 if number == 19 else 400.0 - 17 * number,
                "sczClassScore": 0.9 if kept else 0.1,
                "sczClassKept": int(kept),
                "sczReason": "" if kept else "off centre by 0.21 diameters",
            }
        )
    write_mrc(root / "class2d" / "classes.mrcs", np.stack(averages).astype(np.float32), 3.0, "stack")
    starfile.write({"classes": pd.DataFrame(rows)}, root / "class2d" / "classes.star", overwrite=True)


def _map_files(root: Path, subset: str, box: int, resolution_A: float) -> dict[str, str]:
    folder = root / "refine" / subset.replace(" ", "_").replace(",", "")
    volume = phantom(box, resolution_A, 0.02)
    radius = np.sqrt(sum(np.meshgrid(*[(np.arange(box) - box // 2) ** 2.0] * 3, indexing="ij")))
    mask = np.clip((0.42 * box - radius) / 4, 0, 1).astype(np.float32)
    for role, data in (("map", volume), ("half1", volume), ("half2", volume), ("mask", mask), ("sharpened", volume)):
        write_mrc(folder / f"{role}.mrc", data, 2.0, "volume")
    k = np.arange(1, 65) / (128 * PIXEL_A)
    fsc = 1 / (1 + np.exp((k - 1 / resolution_A) * 45 + np.log(0.143 / 0.857) * -1))
    curves = pd.DataFrame(
        {
            "rlnSpectralIndex": np.arange(1, 65),
            "rlnResolution": k,
            "rlnAngstromResolution": 1 / k,
            "rlnFourierShellCorrelationCorrected": fsc,
            "rlnFourierShellCorrelationUnmaskedMaps": fsc**1.6,
            "rlnFourierShellCorrelationMaskedMaps": np.clip(fsc + 0.03, 0, 1),
            "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps": 0.05 * np.exp(-6 * k),
            "sczFourierShellCorrelationModelMap": np.sqrt(2 * fsc / (1 + fsc)),
        }
    )
    inside = (k > 0.1) & (k < 1 / resolution_A)
    guinier = pd.DataFrame(
        {
            "rlnResolutionSquared": k**2,
            "rlnLogAmplitudesOriginal": 8 - 140 / 4 * k**2 + 0.05 * np.sin(60 * k),
            "sczInGuinierFit": inside.astype(int),
        }
    )
    starfile.write({"fsc": curves, "guinier": guinier}, folder / "fsc.star", overwrite=True)
    return {
        role: str((folder / f"{role}.mrc").relative_to(root)) for role in ("map", "half1", "half2", "mask", "sharpened")
    } | {"fsc": str((folder / "fsc.star").relative_to(root))}


def _record(row: dict[str, Any], picks: pd.DataFrame) -> dict[str, Any]:
    if row["sczState"] != "accepted":
        return {
            "name": row["rlnMicrographName"],
            "state": row["sczState"],
            "reason": row["sczReason"],
            "defocus_u_A": None,
            "contrast": None,
        }
    own = int((picks["rlnMicrographName"] == row["rlnMicrographName"]).sum())
    return {
        "name": row["rlnMicrographName"],
        "state": "accepted",
        "reason": "",
        "defocus_u_A": row["rlnDefocusU"],
        "defocus_v_A": row["rlnDefocusV"],
        "defocus_angle_deg": row["rlnDefocusAngle"],
        "ctf_fit_resolution_A": row["rlnCtfMaxResolution"],
        "ctf_score": row["rlnCtfFigureOfMerit"],
        "motion_total_A": row["rlnAccumMotionTotal"],
        "contrast": {
            "label": row["sczContrastClass"],
            "probability_good": 0.8,
            "probability_moderate": 0.15,
            "probability_bad": 0.05,
            "d_prime": {"value": 11.24, "low": 9.6, "high": 13.1, "method": "90 % interval of a made-up network"},
            "why": f"{row['sczContrastClass']} (0.80): d' 11.2 (9.6 to 13.1); particle-band power 1.8 times the noise",
        },
        "picks": own,
        "particles_kept": own - 2,
    }


def fabricate(root: Path, per_class: int = 8, side: int = 256, box: int = 40, ladder: bool = True) -> Path:
    """Write a whole session that looks as if every stage had been run; return its root."""
    rng = np.random.default_rng(11)
    quality = {"good": (0.0, 2.0), "moderate": (-0.6, 1.45), "bad": (-2.4, 0.8)}
    groups = {name: GroupWorld(per_class, 150.0, q, (defocus, 0.28)) for name, (q, defocus) in quality.items()}
    world = make_world(WorldSettings(groups=groups, bfactor_A2=150.0, strength=1.6e-3), 5)
    settings = StudySettings(draws=3, ladder=(0.5, 0.25) if ladder else (), max_refinements=30)
    study = run_study(
        world.micrographs,
        world.picked,
        world.selected,
        world.refiner,
        StudyContext("O", 24, "ab initio map at 20 A", 20.0),
        settings,
    )
    micrographs, picks = _micrographs(root, world, side, rng)
    optics = pd.DataFrame(
        {"rlnOpticsGroup": [1], "rlnOpticsGroupName": ["opticsGroup1"], "rlnMicrographPixelSize": [PIXEL_A]}
    )
    for stage in ("import", "motion", "ctf", "contrast"):
        write_star(StarTable("micrographs", optics, micrographs), root / stage / "micrographs.star")
    picks["rlnOpticsGroup"] = 1
    write_star(StarTable("particles", optics, picks), root / "pick" / "particles.star")
    kept = picks.assign(
        sczState=np.where(np.arange(len(picks)) % 5 == 0, "rejected", "accepted"), sczReason="", rlnClassNumber=1
    )
    write_star(StarTable("particles", optics, kept), root / "class2d" / "particles.star")
    _classes(root, box, rng)
    write_mrc(root / "abinitio" / "map.mrc", phantom(box, 14.0), 2.0, "volume")
    maps = study.maps
    for entry in maps:
        resolution_A = entry["resolution_fsc143_A"]["value"]
        entry["files"] = _map_files(root, entry["subset"], box, resolution_A) if resolution_A else {}
    results = {
        "schema": 1,
        "software": {"scherzer": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "numpy": "2.4.6"},
        "session": {"name": "made-up apo-ferritin", "input_count": len(micrographs)},
        **study.to_json(),
        "micrographs": [_record({str(k): v for k, v in row.items()}, picks) for row in micrographs.to_dict("records")],
    }
    results["maps"] = maps
    (root / "results.json").write_text(json.dumps(results), encoding="utf-8")
    acquisition = {
        "pixel_size_A": PIXEL_A,
        "voltage_kV": 300.0,
        "cs_mm": 2.7,
        "amplitude_contrast": 0.07,
        "dose_per_frame_e_per_A2": 1.2,
        "gain": None,
        "symmetry": "O",
        "diameter_A": DIAMETER_A,
        "initial_map": None,
    }
    content = {
        "inputs": ["/data/a.mrc"],
        "acquisition": acquisition,
        "ctf": {"min_defocus_A": 3000.0, "max_defocus_A": 50000.0},
    }
    (root / "session.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def session_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fabricated session; read only."""
    return fabricate(tmp_path_factory.mktemp("report") / "session")


@pytest.fixture(scope="session")
def make_session() -> Callable[..., Path]:
    """Return the fabricator, for tests that change a session."""
    return fabricate
