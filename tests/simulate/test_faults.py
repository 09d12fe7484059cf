"""What goes wrong in practice: how it looks, and that its truth is where it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, laplace
from scipy.spatial.transform import Rotation

from scherzer.physics.ctf import ctf
from scherzer.physics.scattering import V_A2_PER_A, electron_scattering_factor_A, ice_potential_V
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.faults import FieldFaults, field_faults
from scherzer.simulate.faults.carbon import carbon_noise_density, carbon_structure_V_A
from scherzer.simulate.faults.crystalline import Beam, crystalline_ice
from scherzer.simulate.faults.ice_grains import BALL_A, FROST_A, frost, ice_balls
from scherzer.simulate.faults.ice_lattice import CELL_A, SITES, reflections
from scherzer.simulate.faults.maps import Nodes
from scherzer.simulate.faults.phase import phase_only
from scherzer.simulate.masks import BITS, mask_image, write_mask
from scherzer.simulate.plan import ExposurePlan, Fault
from scherzer.simulate.settings import (
    IceSettings,
    MicroscopeSettings,
    ParticleSettings,
    SimulationSettings,
    SpecimenSettings,
)
from scherzer.simulate.specimen import load_specimen

IMAGE, MARGIN, PIXEL_A, THICKNESS_A = (500, 560), 60, 3.6, 350.0
FIELD = (IMAGE[0] + 2 * MARGIN + 9, IMAGE[1] + 2 * MARGIN)
SETTINGS = SimulationSettings(
    specimen=SpecimenSettings(symmetry="D2", diameter_A=100),
    microscope=MicroscopeSettings(height_px=IMAGE[0], width_px=IMAGE[1], pixel_size_A=PIXEL_A),
    ice=IceSettings(frost_per_um2=30, meniscus=0.0, wedge=0.0),
    particles=ParticleSettings(per_micrograph=60),
)
CLEAN = replace(SETTINGS, ice=replace(SETTINGS.ice, frost_per_um2=0.0))
WAVELENGTH_A, RAD_PER_V_A = 0.019687, 6.53e-4


def plan(*faults: Fault, defocus_A: float = 15000.0, index: int = 0) -> ExposurePlan:
    return ExposurePlan(index, "a", faults, defocus_A, defocus_A, 0.0, THICKNESS_A)


def faults_of(*faults: Fault, seed: int = 1, settings: SimulationSettings = SETTINGS) -> FieldFaults:
    return field_faults(np.random.default_rng(seed), plan(*faults), settings, FIELD, MARGIN, PIXEL_A)


def cut(values: np.ndarray) -> np.ndarray:
    return values[MARGIN : MARGIN + IMAGE[0], MARGIN : MARGIN + IMAGE[1]]


def spectrum(values: np.ndarray, pixel_size_A: float) -> tuple[np.ndarray, np.ndarray]:
    """Spatial frequency and power of every Fourier component."""
    k = np.hypot(np.fft.fftfreq(values.shape[0], pixel_size_A)[:, None], np.fft.rfftfreq(values.shape[1], pixel_size_A))
    return k, np.abs(np.fft.rfft2(values)) ** 2


def test_a_sound_film_has_no_more_than_frost() -> None:
    sound = faults_of(settings=CLEAN)
    assert not sound.extra_ice_A.any()
    assert sound.masks == {}
    assert sound.objects == ()
    assert all(
        getattr(sound, name) is None
        for name in ("film", "potential_V_A", "absorber_A", "arriving", "crowding", "clumps")
    )


def test_frost_is_as_frequent_as_asked_for() -> None:
    area_um2 = 900 * 1100 * 4.0**2 * 1e-8
    counts = [len(frost(np.random.default_rng(seed), (900, 1100), 4.0, 40.0)[1]) for seed in range(60)]
    assert np.mean(counts) == pytest.approx(40 * area_um2, abs=4 * np.sqrt(40 * area_um2 / 60))
    heights_A, grains_A = frost(np.random.default_rng(1), (900, 1100), 4.0, 40.0)
    assert all(FROST_A[0] <= 2 * radius <= FROST_A[1] for _, _, radius in grains_A)
    inside = [g for g in grains_A if 100 < g[0] < 3400 and 100 < g[1] < 4200]
    assert all(heights_A[round(row / 4), round(column / 4)] > 0.5 * radius for row, column, radius in inside)


def test_ice_balls_are_large_and_where_the_truth_says() -> None:
    radii, covered = [], []
    for seed in range(8):
        heights_A, grains_A = ice_balls(np.random.default_rng(seed), FIELD, PIXEL_A)
        radii += [radius for _, _, radius in grains_A]
        covered.append((heights_A > 30).mean())
        for row, column, _ in grains_A:
            y, x = round(row / PIXEL_A), round(column / PIXEL_A)
            if 0 <= y < FIELD[0] and 0 <= x < FIELD[1]:
                assert heights_A[y, x] > 30
    assert BALL_A[0] / 2 <= min(radii) < max(radii) <= BALL_A[1] / 2
    assert 0.05 < np.mean(covered) < 0.6
    found = faults_of("ice_balls")
    there = [thing for thing in found.objects if thing.kind == "ice_balls"]
    assert there
    for thing in there:
        if 0 <= thing.x_px < IMAGE[1] - 1 and 0 <= thing.y_px < IMAGE[0] - 1:
            assert found.masks["ice_balls"][round(thing.y_px), round(thing.x_px)]
    assert found.crowding is not None
    assert (found.crowding[found.extra_ice_A > 200] == 0).all()


def image_of(potential_V_A: np.ndarray, amplitude_contrast: float = 0.07) -> np.ndarray:
    """Contrast of a potential, protein dark."""
    parameters = replace(plan().parameters(SETTINGS), amplitude_contrast=torch.tensor([amplitude_contrast]))
    transform = torch.fft.rfft2(torch.from_numpy(potential_V_A))
    ky = torch.fft.fftfreq(potential_V_A.shape[0], PIXEL_A)[:, None].expand(transform.shape)
    kx = torch.fft.rfftfreq(potential_V_A.shape[1], PIXEL_A).expand(transform.shape)
    waves = transform * ctf(parameters, kx, ky)[0]
    return -2 * RAD_PER_V_A * torch.fft.irfft2(waves, s=potential_V_A.shape).numpy()


def test_large_bodies_are_imaged_by_phase_contrast_alone() -> None:
    y, x = np.mgrid[: FIELD[0], : FIELD[1]]
    radius_A = np.hypot(y - 310, x - 340) * PIXEL_A
    plate = (1000 * (0.5 - 0.5 * np.tanh((radius_A - 600) / 15))).astype(np.float32)
    found = image_of(phase_only(Nodes.over(FIELD, PIXEL_A), plate, plan().parameters(SETTINGS)))
    assert image_of(plate)[radius_A < 300].mean() == pytest.approx(-2 * RAD_PER_V_A * 0.07 * 1000, rel=0.02)
    assert abs(found[radius_A < 300].mean()) < 1e-3
    np.testing.assert_allclose(found, image_of(plate, 0.0), atol=0.05 * np.abs(found).max())
    # A dark line inside a bright one.
    assert found[(radius_A > 540) & (radius_A < 600)].min() < -0.04
    assert found[(radius_A > 600) & (radius_A < 660)].max() > 0.04
    without = plan().parameters(replace(SETTINGS, microscope=replace(SETTINGS.microscope, amplitude_contrast=0.0)))
    np.testing.assert_array_equal(phase_only(Nodes.over(FIELD, PIXEL_A), plate, without), plate)


def test_the_lattice_is_that_of_ice() -> None:
    frequencies, volts = reflections()
    spacings = 1 / np.linalg.norm(frequencies, axis=1)
    assert sorted({float(d) for d in spacings.round(2)}, reverse=True)[:4] == [3.91, 3.67, 3.45, 2.68]
    # (002), summed over the sites by hand: four waters, seen along c.
    (element_o, _, (_, _, z_o), b_o), (_, _, (_, _, z_axial), b_axial), (_, _, (_, _, z_flat), b_flat) = SITES
    assert element_o == "O"
    k2 = torch.tensor([(2 / CELL_A[2]) ** 2])
    oxygen, hydrogen = (float(electron_scattering_factor_A(e, k2)) for e in "OH")
    fade = [float(torch.exp(-b / 4 * k2)) for b in (b_o, b_axial, b_flat)]
    heights = [np.cos(4 * np.pi * z) for z in (z_o, z_axial, z_flat)]
    total = 4 * oxygen * fade[0] * heights[0] + hydrogen * (2 * fade[1] * heights[1] + 6 * fade[2] * heights[2])
    cell_A3 = CELL_A[0] ** 2 * CELL_A[2] * np.sqrt(3) / 2
    basal = np.abs(frequencies[:, :2]).max(axis=1) < 1e-9
    assert basal.sum() == 1
    assert volts[basal][0] == pytest.approx(V_A2_PER_A * abs(total) / cell_A3, rel=1e-3)


def crystals(seed: int, pixel_size_A: float = 1.2, defocus_A: float = 15000.0, shape: tuple[int, int] = (700, 800)):
    beam = Beam(WAVELENGTH_A, RAD_PER_V_A, defocus_A)
    return crystalline_ice(np.random.default_rng(seed), shape, pixel_size_A, THICKNESS_A, beam)


def test_crystals_reflect_at_the_spacings_of_ice() -> None:
    for seed in range(3):
        k, power = spectrum(crystals(seed).potential_V_A, 1.2)
        fine = k > 0.2
        near = np.min([np.abs(k - 1 / d) for d in (3.907, 3.673, 3.449, 2.676)], axis=0) < 0.012
        assert power[fine & near].sum() > 0.8 * power[fine].sum()


def test_coarse_pixels_keep_the_texture_but_not_the_lattice() -> None:
    for seed in range(3):
        coarse = crystals(seed, 3.0, shape=(600, 600))
        k, power = spectrum(coarse.potential_V_A, 3.0)
        assert power[k > 0.1].sum() < 0.05 * power[k > 0].sum()
        assert coarse.arriving[coarse.inside].std() > 0.004


def test_diffracted_electrons_arrive_displaced_by_the_defocus() -> None:
    focus, away = (crystals(4, 2.4, defocus_A, (900, 900)).arriving for defocus_A in (0.0, 25000.0))
    # In focus they fall back on their grain: only those that the aperture stops are missing.
    assert away.std() > 2 * focus.std()
    assert away.min() < 0.95 < 1.005 < away.max() < 1.5
    assert 0.97 < away.mean() < 1
    assert focus.max() < 1.005
    assert focus.mean() == pytest.approx(away.mean(), abs=0.01)


def test_diffracted_electrons_go_along_their_reflection(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "scherzer.simulate.faults.crystalline."
    upright = lambda rng, count: Rotation.identity(count)  # noqa: E731
    monkeypatch.setattr(module + "reflections", lambda: (np.array([[1 / 3.9, 0.0, 0.004]]), np.array([1.7])))
    monkeypatch.setattr(module + "_orientations", upright)
    monkeypatch.setattr(module + "THROUGH_APERTURE", 0.0)
    missing = -np.log(crystals(1, 8.0, shape=(400, 400)).arriving)
    monkeypatch.setattr(module + "THROUGH_APERTURE", 1.0)
    displaced = crystals(1, 8.0, 30000.0, (400, 400)).arriving - np.exp(-missing)
    shift = round(WAVELENGTH_A * 30000 / 3.9 / 8)
    back = {axis: [np.roll(displaced, side * shift, axis) for side in (1, -1)] for axis in (0, 1)}
    # Each of the two beams takes a part along x and none along y.
    inner = (slice(40, -40), slice(40, -40))
    along, across = (
        max(np.corrcoef(part[inner].ravel(), missing[inner].ravel())[0, 1] for part in back[axis]) for axis in (1, 0)
    )
    assert along > 0.4
    assert across < 0.2
    assert displaced[inner].mean() == pytest.approx(missing[inner].mean(), rel=0.15)


def test_crystals_cover_all_or_some_of_the_field_and_are_known() -> None:
    shares = [float(crystals(seed, 4.0, shape=(500, 500)).inside.mean()) for seed in range(16)]
    assert 3 < sum(share == 1 for share in shares) < 14
    assert min(shares) < 0.8
    found = faults_of("crystalline", seed=3)
    assert found.arriving is not None
    outside = ~found.masks["crystalline"]
    grains = [thing for thing in found.objects if thing.kind == "crystalline"]
    assert len(grains) > 3
    assert outside.all() is not True
    inside = [g for g in grains if 0 <= g.x_px < IMAGE[1] - 1 and 0 <= g.y_px < IMAGE[0] - 1]
    known = [found.masks["crystalline"][round(g.y_px), round(g.x_px)] for g in inside]
    assert np.mean(known) > 0.9


def test_carbon_has_its_rings_and_its_level() -> None:
    even = np.full((700, 760), 150, np.float32)
    structure = carbon_structure_V_A(np.random.default_rng(1), even, 0.8)
    k, power = spectrum(structure, 0.8)
    density = power * 0.8**2 / structure.size
    for low, high in ((0.05, 0.15), (0.2, 0.3), (0.45, 0.5)):
        band = (k > low) & (k < high)
        expected = carbon_noise_density(torch.from_numpy(k[band]), 150.0).mean()
        assert density[band].mean() == pytest.approx(float(expected), rel=0.05)
    atom = electron_scattering_factor_A("C", torch.from_numpy(k) ** 2).numpy() ** 2
    shells = [(density / atom)[np.abs(k - centre) < 0.02].mean() for centre in (0.30, 1 / 2.1, 0.62)]
    assert shells[1] > 1.5 * max(shells[0], shells[2])


def test_the_edge_of_the_carbon_crosses_the_image() -> None:
    for seed in range(12):
        found = faults_of("carbon_edge", seed=seed)
        assert found.film is not None
        assert found.crowding is not None
        assert found.absorber_A is not None
        carbon = found.masks["carbon"]
        assert 0.02 < carbon.mean() < 0.98
        (hole,) = (thing for thing in found.objects if thing.kind == "carbon")
        assert 6000 <= hole.radius_A <= 12000
        y, x = np.mgrid[: IMAGE[0], : IMAGE[1]]
        outside_A = np.hypot(y - hole.y_px, x - hole.x_px) * PIXEL_A - hole.radius_A
        assert carbon[outside_A > 150].all()
        assert not carbon[outside_A < -150].any()
        absorber_A = cut(found.absorber_A)
        assert 200 <= np.median(absorber_A[outside_A > 250]) <= 400 or not (outside_A > 250).any()
        assert (cut(found.crowding)[np.abs(outside_A) < 5] == 0).mean() > 0.9
        # Ice climbs the edge.
        film = cut(found.film)
        near, far = film[(outside_A < -60) & (outside_A > -200)], film[outside_A < -700]
        if near.size and far.size:
            assert near.mean() > far.mean() > 1


def test_a_broken_film_leaves_vacuum() -> None:
    whole = 0
    for seed in range(20):
        found = faults_of("vacuum", seed=seed)
        assert found.film is not None
        assert found.crowding is not None
        vacuum = found.masks["vacuum"]
        assert vacuum.any()
        np.testing.assert_array_equal(vacuum, cut(found.film) < 0.5)
        assert not cut(found.crowding)[vacuum].any()
        assert not cut(found.extra_ice_A)[vacuum].any()
        whole += bool(vacuum.all())
        if not vacuum.all():
            assert found.film.max() > 1.15
            assert found.film.min() == 0
    assert 3 <= whole <= 15


def test_aggregates_hold_the_particles() -> None:
    for seed in range(4):
        found = faults_of("aggregation", seed=seed, settings=CLEAN)
        assert found.clumps is not None
        assert found.crowding is not None
        assert found.potential_V_A is not None
        np.testing.assert_array_equal(found.masks["aggregation"], cut(found.clumps))
        assert (found.crowding[found.clumps] == 0).all()
        assert 0.1 < found.crowding[~found.clumps].min() == found.crowding.max() < 0.7
        assert not found.potential_V_A[~found.clumps].any()
        # Between loosely and densely packed protein.
        filled = found.potential_V_A[found.clumps].mean() / (2.2 * THICKNESS_A)
        assert 0.1 < filled < 0.8


def test_each_kind_looks_the_same_whatever_else_is_wrong() -> None:
    alone, together = faults_of("carbon_edge"), faults_of("carbon_edge", "ice_balls", "crystalline")
    np.testing.assert_array_equal(alone.absorber_A, together.absorber_A)
    np.testing.assert_array_equal(alone.film, together.film)
    np.testing.assert_array_equal(alone.masks["carbon"], together.masks["carbon"])
    balls = faults_of("ice_balls")
    assert [o for o in balls.objects if o.kind == "frost"] == [o for o in faults_of().objects if o.kind == "frost"]


def test_all_faults_at_once_are_finite() -> None:
    found = faults_of("vacuum", "crystalline", "ice_balls", "carbon_edge", "aggregation", "drift", "empty", seed=8)
    for name in ("extra_ice_A", "film", "potential_V_A", "absorber_A", "arriving", "crowding"):
        values = getattr(found, name)
        assert values.shape == FIELD
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    assert set(found.masks) <= set(BITS)
    assert all(mask.shape == IMAGE and mask.dtype == bool for mask in found.masks.values())


@pytest.fixture(scope="module")
def specimen():
    return load_specimen(SETTINGS.specimen)


def test_faults_show_in_the_image(specimen) -> None:
    def exposed(*kinds: Fault, index: int = 0):
        return simulate_exposure(plan(*kinds, index=index), specimen, CLEAN)

    def picture(exposure) -> np.ndarray:
        return next(iter(exposure.frames)).astype(np.float64)

    sound = picture(exposed())
    torn = next(e for e in (exposed("vacuum", index=i) for i in range(9)) if not e.masks["vacuum"].all())
    seen, vacuum = picture(torn), torn.masks["vacuum"]
    assert seen[vacuum].mean() > 1.01 * seen[~vacuum].mean()
    at = [np.round(c[torn.particles.inside(*IMAGE)]).astype(int) for c in (torn.particles.y_px, torn.particles.x_px)]
    assert not vacuum[at[0], at[1]].any()
    balls = exposed("ice_balls")
    seen, covered = picture(balls), balls.masks["ice_balls"]
    assert seen[covered].mean() < 0.99 * seen[~covered].mean()
    carbon = exposed("carbon_edge")
    seen, edge = picture(carbon), carbon.masks["carbon"]
    ground = np.abs(laplace(gaussian_filter(seen, 1.0)))
    assert np.median(ground[edge]) > 1.15 * np.median(ground[~edge])
    clumped = exposed("aggregation")
    assert clumped.particles.clumped.any()
    assert picture(clumped).std() > sound.std()


def test_masks_are_joined_bit_by_bit() -> None:
    ice, carbon = np.zeros((19, 26), bool), np.zeros((19, 26), bool)
    ice[:8, :12] = True
    carbon[16:, 22:] = True
    carbon[4:7, 4:8] = True  # three quarters of one pixel of the mask
    carbon[0, 0:4] = True  # one quarter
    image, pixel_size_A = mask_image({"ice_balls": ice, "carbon": carbon}, 2.0)
    assert pixel_size_A == 8.0
    expected = np.zeros((5, 7), np.int8)
    expected[:2, :3] = BITS["ice_balls"]
    expected[1, 1] |= BITS["carbon"]
    expected[4, 6] = BITS["carbon"]
    # Columns 22 and 23 are half of the last whole pixel.
    expected[4, 5] = BITS["carbon"]
    np.testing.assert_array_equal(image, expected)
    assert mask_image({"frost": ice}, 12.0)[0].shape == (19, 26)


def test_masks_are_written_where_there_is_something(specimen, tmp_path: Path) -> None:
    exposure = simulate_exposure(plan("carbon_edge"), specimen, SETTINGS)
    write_mask(tmp_path / "a.mrc", exposure, SETTINGS)
    with mrcfile.open(tmp_path / "a.mrc") as file:
        assert file.header.mode == 0
        assert file.data.shape == (250, 280)
        assert float(file.voxel_size.x) == pytest.approx(7.2)
        found = (file.data & BITS["carbon"]) > 0
    assert found.mean() == pytest.approx(exposure.masks["carbon"].mean(), abs=0.01)
    write_mask(tmp_path / "b.mrc", simulate_exposure(plan(), specimen, CLEAN), CLEAN)
    assert not (tmp_path / "b.mrc").exists()
    assert sum(BITS.values()) < 128


def test_ice_is_as_deep_as_its_potential() -> None:
    found = faults_of("ice_balls", settings=CLEAN)
    assert found.potential_V_A is not None
    # Below the scale at which amplitude contrast matters the potential is that of the ice.
    k, power = spectrum(found.potential_V_A - found.extra_ice_A * np.float32(ice_potential_V()), PIXEL_A)
    _, total = spectrum(found.extra_ice_A * np.float32(ice_potential_V()), PIXEL_A)
    fine = k > 0.06
    assert power[fine].sum() < 0.05 * total[fine].sum()
