"""Image formation, ice, drift and detector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from scherzer.geometry.rotations import random_rotations
from scherzer.physics.ctf import ctf
from scherzer.physics.envelopes import interaction_rad_per_V_A
from scherzer.simulate.artefacts import contamination_heights_A, crystalline_potential_V_A
from scherzer.simulate.detector import detector_named
from scherzer.simulate.drift import draw_bad_track, draw_track, still_track
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.ice import slab_amplitudes, thickness_map, water_noise_density
from scherzer.simulate.image_formation import field_grid, particle_depths, relative_contrast, water_depths
from scherzer.simulate.placement import Placement, place_particles
from scherzer.simulate.plan import ExposurePlan, Fault
from scherzer.simulate.settings import MicroscopeSettings, SimulationSettings, SpecimenSettings
from scherzer.simulate.specimen import load_specimen

WAVELENGTH_A = 0.019687
BARE = SimulationSettings(
    specimen=SpecimenSettings(symmetry="D2", diameter_A=90),
    microscope=MicroscopeSettings(
        height_px=256, width_px=320, pixel_size_A=2.0, b_factor_A2=0, beam_semiangle_mrad=0, focal_spread_A=0
    ),
)


@pytest.fixture(scope="module")
def specimen():
    return load_specimen(BARE.specimen)


def one_particle(height_A: float) -> Placement:
    return Placement(
        x_px=np.array([150.3]),
        y_px=np.array([120.8]),
        height_A=np.array([height_A]),
        rotations=random_rotations(1, np.random.default_rng(5)),
        broken=np.array([False]),
    )


def test_the_field_has_room_on_every_side() -> None:
    grid = field_grid(256, 320, 2.0)
    assert grid.height >= 256 + 160
    assert grid.width >= 320 + 160
    assert grid.height % 2 == grid.width % 2 == 0


def test_protein_is_dark_and_imaged_by_the_ctf(specimen) -> None:
    grid = field_grid(256, 320, 2.0)
    depths = particle_depths(specimen, one_particle(0.0), grid, WAVELENGTH_A)
    parameters = BARE.microscope.optics.ctf_parameters(15000, 14000, 0.4)
    found = relative_contrast(depths, parameters, grid, BARE)
    kx, ky = torch.broadcast_tensors(grid.kx, grid.ky)
    expected = -2 * interaction_rad_per_V_A(300) * ctf(parameters, kx, ky)[0] * depths.sine
    assert float((found - expected).abs().max()) < 1e-3 * float(expected.abs().max())
    image = grid.image(found, 256, 320)
    assert float(image[111:131, 140:160].mean()) < -0.01
    assert float(image.min()) > -0.6


def test_the_particle_lies_where_its_coordinates_say(specimen) -> None:
    grid = field_grid(256, 320, 2.0)
    depths = particle_depths(specimen, one_particle(0.0), grid, WAVELENGTH_A)
    potential = grid.image(depths.sine, 256, 320).clamp(min=0).double()
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(320.0), indexing="ij")
    assert float((potential * x).sum() / potential.sum()) == pytest.approx(150.3, abs=0.35)
    assert float((potential * y).sum() / potential.sum()) == pytest.approx(120.8, abs=0.35)


def test_height_is_defocus(specimen) -> None:
    grid = field_grid(256, 320, 2.0)
    high = particle_depths(specimen, one_particle(180.0), grid, WAVELENGTH_A)
    flat = particle_depths(specimen, one_particle(0.0), grid, WAVELENGTH_A)
    found = relative_contrast(high, BARE.microscope.optics.ctf_parameters(9000, 8800, 0.2), grid, BARE)
    expected = relative_contrast(flat, BARE.microscope.optics.ctf_parameters(9180, 8980, 0.2), grid, BARE)
    ignored = relative_contrast(flat, BARE.microscope.optics.ctf_parameters(9000, 8800, 0.2), grid, BARE)
    error, without = ((found - other).abs().pow(2).sum() / found.abs().pow(2).sum() for other in (expected, ignored))
    assert float(error) < 1e-3
    assert float(without) > 30 * float(error)


def test_the_spectrum_of_ice_is_that_of_a_slab() -> None:
    grid, thickness_A = field_grid(640, 640, 1.0), 900.0
    depths = water_depths(np.random.default_rng(2), grid, thickness_A, WAVELENGTH_A)
    parameters = BARE.microscope.optics.ctf_parameters(12000, 12000)
    power = relative_contrast(depths, parameters, grid, BARE).abs().pow(2)
    k = torch.sqrt(grid.k2)
    density = water_noise_density(k, thickness_A) * (2 * interaction_rad_per_V_A(300)) ** 2
    white = power / density / (grid.height * grid.width) * grid.pixel_size_A**2
    phase = torch.asin(ctf(parameters, *torch.broadcast_tensors(grid.kx, grid.ky))[0])
    expected = (1 - torch.sinc(WAVELENGTH_A * k**2 * thickness_A) * torch.cos(2 * phase)) / 2
    shell = (k * grid.width).round().long()
    inside = (k > 0.02) & (k < 0.3)
    count = torch.bincount(shell[inside])
    keep = count > 0
    found_curve, expected_curve = (
        torch.bincount(shell[inside], x[inside])[keep] / count[keep] for x in (white, expected)
    )
    assert float(torch.corrcoef(torch.stack((found_curve, expected_curve)))[0, 1]) > 0.97
    assert float(found_curve.mean() / expected_curve.mean()) == pytest.approx(1, abs=0.03)


def test_slab_amplitudes_share_the_power() -> None:
    sine, cosine = slab_amplitudes(torch.linspace(0, 0.1, 50), WAVELENGTH_A, 800)
    torch.testing.assert_close(sine**2 + cosine**2, torch.ones(50))
    assert float(cosine[0]) == 0


def test_thickness_varies_mildly_around_its_mean() -> None:
    for seed in range(5):
        thickness = thickness_map(np.random.default_rng(seed), 60, 80, 300.0)
        assert thickness.shape == (60, 80)
        assert abs(thickness.mean() / 300 - 1) < 0.1
        assert 0.7 < thickness.min() / 300 < thickness.max() / 300 < 1.4


def test_particles_do_not_overlap_and_reach_into_the_margin() -> None:
    placed = place_particles(np.random.default_rng(1), 60, (512, 600), 80, 40.0, 25.0, 0.1)
    points = np.stack((placed.x_px, placed.y_px), axis=1)
    distances = np.linalg.norm(points[:, None] - points, axis=-1) + 1e9 * np.eye(len(points))
    assert distances.min() >= 0.95 * 40
    inside = placed.inside(512, 600)
    assert 45 <= inside.sum() <= 75
    assert (~inside).any()
    assert np.abs(placed.height_A).max() <= 25
    assert 0 < placed.broken.mean() < 0.3


def test_more_particles_than_fit_gives_fewer() -> None:
    placed = place_particles(np.random.default_rng(1), 500, (256, 256), 0, 60.0, 0.0, 0.0)
    assert 8 <= len(placed) <= 25


def test_a_still_specimen_is_not_smeared() -> None:
    grid = field_grid(128, 128, 2.0)
    torch.testing.assert_close(
        still_track(1).transfer(0, grid.kx, grid.ky).abs(), torch.ones(grid.height, grid.width // 2 + 1)
    )


def test_frames_move_by_what_the_track_says() -> None:
    grid = field_grid(128, 128, 2.0)
    track = draw_track(np.random.default_rng(3), 5, 40.0, 20.0)
    spot = torch.zeros(grid.height, grid.width)
    spot[80, 90] = 1
    y, x = torch.meshgrid(torch.arange(float(grid.height)), torch.arange(float(grid.width)), indexing="ij")
    for frame, (dx_A, dy_A) in enumerate(track.frame_shifts_A):
        smooth = torch.exp(-200 * grid.k2)
        moved = torch.fft.irfft2(torch.fft.rfft2(spot) * track.transfer(frame, grid.kx, grid.ky) * smooth)
        assert float((moved * x).sum()) == pytest.approx(90 + dx_A / 2.0, abs=0.02)
        assert float((moved * y).sum()) == pytest.approx(80 + dy_A / 2.0, abs=0.02)
    assert np.all(track.frame_shifts_A[2] == 0)


def test_bad_drift_smears_every_frame_and_usual_drift_hardly() -> None:
    grid = field_grid(128, 128, 2.0)
    ring = (grid.k2 > 0.05**2) & (grid.k2 < 0.15**2)
    usual = draw_track(np.random.default_rng(3), 6, 40.0, 20.0)
    bad = draw_bad_track(np.random.default_rng(3), 6, 260.0)
    assert bad.total_A > 5 * usual.total_A
    kept = [float(track.transfer(4, grid.kx, grid.ky).abs()[ring].mean()) for track in (usual, bad)]
    assert kept[0] > 0.8
    assert kept[1] < 0.5


def test_large_contamination_covers_more_than_small() -> None:
    small, large = (
        np.mean(
            [(contamination_heights_A(np.random.default_rng(s), (400, 400), 4.0, kind) > 30).mean() for s in range(6)]
        )
        for kind in (False, True)
    )
    assert large > 5 * small
    assert large < 0.8


def test_crystalline_ice_has_sharp_reflections() -> None:
    lattice = crystalline_potential_V_A(np.random.default_rng(1), (512, 512), 1.2)
    power = torch.fft.rfft2(lattice).abs().pow(2)
    k = torch.sqrt(torch.fft.fftfreq(512, 1.2)[:, None] ** 2 + (torch.arange(257) / (512 * 1.2)) ** 2)
    near = sum(float(power[(k - 1 / d).abs() < 0.006].sum()) for d in (3.90, 3.67, 3.44))
    assert near > 0.9 * float(power.sum())


def changed(**sections: dict[str, object]) -> SimulationSettings:
    """Return the bare settings with some fields of some sections changed."""
    return replace(BARE, **{name: replace(getattr(BARE, name), **values) for name, values in sections.items()})


def plan(*faults: Fault, defocus_A: float = 15000.0, thickness_A: float = 300.0) -> ExposurePlan:
    return ExposurePlan(0, "a", faults, defocus_A, defocus_A, 0.0, thickness_A)


def test_an_exposure_has_the_dose_it_should(specimen) -> None:
    settings = changed(exposure={"frames": 3, "output": "movies"}, particles={"per_micrograph": 5})
    exposure = simulate_exposure(plan(), specimen, settings)
    assert exposure.frames.shape == (3, 256, 320)
    counted = detector_named(settings.detector.name).counted(settings.detector.dose_rate_e_per_px_s)
    expected = settings.exposure.dose_per_frame_e_per_A2 * 4.0 * counted * np.exp(-300 / 9000)
    np.testing.assert_allclose(exposure.frames.mean(axis=(1, 2)), expected, rtol=0.03)


def ring_agreement(image: np.ndarray, defocus_A: float, settings: SimulationSettings) -> float:
    """Correlation of the rotational average of a spectrum with the CTF's square, slow changes removed."""
    height, width = image.shape
    power = torch.fft.rfft2(torch.from_numpy(image - image.mean())).abs().pow(2)
    ky, kx = (
        torch.fft.fftfreq(height, settings.microscope.pixel_size_A)[:, None],
        torch.arange(width // 2 + 1) / (width * 2.0),
    )
    shell = (torch.hypot(kx, ky) * 256 * 2.0).round().long().flatten()
    curve = torch.log(torch.bincount(shell, power.flatten().float()) / torch.bincount(shell))[8:90]
    k = torch.arange(8, 90) / (256 * 2.0)
    model = ctf(settings.microscope.optics.ctf_parameters(defocus_A, defocus_A), k, 0 * k)[0] ** 2
    window = torch.ones(1, 1, 17) / 17
    flat = [c - torch.conv1d(c[None, None].float(), window, padding=8)[0, 0] for c in (curve, model)]
    return float(torch.corrcoef(torch.stack([c[9:-9] for c in flat]))[0, 1])


def test_ice_alone_shows_thon_rings_at_the_true_defocus(specimen) -> None:
    settings = changed(microscope={"height_px": 512, "width_px": 512})
    image = simulate_exposure(plan("empty", defocus_A=9000.0), specimen, settings).frames[0].astype(np.float32)
    scores = {
        defocus: ring_agreement(image, defocus, settings) for defocus in (6000.0, 7500.0, 9000.0, 10500.0, 12000.0)
    }
    assert max(scores, key=lambda defocus: scores[defocus]) == 9000.0
    assert scores[9000.0] > 0.5


def test_contrast_grows_with_defocus_and_falls_with_ice(specimen) -> None:
    settings = changed(particles={"per_micrograph": 12}, microscope={"b_factor_A2": 60})

    def contrast(defocus_A: float, thickness_A: float) -> float:
        exposure = simulate_exposure(plan(defocus_A=defocus_A, thickness_A=thickness_A), specimen, settings)
        image = exposure.frames.sum(0) / exposure.frames.sum(0).mean() - 1
        inside = exposure.particles.inside(256, 320)
        x, y = (np.round(c[inside]).astype(int) for c in (exposure.particles.x_px, exposure.particles.y_px))
        keep = (x > 8) & (x < 311) & (y > 8) & (y < 247)
        spots = [image[b - 6 : b + 7, a - 6 : a + 7].mean() for a, b in zip(x[keep], y[keep], strict=True)]
        return float(image.mean() - np.mean(spots))

    thin, near, thick = contrast(22000, 150), contrast(6000, 150), contrast(22000, 1500)
    assert thin > 1.5 * near > 0
    assert thin > 1.3 * thick
    assert 0.02 < thin < 0.3


def test_radiation_takes_fine_detail_first(specimen) -> None:
    settings = changed(
        exposure={"frames": 4, "dose_e_per_A2": 4000.0, "drift_A": 0.0, "output": "movies"},
        particles={"per_micrograph": 10},
    )
    quiet = replace(settings, particles=replace(settings.particles, per_micrograph=0))
    with_protein, without = (
        simulate_exposure(plan(), specimen, s).frames.astype(np.float64) for s in (settings, quiet)
    )
    signal = np.abs(np.fft.rfft2((with_protein - without) / without.mean())) ** 2
    ky, kx = np.fft.fftfreq(256, 2.0)[:, None], np.arange(161) / 640
    coarse = np.hypot(kx, ky) < 0.03
    assert signal[0][coarse].sum() > signal[-1][coarse].sum()
