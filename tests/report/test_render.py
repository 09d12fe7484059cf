"""The ray caster against bodies whose pictures are known, and the choice of contour."""

from __future__ import annotations

import numpy as np
import pytest

from scherzer.report.contour import choose_contour, prepare, solvent_sd
from scherzer.report.render import RenderSettings, first_hit, render_surface, shade, view_axes

BOX = 48
RADIUS = 14.0


def offsets() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axis = np.arange(BOX, dtype=np.float32) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return z, y, x


def sphere(centre_x: float = 0.0) -> np.ndarray:
    """A body whose value falls from 1 to 0 over four voxels around its surface, where it is 0.5."""
    z, y, x = offsets()
    return np.clip(0.5 + (RADIUS - np.sqrt((x - centre_x) ** 2 + y**2 + z**2)) / 4, 0, 1).astype(np.float32)


@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 1.0)])
def test_a_sphere_is_a_disc_of_its_radius_from_everywhere(direction: tuple[float, float, float]) -> None:
    hit = first_hit(sphere(), 0.5, view_axes(direction), 200, 20.0, 1.0)
    area = hit.hit.sum() * hit.pixel_voxels**2
    assert area == pytest.approx(np.pi * RADIUS**2, rel=0.02)
    assert hit.depth_voxels[100, 100] == pytest.approx(RADIUS, abs=0.15)


def test_the_normals_of_a_sphere_point_away_from_its_centre() -> None:
    rays, half = 121, 20.0
    hit = first_hit(sphere(), 0.5, view_axes((0.3, -0.4, 0.8)), rays, half, 1.0)
    side = np.linspace(-half, half, rays)
    up, right = np.meshgrid(-side, side, indexing="ij")
    inner = np.hypot(right, up) < 0.8 * RADIUS
    position = np.stack([right, up, np.where(hit.hit, hit.depth_voxels, 0.0)], axis=-1)[inner]
    truth = position / np.linalg.norm(position, axis=1, keepdims=True)
    cosine = (hit.normals[inner] * truth).sum(axis=1)
    assert cosine.min() > 0.985
    np.testing.assert_allclose(np.linalg.norm(hit.normals[inner], axis=1), 1.0, atol=1e-5)


def test_the_nearer_of_two_bodies_is_seen() -> None:
    z, y, x = offsets()
    near = np.clip(4.5 - np.sqrt(x**2 + y**2 + (z - 12) ** 2), 0, 1)
    far = np.clip(8.5 - np.sqrt(x**2 + y**2 + (z + 8) ** 2), 0, 1)
    volume = np.maximum(near, far).astype(np.float32)
    from_above = first_hit(volume, 0.5, view_axes((0, 0, 1)), 101, 22.0, 1.0)
    from_below = first_hit(volume, 0.5, view_axes((0, 0, -1)), 101, 22.0, 1.0)
    assert from_above.depth_voxels[50, 50] == pytest.approx(16.0, abs=0.3)
    assert from_below.depth_voxels[50, 50] == pytest.approx(16.0, abs=0.3)
    assert from_above.hit.sum() == pytest.approx(from_below.hit.sum(), rel=0.01)


def test_x_is_to_the_right_and_y_is_up_when_seen_along_z() -> None:
    z, y, x = offsets()
    body = np.clip(4.5 - np.sqrt((x - 12) ** 2 + (y - 6) ** 2 + z**2), 0, 1).astype(np.float32)
    hit = first_hit(body, 0.5, view_axes((0, 0, 1)), 101, 22.0, 1.0)
    rows, columns = np.nonzero(hit.hit)
    assert (columns.mean() - 50) * hit.pixel_voxels == pytest.approx(12.0, abs=0.3)
    assert (50 - rows.mean()) * hit.pixel_voxels == pytest.approx(6.0, abs=0.3)


@pytest.mark.parametrize("direction", [(0, 0, 1), (0, 1, 0), (1, 2, 3), (-1, 0.2, 0)])
def test_view_axes_are_a_right_handed_frame(direction: tuple[float, float, float]) -> None:
    axes = view_axes(direction).astype(np.float64)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(axes) == pytest.approx(1.0, abs=1e-6)


def test_an_empty_map_is_a_white_picture() -> None:
    picture = render_surface(
        np.zeros((16, 16, 16), np.float32), 0.5, (0, 0, 1), (0.4, 0.6, 0.9), 8.0, RenderSettings(width_px=20)
    )
    assert picture.shape == (20, 20, 3)
    assert (picture == 255).all()


def test_the_side_towards_the_light_is_brighter() -> None:
    hit = first_hit(sphere(), 0.5, view_axes((0, 0, 1)), 101, 20.0, 1.0)
    picture = shade(hit, (0.5, 0.5, 0.5), 0.3).mean(axis=2)
    assert picture[30, 30] > picture[70, 70] + 0.1


def noisy_sphere(noise: float) -> tuple[np.ndarray, np.ndarray]:
    z, y, x = offsets()
    radius = np.sqrt(x**2 + y**2 + z**2)
    rng = np.random.default_rng(2)
    volume = (sphere() + noise * rng.normal(size=radius.shape)).astype(np.float32)
    return volume, np.clip((RADIUS + 5 - radius) / 3, 0, 1).astype(np.float32)


def test_the_contour_lies_between_solvent_and_protein() -> None:
    volume, mask = noisy_sphere(0.1)
    assert 0.3 < choose_contour(volume, mask) < 0.75
    assert 0.3 < choose_contour(volume) < 0.75
    assert solvent_sd(volume, mask) == pytest.approx(0.1, rel=0.1)


def test_the_contour_is_never_in_the_solvent_noise() -> None:
    volume, mask = noisy_sphere(0.25)
    level = choose_contour(volume, mask)
    assert level >= 3 * 0.24
    assert (volume[mask < 0.01] > level).mean() < 0.003


def test_dust_is_left_out_and_the_body_stays() -> None:
    volume = sphere()
    volume[24, 24, 44:46] = 1.0
    drawable = prepare(volume, 2.0, None, target_voxels=60)
    assert drawable.half_width_voxels / drawable.finer == pytest.approx(RADIUS + 2, abs=1.5)
    assert drawable.pixel_size_A * drawable.finer == pytest.approx(2.0)
    centre = drawable.volume.shape[0] // 2
    assert drawable.volume[centre, centre, centre] > drawable.level


def test_fine_sampling_keeps_size_and_centre() -> None:
    z, y, x = offsets()
    smooth = np.exp(-((x - 3) ** 2 + y**2 + z**2) / (2 * 5.0**2)).astype(np.float32)
    drawable = prepare(smooth, 1.0, None, target_voxels=120)
    assert drawable.finer > 1
    peak = np.array(np.unravel_index(np.argmax(drawable.volume), drawable.volume.shape)) - drawable.volume.shape[0] // 2
    assert peak[2] / drawable.finer == pytest.approx(3.0, abs=0.5)
    assert abs(peak[0]) <= 1
    assert drawable.volume.max() == pytest.approx(1.0, abs=0.02)
