"""Boxes cut from simulated micrographs where there is no particle to be had, as a picker's mistakes are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from particle_sets import BOX_PX, PIXEL_A, RAW_BOX_PX, RAW_PIXEL_A, Known, settings_of
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from scherzer.likelihood.particle_set import ParticleSet
from scherzer.particles.extraction import extract_particles
from scherzer.particles.half_sets import assign_half_sets
from scherzer.physics.optics import ctf_parameters_of
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.plan import plan_session
from scherzer.simulate.settings import FaultSettings
from scherzer.simulate.specimen import load_specimen
from scherzer.simulate.truth import truth_of

# Between neighbours stands for a box half a diameter off a particle, towards the nearest other one.
KINDS = ("true", "ice ball", "carbon edge", "aggregate", "empty ice", "between neighbours")
FAULTS = {"ice ball": "ice_balls", "carbon edge": "carbon", "aggregate": "aggregation"}
PER_MICROGRAPH = 72
# What is nearer to a particle than this, in diameters, is no mistake of a picker; farther than the second, empty.
OFF_CENTRE, CLEAR = 0.3, 0.9
Places = NDArray[np.float64]


@dataclass(frozen=True)
class Mixed:
    """True particles and junk, shuffled.

    Attributes
    ----------
    particles : ParticleSet
        n images, box 128 at 1.8 A.
    kind : Tensor
        ``(n,)`` place in `KINDS`; -1 for a broken particle, which counts as neither.
    shift_A : Tensor
        ``(n, 2)`` where the particle lies from the centre of its image; 0 for junk.
    detectability : Tensor
        ``(n,)`` contrast of true particles, nan for junk.
    images : Tensor
        ``(n, 128, 128)``.
    rows : DataFrame
        RELION labels of the n images.
    """

    particles: ParticleSet
    kind: torch.Tensor
    shift_A: torch.Tensor
    detectability: torch.Tensor
    images: torch.Tensor
    rows: pd.DataFrame


def with_junk(known: Known, share: float = 0.3, seed: int = 2) -> Mixed:
    """Add boxes of junk to known particles until they are a share of all."""
    count = round(len(known.images) * share / (1 - share))
    images, rows, kind = _junk(known, count, seed)
    true = torch.where(torch.from_numpy(known.table.rows["sczBroken"].to_numpy() > 0), -1, 0)
    order = torch.randperm(len(true) + count, generator=torch.Generator().manual_seed(seed))
    columns = [c for c in known.table.rows if c in rows and c != "rlnRandomSubset"]
    joined = pd.concat([known.table.rows[columns], rows[columns]], ignore_index=True).iloc[order.numpy()]
    micrograph = torch.from_numpy(pd.factorize(joined["rlnMicrographName"])[0].astype(np.int64))
    images = torch.cat([known.images, images])[order]
    ctf = ctf_parameters_of(joined, known.table.optics)
    half = assign_half_sets(micrograph)
    blank = torch.full((count,), torch.nan)
    seen = torch.from_numpy(known.table.rows["sczDetectability"].to_numpy(np.float32))
    return Mixed(
        ParticleSet.from_images(images, ctf, PIXEL_A, micrograph, half),
        torch.cat([true, kind])[order],
        torch.cat([known.shift_A, torch.zeros(count, 2)])[order],
        torch.cat([seen, blank])[order],
        images,
        joined.assign(rlnRandomSubset=half.numpy()).reset_index(drop=True),
    )


def _junk(known: Known, count: int, seed: int) -> tuple[torch.Tensor, pd.DataFrame, torch.Tensor]:
    case = known.case
    rng = np.random.default_rng(seed)
    micrographs = -(-count // PER_MICROGRAPH)
    settings = settings_of(case, micrographs, seed + 100)
    settings = replace(settings, faults=FaultSettings(ice_balls=0.34, carbon_edge=0.33, aggregation=0.33))
    specimen = load_specimen(settings.specimen)
    images, rows, kinds = [], [], []
    for plan in plan_session(settings):
        exposure = simulate_exposure(plan, specimen, settings, threads=torch.get_num_threads())
        micrograph = torch.from_numpy(next(exposure.frames).astype(np.float32))
        truth = truth_of(exposure, f"junk_{plan.name}.mrc", specimen, settings).particles
        places, kind = _places(rng, exposure.masks, truth, micrograph.shape, case.diameter_A / RAW_PIXEL_A)
        at = torch.from_numpy(places)
        cut = extract_particles(micrograph, at[:, 0], at[:, 1], RAW_PIXEL_A, case.diameter_A, RAW_BOX_PX, BOX_PX)
        images.append(cut.images)
        kinds.append(kind[cut.kept])
        own = {
            "rlnMicrographName": f"junk_{plan.name}.mrc",
            "rlnCoordinateX": places[:, 0],
            "rlnCoordinateY": places[:, 1],
            "rlnDefocusU": plan.defocus_u_A,
            "rlnDefocusV": plan.defocus_v_A,
            "rlnDefocusAngle": np.degrees(plan.defocus_angle_rad),
            "rlnPhaseShift": settings.microscope.phase_shift_deg,
            "rlnOpticsGroup": 1,
        }
        rows.append(pd.DataFrame(own)[cut.kept.numpy()])
    every, table, kind = torch.cat(images), pd.concat(rows, ignore_index=True), torch.cat(kinds)
    chosen = np.sort(rng.permutation(len(every))[:count])
    return every[chosen], table.iloc[chosen], kind[chosen]


def _places(
    rng: np.random.Generator,
    masks: dict[str, NDArray[np.bool_]],
    truth: pd.DataFrame,
    shape: torch.Size,
    diameter_px: float,
) -> tuple[Places, torch.Tensor]:
    """Draw places of every kind that a micrograph has: ``(n, 2)`` x and y, and which kind each is."""
    own = truth[["rlnCoordinateX", "rlnCoordinateY"]].to_numpy(np.float64)
    tree = cKDTree(own)
    spoilt = np.zeros(shape, bool)
    for mask in masks.values():
        spoilt |= mask
    wanted = {kind: FAULTS[kind] for kind in FAULTS if masks.get(FAULTS[kind]) is not None}
    found: list[tuple[str, Places]] = []
    margin = diameter_px / 2 + 2
    each = 4 * PER_MICROGRAPH
    for kind, mask in wanted.items():
        # Of carbon the edge is what a picker finds.
        inside = (
            masks[mask] & (distance_transform_edt(masks[mask]) < diameter_px / 2) if mask == "carbon" else masks[mask]
        )
        y, x = np.nonzero(inside)
        chosen = rng.permutation(len(x))[:each]
        found.append((kind, np.stack([x[chosen], y[chosen]], axis=1).astype(np.float64)))
    anywhere = rng.uniform(margin, np.array([shape[1], shape[0]]) - margin, (40 * each, 2))
    clean = ~spoilt[anywhere[:, 1].astype(int), anywhere[:, 0].astype(int)]
    far = tree.query(anywhere)[0] > CLEAR * diameter_px
    found.append(("empty ice", anywhere[clean & far]))
    nearest = tree.query(own, k=2)[1][:, 1]
    towards = own[nearest] - own
    half_way = own + towards / np.linalg.norm(towards, axis=1, keepdims=True) * diameter_px / 2
    found.append(("between neighbours", rng.permutation(half_way)))
    places, kinds = [], []
    share = {"empty ice": 1 / 5, "between neighbours": 1 / 5}
    for kind, at in found:
        usable = at[(tree.query(at)[0] > OFF_CENTRE * diameter_px) & (at > margin).all(1)] if len(at) else at
        usable = usable[(usable < np.array([shape[1], shape[0]]) - margin).all(1)]
        usable = _apart(usable, 0.4 * diameter_px)[: round(1.6 * PER_MICROGRAPH * share.get(kind, 3 / 5))]
        places.append(usable)
        kinds.append(torch.full((len(usable),), KINDS.index(kind)))
    return np.concatenate(places), torch.cat(kinds)


def _apart(places: Places, least_px: float) -> Places:
    """Leave out what is nearer than this to one before it, as a picker does."""
    kept: list[int] = []
    for at in range(len(places)):
        if not kept or np.min(np.linalg.norm(places[kept] - places[at], axis=1)) >= least_px:
            kept.append(at)
    return places[kept]
