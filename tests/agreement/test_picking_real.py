"""Picks on real apo-ferritin micrographs against a third party's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from scherzer.formats.mrc import read_mrc
from scherzer.particles.picking import pick_blobs
from scherzer.physics.optics import Optics

DATA = Path(__file__).resolve().parents[3] / "shared" / "real" / "apoferritin-10146"
OPTICS = Optics(pixel_size_A=1.5, voltage_kV=300.0, cs_mm=0.001, amplitude_contrast=0.07)
TOLERANCE_PX, EDGE_PX = 25.0, 40.0
# The session's mean; picking hardly depends on it, and fitting the CTF is another room's business.
DEFOCUS_A = 19_000.0

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real apo-ferritin session is not at {DATA}")


def tally(found: np.ndarray, reference: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Count reference centres hit, reference centres, picks that hit, picks; those near the edge left out.

    Picks and centres are paired one to one before the edge is cut, so that a pair across that line counts for both.
    """
    distance = np.linalg.norm(found[:, None] - reference[None], axis=-1)
    pick, centre = linear_sum_assignment(np.where(distance <= TOLERANCE_PX, distance - 1e3, 0.0))
    paired = distance[pick, centre] <= TOLERANCE_PX

    def inner(points: np.ndarray) -> np.ndarray:
        return np.all((points > EDGE_PX) & (points < np.array([shape[1], shape[0]]) - EDGE_PX), axis=1)

    pick_hit, centre_hit = (
        np.isin(np.arange(len(found)), pick[paired]),
        np.isin(np.arange(len(reference)), centre[paired]),
    )
    return np.array(
        [
            (centre_hit & inner(reference)).sum(),
            inner(reference).sum(),
            (pick_hit & inner(found)).sum(),
            inner(found).sum(),
        ]
    )


def picked(name: str) -> tuple[np.ndarray, tuple[int, ...]]:
    image = torch.from_numpy(read_mrc(DATA / "micrographs" / f"{name}.mrc").data)
    picks = pick_blobs(image, OPTICS, OPTICS.ctf_parameters(DEFOCUS_A, DEFOCUS_A), diameter_A=130.0)
    return torch.stack([picks.x_px, picks.y_px], dim=1).double().numpy(), tuple(image.shape)


def test_recall_and_precision_against_third_party_picks() -> None:
    total = np.zeros(4)
    for path in sorted((DATA / "picks").glob("*.csv")):
        found, shape = picked(path.stem)
        total += tally(found, np.loadtxt(path, delimiter=",", skiprows=1), shape)
    recall, precision = total[0] / total[1], total[2] / total[3]
    print(f"recall {recall:.3f}, precision {precision:.3f}")
    assert recall >= 0.92
    assert precision >= 0.92


def test_finds_next_to_nothing_in_the_drifted_micrograph() -> None:
    found, _ = picked("May08_06.09.02")
    assert len(found) < 20
