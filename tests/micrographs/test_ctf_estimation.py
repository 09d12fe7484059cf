"""The CTF fit on simulated micrographs and spectra whose CTF is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scherzer.micrographs.ctf_estimation import estimate_ctf, fit_power_spectrum
from scherzer.micrographs.ctf_fit import CtfFit, CtfSettings
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import Optics

KRIOS = Optics(pixel_size_A=1.0, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1)


def micrograph(
    size: int,
    optics: Optics,
    u_A: float,
    v_A: float,
    angle_rad: float,
    snr: float,
    envelope_A2: float,
    seed: int,
    phase_shift_rad: float = 0.0,
) -> Tensor:
    """White specimen through a CTF and an envelope, plus white noise, all through a detector's fall-off."""
    generator = torch.Generator().manual_seed(seed)
    ky = torch.fft.fftfreq(size, optics.pixel_size_A)[:, None].expand(size, size // 2 + 1)
    kx = torch.fft.rfftfreq(size, optics.pixel_size_A).expand(size, size // 2 + 1)
    k2 = kx.square() + ky.square()
    parameters = optics.ctf_parameters(u_A, v_A, angle_rad, phase_shift_rad)
    transfer = ctf(parameters, kx, ky)[0] * torch.exp(-envelope_A2 / 4 * k2)
    specimen = torch.fft.rfft2(torch.randn(size, size, generator=generator)) * transfer * math.sqrt(snr)
    noise = torch.fft.rfft2(torch.randn(size, size, generator=generator))
    return torch.fft.irfft2((specimen + noise) * torch.exp(-2.4 * k2 * optics.pixel_size_A**2), s=(size, size))


def plane(size: int, pixel_size_A: float) -> tuple[Tensor, Tensor]:
    """Frequencies kx, ky of a centred spectrum."""
    axis = (torch.arange(size) - size // 2) / (size * pixel_size_A)
    ky, kx = torch.meshgrid(axis, axis, indexing="ij")
    return kx, ky


def astigmatism_error_A(fit: CtfFit, astigmatism_A: float, angle_rad: float) -> float:
    """Length of the difference of the two astigmatism vectors, A."""
    found = torch.polar(torch.tensor(fit.astigmatism_A), torch.tensor(2 * fit.defocus_angle_rad))
    true = torch.polar(torch.tensor(astigmatism_A), torch.tensor(2 * angle_rad))
    return float((found - true).abs())


CASES = [
    # size, optics, mean defocus, astigmatism, angle, signal over noise, envelope, allowed defocus and astigmatism error
    (1024, KRIOS, 3500.0, 200.0, 0.4, 1.0, 60.0, 40.0, 120.0),
    (1024, KRIOS, 12000.0, 300.0, 2.8, 0.5, 60.0, 60.0, 180.0),
    (2048, KRIOS, 45000.0, 600.0, 1.2, 0.5, 60.0, 60.0, 150.0),
    (512, KRIOS, 15000.0, 400.0, 1.6, 1.0, 60.0, 80.0, 280.0),
    (1024, Optics(1.5, 300.0, 0.001, 0.07), 20000.0, 900.0, 2.1, 0.5, 100.0, 40.0, 80.0),
    (2048, Optics(0.5, 200.0, 1.4, 0.1), 11000.0, 0.0, 0.0, 0.5, 60.0, 40.0, 100.0),
    (1024, Optics(3.0, 300.0, 2.7, 0.1), 18000.0, 300.0, 0.9, 0.5, 60.0, 50.0, 80.0),
    (1024, Optics(1.2, 100.0, 1.6, 0.1), 10000.0, 250.0, 0.2, 0.5, 60.0, 25.0, 50.0),
]


@pytest.mark.parametrize(
    ("size", "optics", "mean_A", "astigmatism_A", "angle", "snr", "envelope_A2", "allowed_A", "allowed_astigmatism_A"),
    CASES,
)
def test_known_ctf_is_found(
    size: int,
    optics: Optics,
    mean_A: float,
    astigmatism_A: float,
    angle: float,
    snr: float,
    envelope_A2: float,
    allowed_A: float,
    allowed_astigmatism_A: float,
) -> None:
    image = micrograph(size, optics, mean_A + astigmatism_A / 2, mean_A - astigmatism_A / 2, angle, snr, envelope_A2, 7)
    fit = estimate_ctf(image, optics)
    assert abs(fit.mean_defocus_A - mean_A) < allowed_A
    assert astigmatism_error_A(fit, astigmatism_A, angle) < allowed_astigmatism_A
    assert fit.reliable
    assert fit.confidence > CtfSettings().rings_confidence
    assert fit.fit_resolution_A < 9
    assert fit.defocus_u_A >= fit.defocus_v_A
    assert 0 <= fit.defocus_angle_rad < math.pi


def test_a_phase_shift_that_is_told_is_used() -> None:
    shift = math.pi / 3
    image = micrograph(1024, KRIOS, 9000, 9000, 0.0, 1.0, 0.0, 1, shift)
    fit = estimate_ctf(image, KRIOS, CtfSettings(phase_shift_rad=shift))
    assert fit.mean_defocus_A == pytest.approx(9000, abs=20)
    assert fit.phase_shift_rad == shift
    assert abs(estimate_ctf(image, KRIOS).mean_defocus_A - 9000) > 100


def test_the_fit_resolution_follows_the_rings_end() -> None:
    ends = []
    for envelope_A2 in (40.0, 150.0, 250.0):
        image = micrograph(1024, KRIOS, 15000, 14800, 0.3, 0.5, envelope_A2, 3)
        ends.append(estimate_ctf(image, KRIOS).fit_resolution_A)
    assert 2.8 < ends[0] < 4.5
    assert ends[0] < ends[1] < ends[2] < 12


@pytest.mark.parametrize("size", [128, 512, 1024])
@pytest.mark.parametrize("pixel_size_A", [0.5, 1.0, 3.0])
def test_noise_has_no_rings(size: int, pixel_size_A: float) -> None:
    image = torch.randn(size, size, generator=torch.Generator().manual_seed(size))
    fit = estimate_ctf(image, Optics(pixel_size_A, 300.0, 2.7, 0.1))
    assert fit.confidence < CtfSettings().rings_confidence
    assert fit.fit_resolution_A > 20
    assert not fit.reliable
    assert fit.directional_loss < 0.5
    numbers = [fit.defocus_u_A, fit.defocus_v_A, fit.defocus_angle_rad, fit.score, fit.confidence, fit.directional_loss]
    assert all(math.isfinite(number) for number in numbers)
    assert bool(torch.isfinite(fit.spectrum).all())
    assert bool(torch.isfinite(torch.stack([fit.profile.data, fit.profile.model, fit.profile.agreement])).all())


def test_edges_blobs_ramps_and_hot_pixels_do_not_lead_the_fit_astray() -> None:
    clean = micrograph(1024, KRIOS, 15200, 14800, 0.5, 0.5, 60.0, 3)
    image = 50 * clean / clean.std() + 1000
    image[:, :200] += 1000
    image[700:720, 700:720] += 5000
    image[10, 10] = 1e6
    image += torch.linspace(0, 300, 1024)
    fit = estimate_ctf(image, KRIOS)
    assert fit.mean_defocus_A == pytest.approx(15000, rel=0.01)


def test_drift_shows_as_directional_loss() -> None:
    drift_px = 40
    clean = micrograph(1024, KRIOS, 15000, 15000, 0.0, 1.0, 60.0, 3)
    smear = torch.sinc(torch.fft.rfftfreq(1024) * drift_px)
    noise = torch.randn(1024, 1024, generator=torch.Generator().manual_seed(9))
    # What drifts carries most of its power at low frequency, as protein does.
    ky, kx = torch.fft.fftfreq(1024)[:, None], torch.fft.rfftfreq(1024)
    protein = 5 * torch.exp(-torch.hypot(kx, ky) * 60) + 1
    still = torch.fft.irfft2(torch.fft.rfft2(clean) * protein, s=(1024, 1024))
    smeared = torch.fft.irfft2(torch.fft.rfft2(clean) * protein * smear, s=(1024, 1024))
    assert estimate_ctf(still + noise, KRIOS).directional_loss < 0.2
    fit = estimate_ctf(smeared + noise, KRIOS)
    assert fit.directional_loss > 0.7


@pytest.mark.parametrize("kind", ["amplitude", "power"])
@pytest.mark.parametrize("size", [512, 513])
def test_a_given_spectrum_is_fitted_without_noise_to_angstroms(kind: Literal["amplitude", "power"], size: int) -> None:
    optics = Optics(1.4, 200.0, 1.4, 0.1)
    kx, ky = plane(size, optics.pixel_size_A)
    transfer = ctf(optics.ctf_parameters(10900, 10500, 1.3), kx, ky)[0]
    k2 = kx.square() + ky.square()
    power = 1 / (1 + 200 * k2) + 0.3 * torch.exp(-20 * k2) * transfer.square()
    fit = fit_power_spectrum(power.sqrt() if kind == "amplitude" else power, optics, kind=kind)
    assert fit.mean_defocus_A == pytest.approx(10700, abs=8)
    assert fit.astigmatism_A == pytest.approx(400, abs=15)
    assert fit.defocus_angle_rad == pytest.approx(1.3, abs=0.03)
    assert fit.reliable


def test_the_result_does_not_depend_on_scale_offset_or_repetition() -> None:
    image = micrograph(768, KRIOS, 15200, 14800, 0.5, 0.5, 60.0, 3)
    one, again, scaled = (estimate_ctf(x, KRIOS) for x in (image, image, 1e4 * image - 1e5))
    assert one.defocus_u_A == again.defocus_u_A
    assert scaled.mean_defocus_A == pytest.approx(one.mean_defocus_A, abs=3)


def test_the_picture_has_data_left_and_rings_of_the_fit_lower_right() -> None:
    image = micrograph(1024, KRIOS, 10000, 10000, 0.0, 1.0, 60.0, 3)
    fit = estimate_ctf(image, KRIOS)
    size = fit.spectrum.shape[0]
    assert fit.spectrum.shape == (size, size)
    assert float(fit.spectrum.min()) >= 0
    assert float(fit.spectrum.max()) <= 1
    kx, ky = plane(size, fit.spectrum_pixel_size_A)
    k = torch.hypot(kx, ky)
    rings = -torch.cos(2 * torch.asin(ctf(KRIOS.ctf_parameters(10000, 10000), kx, ky)[0]))
    band = (k > 1 / 20) & (k < 1 / 8)
    for part, least in (((kx < 0), 0.25), ((kx > 0) & (ky < 0), 0.8), ((kx > 0) & (ky > 0), 0.95)):
        values = torch.stack([fit.spectrum[band & part], rings[band & part]])
        assert float(torch.corrcoef(values)[0, 1]) > least


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(256, 256),
        torch.full((256, 256), torch.nan),
        torch.full((256, 256), torch.inf),
        torch.zeros(32, 256),
        torch.zeros(0, 0),
        torch.arange(65.0 * 70).reshape(65, 70),
        torch.eye(300) * 1e30,
        torch.randint(0, 2, (64, 900), generator=torch.Generator().manual_seed(1)),
    ],
)
@pytest.mark.parametrize("pixel_size_A", [0.5, 8.0, 60.0])
def test_what_has_no_rings_gets_no_fit_and_a_reason(image: Tensor, pixel_size_A: float) -> None:
    fit = estimate_ctf(image, Optics(pixel_size_A, 300.0, 0.0, 0.0))
    assert not fit.reliable
    assert fit.problem
    assert fit.confidence < CtfSettings().rings_confidence
    assert bool(torch.isfinite(fit.spectrum).all())
    assert all(math.isfinite(x) for x in (fit.defocus_u_A, fit.defocus_v_A, fit.fit_resolution_A, fit.directional_loss))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(64, 200), st.integers(64, 200)),
    st.floats(0.3, 12),
    st.sampled_from(["noise", "spots", "stripes", "steps", "holes"]),
    st.integers(0, 1000),
)
def test_no_image_raises(shape: tuple[int, int], pixel_size_A: float, kind: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(shape, generator=generator)
    y, x = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    if kind == "spots":
        image = (torch.rand(shape, generator=generator) > 0.999) * 1e4
    elif kind == "stripes":
        image = torch.sin(x * (seed % 7) / 3 + y / 5)
    elif kind == "steps":
        image = (x // (10 + seed % 50) + y // 30).float() ** 3
    elif kind == "holes":
        image[:: 1 + seed % 5] = torch.nan
    fit = estimate_ctf(image, Optics(pixel_size_A, 300.0, 0.001, 0.07))
    assert 0 <= fit.confidence <= 1
    assert math.isfinite(fit.mean_defocus_A)


@pytest.mark.parametrize("image", [torch.zeros(64), torch.zeros(2, 2, 64, 64)])
def test_an_image_has_two_dimensions_and_groups_of_frames_three(image: Tensor) -> None:
    with pytest.raises(ValueError, match="image"):
        estimate_ctf(image, KRIOS)


@pytest.mark.parametrize(
    "spectrum", [torch.ones(64, 65), torch.ones(63, 63), torch.full((64, 64), torch.inf), torch.full((64, 64), -1.0)]
)
def test_what_is_not_a_spectrum_is_refused(spectrum: Tensor) -> None:
    with pytest.raises(ValueError, match="spectrum"):
        fit_power_spectrum(spectrum, KRIOS)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"min_defocus_A": 30000.0, "max_defocus_A": 20000.0}, "defocus"),
        ({"min_defocus_A": 0.0}, "defocus"),
        ({"max_astigmatism_A": -1.0}, "astigmatism"),
        ({"max_resolution_A": 20.0}, "resolution"),
        ({"min_resolution_A": 5.0}, "resolution"),
        ({"search_resolution_A": 0.0}, "resolution"),
        ({"finest_pixel_A": 0.0}, "pixel"),
        ({"rings_confidence": 1.0}, "confidence"),
    ],
)
def test_settings_without_sense_are_refused(change: dict[str, float], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        replace(CtfSettings(), **change)  # type: ignore[arg-type]


def test_a_few_missing_pixels_change_little() -> None:
    image = micrograph(1024, KRIOS, 15200, 14800, 0.5, 0.5, 60.0, 3)
    spoiled = image.clone()
    spoiled[100:110, 300:500] = torch.nan
    assert estimate_ctf(spoiled, KRIOS).mean_defocus_A == pytest.approx(15000, abs=60)


def test_errors_are_as_large_as_they_are_said_to_be() -> None:
    off, astigmatic = [], []
    for seed in range(12):
        mean_A = 6000.0 + 2000 * seed
        image = micrograph(512, KRIOS, mean_A + 150, mean_A - 150, 0.2 * seed, 1.0, 60.0, seed)
        fit = estimate_ctf(image, KRIOS, CtfSettings(fit_tilt=False))
        off.append((fit.mean_defocus_A - mean_A) / fit.defocus_error_A)
        astigmatic.append(astigmatism_error_A(fit, 300.0, 0.2 * seed) / fit.astigmatism_error_A / math.sqrt(2))
    # Root mean squares of 12 and of 24 draws are within these bounds at 99.9 %.
    assert 0.4 < float(torch.tensor(off).square().mean().sqrt()) < 1.65
    assert 0.55 < float(torch.tensor(astigmatic).square().mean().sqrt()) < 1.45


@pytest.mark.parametrize("shift_rad", [0.5, 1.6, 2.6])
def test_a_phase_shift_is_found_on_request(shift_rad: float) -> None:
    image = micrograph(1024, KRIOS, 12200, 11800, 0.5, 0.5, 60.0, 3, shift_rad)
    fit = estimate_ctf(image, KRIOS, CtfSettings(fit_phase_shift=True))
    assert fit.reliable
    assert fit.phase_shift_rad == pytest.approx(shift_rad, abs=0.15)
    assert abs(fit.phase_shift_rad - shift_rad) < 3.5 * fit.phase_shift_error_rad
    assert fit.mean_defocus_A == pytest.approx(12000, abs=100)


def test_spectra_of_frame_groups_are_averaged() -> None:
    signal = micrograph(1024, KRIOS, 15200, 14800, 0.5, 2.0, 60.0, 3)
    faint = micrograph(1024, KRIOS, 15200, 14800, 0.5, 0.6, 60.0, 3)
    generator = torch.Generator().manual_seed(8)
    noise = torch.randn(4, 1024, 1024, generator=generator)
    # Frames that lie apart blur their sum but not the mean of their spectra.
    apart = torch.stack([frame.roll(6 * index, 1) for index, frame in enumerate(signal / 2 + noise)])
    grouped, summed = estimate_ctf(apart, KRIOS), estimate_ctf(apart.sum(0), KRIOS)
    assert grouped.mean_defocus_A == pytest.approx(15000, abs=60)
    assert grouped.reliable
    assert not summed.reliable or grouped.fit_resolution_A < summed.fit_resolution_A
    # Where they lie together, the sum is better.
    grouped, summed = estimate_ctf(faint / 2 + noise, KRIOS), estimate_ctf((faint / 2 + noise).sum(0), KRIOS)
    assert summed.reliable
    assert summed.defocus_error_A < 0.95 * grouped.defocus_error_A


def test_the_result_is_the_same_for_any_number_of_threads() -> None:
    image = micrograph(1024, KRIOS, 15200, 14800, 0.5, 0.5, 60.0, 3)
    before = torch.get_num_threads()
    fits = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            fits.append(estimate_ctf(image, KRIOS))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in fits[1:]:
        assert torch.equal(other.spectrum, fits[0].spectrum)
        assert torch.equal(other.profile.agreement, fits[0].profile.agreement)
        one, two = (
            (fit.defocus_u_A, fit.defocus_v_A, fit.defocus_angle_rad, fit.confidence, fit.defocus_error_A, fit.tilt)
            for fit in (fits[0], other)
        )
        assert one == two


def test_half_the_defocus_outside_the_range_is_no_rival() -> None:
    image = micrograph(1024, KRIOS, 6200, 5850, 1.8, 2.0, 60.0, 11)
    fit = estimate_ctf(image, KRIOS)
    assert fit.reliable
    limited = estimate_ctf(image, KRIOS, CtfSettings(min_defocus_A=8000.0, max_defocus_A=20000.0))
    assert 8000 <= limited.mean_defocus_A <= 20000
