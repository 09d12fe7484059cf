"""CTF fits of real micrographs and spectra against published CTFFIND fits."""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path

import pytest
import torch

from scherzer.formats.mrc import read_mrc
from scherzer.micrographs.ctf_estimation import estimate_ctf, fit_power_spectrum
from scherzer.micrographs.ctf_fit import CtfFit
from scherzer.physics.optics import Optics

REAL = Path(__file__).parents[3] / "shared" / "real"
APOFERRITIN = REAL / "apoferritin-10146" / "micrographs"
SPECTRA = REAL / "ctf-bgal-10204"
APOFERRITIN_OPTICS = Optics(pixel_size_A=1.5, voltage_kV=300.0, cs_mm=0.001, amplitude_contrast=0.07)
SPECTRA_OPTICS = Optics(pixel_size_A=1.39955, voltage_kV=200.0, cs_mm=1.4, amplitude_contrast=0.1)

CTFFIND5_A = {
    row["micrograph"]: float(row["mean_defocus_A"])
    for row in csv.DictReader(Path(__file__).with_name("apoferritin_ctffind5.csv").read_text().splitlines())
}
DRIFTED = "06.09.02"

needs_apoferritin = pytest.mark.skipif(not APOFERRITIN.is_dir(), reason="../shared/real/apoferritin-10146 is absent")
needs_spectra = pytest.mark.skipif(not SPECTRA.is_dir(), reason="../shared/real/ctf-bgal-10204 is absent")


def fit_micrograph(time: str) -> CtfFit:
    return estimate_ctf(torch.from_numpy(read_mrc(APOFERRITIN / f"May08_{time}.mrc").data), APOFERRITIN_OPTICS)


@needs_apoferritin
@pytest.mark.parametrize("time", ["03.05.02", "05.35.20", "07.30.46"])
def test_mean_defocus_agrees_with_ctffind5(time: str) -> None:
    fit = fit_micrograph(time)
    assert fit.mean_defocus_A == pytest.approx(CTFFIND5_A[time], rel=0.01)
    assert fit.fit_resolution_A <= 5
    assert fit.directional_loss < 0.6


@needs_apoferritin
def test_the_drifted_micrograph_shows_no_rings_and_a_direction() -> None:
    fit = fit_micrograph(DRIFTED)
    assert fit.fit_resolution_A > 25
    assert not fit.reliable
    assert fit.confidence < 0.5
    assert fit.directional_loss > 0.6


@needs_apoferritin
@pytest.mark.slow
def test_nineteen_of_twenty_are_fitted_to_5_A() -> None:
    fits = {path.stem[-8:]: fit_micrograph(path.stem[-8:]) for path in sorted(APOFERRITIN.glob("*.mrc"))}
    assert len(fits) == 20
    assert [time for time, fit in fits.items() if fit.fit_resolution_A > 5] == [DRIFTED]
    assert [time for time, fit in fits.items() if fit.directional_loss > 0.6] == [DRIFTED]
    for time, expected_A in CTFFIND5_A.items():
        assert fits[time].mean_defocus_A == pytest.approx(expected_A, rel=0.01)
    assert all(15000 < fit.mean_defocus_A < 26000 for time, fit in fits.items() if time != DRIFTED)


def compare_spectra(names: list[str] | None) -> list[tuple[float, float, float, float]]:
    """Return differences from the published fits: of defocus and fit resolution relative, of the angle in degrees."""
    differences = []
    with (SPECTRA / "reference.csv").open() as lines:
        for row in csv.DictReader(lines):
            if names is not None and row["spectrum"][9:14] not in names:
                continue
            fit = fit_power_spectrum(torch.from_numpy(read_mrc(SPECTRA / row["spectrum"]).data), SPECTRA_OPTICS)
            u_A, v_A = float(row["defocus_u_A"]), float(row["defocus_v_A"])
            turn = math.degrees(fit.defocus_angle_rad) - float(row["defocus_angle_deg"])
            differences.append(
                (
                    fit.mean_defocus_A / ((u_A + v_A) / 2) - 1,
                    fit.astigmatism_A - (u_A - v_A),
                    (turn + 90) % 180 - 90,
                    fit.fit_resolution_A / float(row["ctf_max_resolution_A"]) - 1,
                )
            )
    return differences


@needs_spectra
def test_given_spectra_agree_with_published_fits() -> None:
    for defocus, astigmatism_A, angle_deg, resolution in compare_spectra(["00021", "00029", "00048"]):
        assert abs(defocus) < 0.005
        assert abs(astigmatism_A) < 60
        assert abs(angle_deg) < 8
        assert abs(resolution) < 0.1


@needs_spectra
@pytest.mark.slow
def test_all_given_spectra_agree_with_published_fits() -> None:
    differences = compare_spectra(None)
    assert len(differences) == 12
    defocus, astigmatism_A, angle_deg, resolution = (
        [abs(value) for value in column] for column in zip(*differences, strict=True)
    )
    assert max(defocus) < 0.005
    assert statistics.median(astigmatism_A) < 30
    assert max(astigmatism_A) < 60
    assert statistics.median(angle_deg) < 3
    assert max(angle_deg) < 8
    assert max(resolution) < 0.1
