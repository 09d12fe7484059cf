"""Whether picking, extraction and 2D favour micrographs of high contrast: a simulated session whose truth is known.

    python benchmarks/particles_fairness.py [FOLDER]

runs the program's stages from import to class2d on beta-galactosidase at 0.4 to 2.6 um with ice balls, carbon edges and
aggregates on three in five micrographs, and holds picks and kept particles against the truth, by thirds of the
micrographs' true detectability: good, moderate and bad. In FOLDER what is there is not made again. What is asked for
stands in brackets.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from particle_sets import CASES, settings_of
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from scherzer.formats.mrc import read_mrc
from scherzer.formats.star import read_star
from scherzer.micrographs.contrast.visibility import LABELS
from scherzer.session.chain import run_one
from scherzer.session.demo import TRUTH, prepare_simulated
from scherzer.session.folder import Session
from scherzer.session.stages.context import StageOutcome
from scherzer.simulate.settings import FaultSettings, SimulationSettings

Row = tuple[str, str]
SPECIMEN, MICROGRAPHS, SEED = "D2", 25, 6
DOSE_E_PER_A2 = 70.0  # so that detectability varies twofold
STAGES = ("import", "motion", "ctf", "contrast", "pick", "extract", "class2d")
# A pick so near to a particle, in diameters, means it.
WITHIN = 0.25


@dataclass(frozen=True)
class Truth:
    """The particles of a session.

    Attributes
    ----------
    rows : DataFrame
        Of truth/particles.star, with the ``name`` of their micrograph and whether they are ``whole``: not broken, not
        in an aggregate; and ``clear``: whole, with nothing over them, and not cut by the edge.
    group : dict
        Third of each micrograph, by the true detectability of its whole particles.
    """

    rows: pd.DataFrame
    group: dict[str, str]


def simulation() -> SimulationSettings:
    """Return the session."""
    faults = FaultSettings(ice_balls=0.24, carbon_edge=0.16, aggregation=0.2)
    usual = settings_of(CASES[SPECIMEN], MICROGRAPHS, SEED)
    return replace(usual, faults=faults, exposure=replace(usual.exposure, dose_e_per_A2=DOSE_E_PER_A2))


class Silent:
    """Shows nothing but how each stage ended."""

    def begin(self, stage: str) -> Callable[[float, str], None]:
        return lambda fraction, message: None

    def end(self, stage: str, outcome: StageOutcome) -> None:
        print(f"{stage:<9} {outcome.summary}", file=sys.stderr, flush=True)


def processed(root: Path, workers: int = 1) -> Session:
    """Simulate the session and run it to the choice of classes."""
    session, settings = prepare_simulated(root, simulation(), workers)
    for stage in STAGES:
        run_one(stage, session, settings, workers, Silent())
    return session


def truth_of(session: Session) -> Truth:
    """Read what is true of a session."""
    rows = read_star(session.root / TRUTH / "particles.star").rows
    rows = rows.assign(name=_stems(rows), whole=(rows["sczBroken"] == 0) & (rows["sczClumped"] == 0))
    clear = pd.Series(False, index=rows.index)
    microscope = simulation().microscope
    radius_px = CASES[SPECIMEN].diameter_A / 2 / microscope.pixel_size_A
    for name, own in rows.groupby("name"):
        places = own[["rlnCoordinateX", "rlnCoordinateY"]].to_numpy()
        inside = ((places >= radius_px) & (places <= microscope.width_px - 1 - radius_px)).all(1)
        path = session.root / TRUTH / "masks" / f"{name}.mrc"
        if path.is_file():
            mask = read_mrc(path).data
            x, y = (places * len(mask) / microscope.height_px).astype(int).clip(0, len(mask) - 1).T
            inside &= mask[y, x] == 0
        clear[own.index] = own["whole"] & inside
    rows = rows.assign(clear=clear)
    seen = rows[rows["whole"]].groupby("name")["sczDetectability"].median()
    thirds = pd.qcut(seen, 3, labels=list(reversed(LABELS)))
    return Truth(rows, {str(name): str(label) for name, label in thirds.items()})


def _stems(rows: pd.DataFrame) -> pd.Series[str]:
    return rows["rlnMicrographName"].map(lambda name: Path(str(name)).stem)


def meant(found: pd.DataFrame, truth: Truth, limit_px: float) -> NDArray[np.int64]:
    """Return for ``n`` positions 1 where a whole particle is meant, -1 where a broken one is, 0 where none is."""
    result = np.zeros(len(found), np.int64)
    names = _stems(found).to_numpy()
    for name, own in truth.rows.groupby("name"):
        at = np.flatnonzero(names == name)
        if not len(at):
            continue
        distance = cdist(found[["x", "y"]].to_numpy()[at], own[["rlnCoordinateX", "rlnCoordinateY"]].to_numpy())
        pick, particle = linear_sum_assignment(np.where(distance <= limit_px, distance - 1e3, 0.0))
        near = distance[pick, particle] <= limit_px
        broken = own["sczBroken"].to_numpy()[particle[near]] > 0
        whole = own["whole"].to_numpy()[particle[near]]
        result[at[pick[near]]] = np.where(broken, -1, whole)
    return result


def centred(rows: pd.DataFrame, pixel_size_A: float) -> pd.DataFrame:
    """Return particles with the ``x`` and ``y`` of their centres, px."""
    return rows.assign(
        **{
            axis.lower(): rows[f"rlnCoordinate{axis}"] - rows.get(f"rlnOrigin{axis}Angst", 0.0) / pixel_size_A
            for axis in "XY"
        }
    )


def by_group(flags: NDArray[np.bool_], groups: NDArray[np.str_]) -> list[float]:
    """Return the share, %, in each third; nan in one that is empty."""
    return [100 * float(flags[groups == name].mean()) if (groups == name).any() else np.nan for name in LABELS]


def said(values: list[float]) -> str:
    """Name the shares of the classes and how far they are apart."""
    apart = np.nanmax(values) - np.nanmin(values)
    return ", ".join(f"{name} {value:.1f}" for name, value in zip(LABELS, values, strict=True)) + f"; {apart:.1f} apart"


def rows(root: Path) -> Iterator[Row]:
    """Measure."""
    session = processed(root)
    case, truth = CASES[SPECIMEN], truth_of(session)
    limit_px = WITHIN * case.diameter_A / simulation().microscope.pixel_size_A
    pixel_A = simulation().microscope.pixel_size_A
    table = session.read("class2d", "particles").rows
    used = set(_stems(table))
    counts = [sum(group == name for stem, group in truth.group.items() if stem in used) for name in LABELS]
    label = f"fairness, {case.model}, {sum(counts)} micrographs"
    yield f"{label}: in each third by detectability", ", ".join(map("{} {}".format, LABELS, counts))
    for what, found in (
        ("picks", session.read("pick", "particles").rows),
        ("kept", table[table["sczState"] == "accepted"]),
    ):
        places = centred(found, pixel_A)
        kind = meant(places, truth, limit_px)
        group = _stems(places).map(truth.group).to_numpy(str)
        sure = kind >= 0
        bar = " (within 5)" if what == "kept" else ""
        yield f"{label}: precision of {what}, %{bar}", said(by_group(kind[sure] > 0, group[sure]))
        clear = truth.rows[truth.rows["clear"] & truth.rows["name"].isin(used)]
        hit = found_of(clear, places, limit_px)
        own = clear["name"].map(truth.group).to_numpy(str)
        yield f"{label}: clear particles among {what}, %", said(by_group(hit, own))


def found_of(true: pd.DataFrame, places: pd.DataFrame, limit_px: float) -> NDArray[np.bool_]:
    """Return which of the true particles a position means."""
    hit = np.zeros(len(true), bool)
    names, stems = true["name"].to_numpy(), _stems(places).to_numpy()
    for name in np.unique(names):
        at, near = np.flatnonzero(names == name), places[["x", "y"]].to_numpy()[stems == name]
        if len(near):
            hit[at] = cdist(true[["rlnCoordinateX", "rlnCoordinateY"]].to_numpy()[at], near).min(1) <= limit_px
    return hit


def main() -> None:
    """Print the measurements."""
    with tempfile.TemporaryDirectory() as temporary:
        for name, value in rows(Path(sys.argv[1] if len(sys.argv) > 1 else temporary)):
            print(f"{name} | {value}", flush=True)


if __name__ == "__main__":
    main()
