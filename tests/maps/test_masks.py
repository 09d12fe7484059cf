"""The mask holds the particle with a margin, and neither solvent nor dust."""

import math

import pytest
import torch

from scherzer.fourier.filters import cosine_edge
from scherzer.fourier.grids import real_radius
from scherzer.maps.masks import DILATE_A, EDGE_PX, reference_mask, solvent_mask
from scherzer.maps.reconstruction import spherical_mask

BOX, PIXEL_SIZE_A, RADIUS_A = 48, 3.0, 36.0


def radius_A(centre: tuple[int, int, int]) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.arange(BOX) - c for c in centre], indexing="ij")
    return torch.stack(axes).float().norm(dim=0) * PIXEL_SIZE_A


def ball(noise: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    density = (real_radius(BOX, 3) * PIXEL_SIZE_A < RADIUS_A).float()
    return density + noise * torch.randn(BOX, BOX, BOX, generator=generator)


def test_mask_holds_the_ball_and_ends_where_its_edge_does() -> None:
    mask = solvent_mask(ball(), PIXEL_SIZE_A, 2 * RADIUS_A)
    radius = real_radius(BOX, 3) * PIXEL_SIZE_A
    end_A = RADIUS_A + DILATE_A + EDGE_PX * PIXEL_SIZE_A
    assert mask.min() == 0
    assert mask.max() == 1
    assert (mask[radius < RADIUS_A] > 0.98).all()
    assert (mask[radius > end_A + 2 * PIXEL_SIZE_A] == 0).all()
    middle = RADIUS_A + DILATE_A + EDGE_PX * PIXEL_SIZE_A / 2
    assert float(mask.sum()) * PIXEL_SIZE_A**3 == pytest.approx(4 / 3 * math.pi * middle**3, rel=0.12)


def test_mask_does_not_depend_on_grey_scale() -> None:
    volume = ball()
    first, second = (solvent_mask(v, PIXEL_SIZE_A, 72.0) for v in (volume, 100 * volume + 7))
    assert (first - second).abs().mean() < 1e-3


def test_dust_is_left_out() -> None:
    dust = (radius_A((24, 24, 34)) < 9).float()
    small = (radius_A((24, 24, 18)) < 18).float()
    mask = solvent_mask(small + dust, PIXEL_SIZE_A, 84.0)
    assert mask[24, 24, 18] == 1
    assert mask[24, 24, 34] < 0.5
    assert mask[24, 24, 37] == 0


def test_density_beyond_the_particles_sphere_is_left_out() -> None:
    neighbour = (radius_A((24, 24, 44)) < 12).float()
    mask = solvent_mask(ball(0.0) + 2 * neighbour, PIXEL_SIZE_A, 2 * RADIUS_A)
    assert mask[24, 24, 24] == 1
    assert mask[24, 24, 47] < 0.5


def test_larger_density_beyond_the_particles_sphere_does_not_take_the_mask() -> None:
    small = (radius_A((24, 24, 24)) < 18).float()
    neighbour = (radius_A((24, 24, 44)) < 24).float()
    mask = solvent_mask(small + neighbour, PIXEL_SIZE_A, 36.0)
    assert mask[24, 24, 24] == 1
    assert mask[24, 24, 44] == 0


def test_edge_is_soft() -> None:
    mask = solvent_mask(ball(), PIXEL_SIZE_A, 2 * RADIUS_A)
    assert mask[24, 24].diff().abs().max() < 0.3


def test_spherical_mask() -> None:
    mask = spherical_mask(BOX, 2.0, 40.0, 10.0, torch.device("cpu"))
    radius = real_radius(BOX, 3) * 2.0
    assert (mask[radius <= 20] == 1).all()
    assert (mask[radius >= 30] == 0).all()
    assert mask[24, 24, 24 + 12] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.4)), abs=1e-5)


def test_mask_of_a_reference_is_tighter_and_keeps_parts_that_are_apart() -> None:
    box, pixel_A = 48, 2.0
    axis = (torch.arange(box) - box // 2) * pixel_A
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    lumps = [((x - at) ** 2 + y**2 + z**2).sqrt() for at in (-16.0, 16.0)]
    volume = sum(cosine_edge(distance, 8.0, 12.0) for distance in lumps)
    tight = reference_mask(volume, pixel_A, 60.0, 6.0)
    loose = solvent_mask(volume, pixel_A, 60.0)
    assert tight.sum() < 0.6 * loose.sum()
    for distance in lumps:
        assert (tight[distance < 8] == 1).all()
    assert (tight[torch.minimum(*lumps) > 20] == 0).all()
