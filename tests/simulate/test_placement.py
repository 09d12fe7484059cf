"""Where particles lie: distances, numbers, heights and orientations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial import cKDTree

from scherzer.geometry.rotations import to_euler
from scherzer.simulate.placement import Placement, Room, place_particles, preferred_rotations
from scherzer.simulate.settings import ParticleSettings

PICKS = Path(__file__).parents[2] / "../shared/real/apoferritin-10146/picks"
IMAGE, MARGIN, PIXEL_A, RADIUS_A = (900, 1000), 100, 2.0, 60.0
FIELD = (IMAGE[0] + 2 * MARGIN + 30, IMAGE[1] + 2 * MARGIN)
EVEN = np.full(FIELD, 400, np.float32)
ROOM = Room(IMAGE, MARGIN, PIXEL_A, EVEN, usual_A=400.0)
SPARSE = ParticleSettings(per_micrograph=60, closest_diameters=0.9)


def placed(settings: ParticleSettings, room: Room = ROOM, seed: int = 1) -> Placement:
    return place_particles(np.random.default_rng(seed), settings, RADIUS_A, room)


def points_A(particles: Placement) -> np.ndarray:
    return np.stack((particles.x_px, particles.y_px), axis=1) * PIXEL_A


def distances_A(particles: Placement) -> np.ndarray:
    points = points_A(particles)
    return cKDTree(points).query(points, 2)[0][:, 1]


def test_particles_keep_their_distance_and_fill_the_margin() -> None:
    for number in (20, 150, 2000):
        particles = placed(replace(SPARSE, per_micrograph=number))
        assert distances_A(particles).min() >= 0.9 * 2 * RADIUS_A * (1 - 1e-6)
        outside = ~particles.inside(*IMAGE)
        assert outside.any()
        assert particles.x_px[outside].min() > -MARGIN - 1
        assert particles.y_px.max() < FIELD[0] - MARGIN
    # More than fit: a dense liquid, but not a crystal.
    covered = particles.inside(*IMAGE).sum() * np.pi * (0.9 * RADIUS_A) ** 2 / (np.prod(IMAGE) * PIXEL_A**2)
    assert 0.45 < covered < 0.7


def test_numbers_scatter_around_what_is_asked_for() -> None:
    counts = np.array([placed(SPARSE, seed=seed).inside(*IMAGE).sum() for seed in range(150)])
    assert counts.mean() == pytest.approx(60, abs=4 * np.sqrt(60 / 150))
    assert 0.6 * 60 < counts.var() < 1.5 * 60


def test_dissolved_particles_follow_the_thickness_and_adsorbed_ones_do_not() -> None:
    film = EVEN.copy()
    film[:, FIELD[1] // 2 :] = 800
    room = replace(ROOM, film_A=film)
    for adsorbed, expected in ((0.0, 2.0), (1.0, 1.0)):
        left = right = 0
        for seed in range(40):
            x = placed(replace(SPARSE, adsorbed=adsorbed, closest_diameters=0.0), room, seed).x_px + MARGIN
            left, right = left + (x < FIELD[1] // 2).sum(), right + (x >= FIELD[1] // 2).sum()
        assert right / left == pytest.approx(expected, rel=4 * np.sqrt(1 / left + 1 / right))


def test_film_thinner_than_a_particle_is_empty() -> None:
    film = EVEN.copy()
    film[400:700, 400:800] = 0.75 * 2 * RADIUS_A
    particles = placed(replace(SPARSE, per_micrograph=150), replace(ROOM, film_A=film))
    columns, rows = (np.round(c + MARGIN).astype(int) for c in (particles.x_px, particles.y_px))
    assert len(particles) > 50
    assert (film[rows, columns] == 400).all()


def test_crowding_scales_the_number() -> None:
    crowding = np.ones(FIELD, np.float32)
    crowding[:500], crowding[600:] = 0, 3
    settings, room = replace(SPARSE, closest_diameters=0.0), replace(ROOM, crowding=crowding)
    y = np.concatenate([placed(settings, room, seed).y_px + MARGIN for seed in range(30)])
    assert (y >= 499).all()
    per_row = (y >= 600).sum() / (FIELD[0] - 600), (y < 600).sum() / 100
    assert per_row[0] / per_row[1] == pytest.approx(3, rel=0.2)


def test_free_particles_lie_at_any_height_of_the_local_film() -> None:
    film = np.broadcast_to(np.linspace(100, 700, FIELD[1], dtype=np.float32), FIELD)
    shares, tight = [], []
    for seed in range(20):
        particles = placed(SPARSE, replace(ROOM, film_A=film), seed)
        space_A = film[0, np.round(particles.x_px + MARGIN).astype(int)] / 2 - RADIUS_A
        shares.append((particles.height_A / space_A)[space_A > 1])
        tight.append(particles.height_A[space_A <= 0])
    assert np.all(np.concatenate(tight) == 0)
    assert stats.kstest(np.concatenate(shares), stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_adsorbed_particles_lie_at_either_surface() -> None:
    particles = placed(replace(SPARSE, per_micrograph=150, adsorbed=0.7))
    surface = 400 / 2 - RADIUS_A
    assert set(particles.adsorbed.tolist()) == {-1, 0, 1}
    for side in (-1, 1):
        heights = particles.height_A[particles.adsorbed == side]
        assert stats.binomtest(len(heights), len(particles), 0.35).pvalue > 1e-3
        assert np.all(side * heights <= surface)
        assert np.mean(surface - side * heights) < 8
    free = particles.height_A[particles.adsorbed == 0]
    assert np.mean(np.abs(free) < surface / 2) > 0.25


def test_orientations_are_uniform_without_preference() -> None:
    settings = replace(SPARSE, per_micrograph=150, adsorbed=1.0, preference=0.0)
    rotations = np.concatenate([placed(settings, seed=seed).rotations.numpy() for seed in range(12)])
    # Each axis of a uniformly turned frame has uniform components (Archimedes).
    for row in range(3):
        for column in range(3):
            assert stats.kstest(rotations[:, row, column], stats.uniform(-1, 2).cdf).pvalue > 1e-4


@pytest.mark.parametrize(("tilt_deg", "spread_deg"), [(0.0, 12.0), (90.0, 15.0), (35.0, 10.0), (70.0, 180.0)])
def test_preferred_tilts_are_gaussian_on_the_sphere(tilt_deg: float, spread_deg: float) -> None:
    settings = replace(SPARSE, preferred_tilt_deg=tilt_deg, preference_spread_deg=spread_deg)
    surface = np.repeat(np.array([1, -1], np.int8), 4000)
    rot, tilt, psi = (a.numpy() for a in to_euler(preferred_rotations(np.random.default_rng(3), surface, settings)))
    grid = np.linspace(0, np.pi, 4001)
    density = np.sin(grid) * np.exp(-0.5 * ((np.rad2deg(grid) - tilt_deg) / spread_deg) ** 2)
    share = np.cumsum(density) / density.sum()
    for side, seen in ((1, tilt), (-1, np.pi - tilt)):
        assert stats.kstest(seen[surface == side], lambda x: np.interp(x, grid, share)).pvalue > 1e-4
    for angle in (rot, psi):
        clear = angle[np.sin(tilt) > 1e-3]
        assert stats.kstest(clear, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-4


def test_only_adsorbed_particles_show_a_preference() -> None:
    settings = replace(
        SPARSE, per_micrograph=150, adsorbed=0.5, preference=0.6, preferred_tilt_deg=0.0, preference_spread_deg=5.0
    )
    particles = placed(settings)
    tilt_deg = np.rad2deg(to_euler(particles.rotations)[1].numpy())
    along = np.minimum(tilt_deg, 180 - tilt_deg) < 20  # 6 % of random orientations
    adsorbed = particles.adsorbed != 0
    assert 0.45 < along[adsorbed].mean() < 0.8
    assert along[~adsorbed].mean() < 0.2
    assert (tilt_deg[along & (particles.adsorbed == 1)] < 90).mean() > 0.9
    assert (tilt_deg[along & (particles.adsorbed == -1)] > 90).mean() > 0.9


def test_clumps_are_packed_and_known() -> None:
    clumps = np.zeros(FIELD, bool)
    clumps[300:600, 300:600] = True
    crowding = np.where(clumps, np.float32(0), np.float32(1))
    particles = placed(replace(SPARSE, adsorbed=0.5), replace(ROOM, clumps=clumps, crowding=crowding))
    x, y = particles.x_px + MARGIN, particles.y_px + MARGIN
    within = (x > 299) & (x < 600) & (y > 299) & (y < 600)
    assert (within == particles.clumped).all()
    assert not particles.adsorbed[particles.clumped].any()
    assert particles.clumped.sum() > 1.2 * 300**2 * PIXEL_A**2 / (np.pi * RADIUS_A**2) / 1.15
    assert np.median(distances_A(particles)[particles.clumped]) < 0.9 * 2 * RADIUS_A
    assert distances_A(particles[particles.clumped]).min() >= 0.55 * 2 * RADIUS_A * (1 - 1e-6)


def test_nothing_is_placed_where_nothing_is_wanted() -> None:
    for settings, room in (
        (replace(SPARSE, per_micrograph=0), replace(ROOM, clumps=np.ones(FIELD, bool))),
        (SPARSE, replace(ROOM, film_A=np.zeros(FIELD, np.float32))),
        (SPARSE, replace(ROOM, crowding=np.zeros(FIELD, np.float32))),
    ):
        particles = placed(settings, room)
        assert len(particles) == 0
        assert particles.rotations.shape == (0, 3, 3)


def test_placement_depends_on_the_seed_alone() -> None:
    first, again, other = placed(SPARSE), placed(SPARSE), placed(SPARSE, seed=2)
    np.testing.assert_array_equal(first.x_px, again.x_px)
    np.testing.assert_array_equal(first.rotations, again.rotations)
    assert len(first) != len(other) or not np.allclose(first.x_px, other.x_px)


def test_neighbours_are_as_far_apart_as_real_ones() -> None:
    files = sorted(PICKS.glob("*.csv"))
    if not files:
        pytest.skip("needs ../shared/real/apoferritin-10146/picks")
    picks = [pd.read_csv(file)[["x_px", "y_px"]].to_numpy() * 1.5 for file in files]
    real = np.concatenate([cKDTree(points).query(points, 2)[0][:, 1] for points in picks])
    wanted = round(float(np.mean([len(points) for points in picks])))
    image = (1200, 1240)
    room = Room(image, 110, 1.5, np.full((1420, 1460), 300, np.float32), usual_A=300.0)
    settings = ParticleSettings(per_micrograph=wanted, closest_diameters=0.83)
    found, counts = [], []
    for seed in range(10):
        particles = place_particles(np.random.default_rng(seed), settings, 61.0, room)
        inside = particles.inside(*image)
        points = np.stack((particles.x_px, particles.y_px), axis=1) * 1.5
        found.append(cKDTree(points).query(points, 2)[0][inside, 1])
        counts.append(int(inside.sum()))
    np.testing.assert_allclose(
        np.percentile(np.concatenate(found), (25, 50, 75)), np.percentile(real, (25, 50, 75)), atol=4
    )
    assert np.mean(counts) == pytest.approx(wanted, rel=0.06)
