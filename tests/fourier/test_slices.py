"""Slicing agrees with projecting, its gradient with differences, and insertion is its adjoint."""

import numpy as np
import pytest
import torch

from scherzer.fourier.expansion import continuation_envelope, expansion_table
from scherzer.fourier.filters import cosine_edge
from scherzer.fourier.grids import centred_rfft2, real_radius
from scherzer.fourier.slices import (
    SliceAccumulator,
    SliceGrid,
    sinc2_correction,
    slice_points,
    slice_table,
    volume_from_sums,
)
from scherzer.geometry.rotations import from_rotation_vector, random_rotations

BOX = 32


def band(box: int, radius: float) -> tuple[torch.Tensor, torch.Tensor]:
    ky, kx = torch.meshgrid(torch.arange(-box // 2 + 1, box // 2), torch.arange(0, box // 2), indexing="ij")
    inside = (kx**2 + ky**2 <= radius**2) & ((kx > 0) | (ky > 0))
    return kx[inside].float(), ky[inside].float()


def blob_volume(seed: int = 0) -> torch.Tensor:
    """A smooth volume of random blobs whose exact projections are known: centres (n, 3) as x, y, z."""
    generator = torch.Generator().manual_seed(seed)
    volume = torch.randn(BOX, BOX, BOX, generator=generator)
    return volume * cosine_edge(real_radius(BOX, 3), 9, 13)


def gaussians(rotation: torch.Tensor, dims: int) -> torch.Tensor:
    """Gaussian blobs (sigma 1.6 px) sampled as a volume (dims 3) or, rotated into the image frame, as projection."""
    generator = torch.Generator().manual_seed(3)
    centres = (torch.rand(12, 3, generator=generator) - 0.5) * 14
    centres = centres @ rotation  # v_image = R^T v_volume
    axis = torch.arange(BOX) - BOX // 2.0
    profile = torch.exp(-((axis[None, None] - centres[..., None]) ** 2) / (2 * 1.6**2))  # (n, 3, b)
    if dims == 3:
        return torch.einsum("nz,ny,nx->zyx", profile[:, 2], profile[:, 1], profile[:, 0])
    return torch.einsum("n,ny,nx->yx", profile[:, 2].sum(-1), profile[:, 1], profile[:, 0])


def test_slice_is_the_transform_of_the_projection() -> None:
    rotation = from_rotation_vector(torch.tensor([[0.4, -1.1, 0.7]]))
    kx, ky = band(BOX, 12)
    table = slice_table(gaussians(torch.eye(3), 3), 12)
    found = table.slices(rotation, kx, ky)[0]
    expected = centred_rfft2(gaussians(rotation[0], 2))[(ky % BOX).long(), kx.long()]
    error = (found - expected).abs().pow(2).sum() / expected.abs().pow(2).sum()
    assert error.sqrt() < 0.025


def test_interpolation_envelope_is_divided_out() -> None:
    """Multiplying by sinc^2 instead of dividing, or not correcting, is several times worse."""
    kx, ky = band(BOX, 10)
    rotation = from_rotation_vector(torch.tensor([[0.2, 0.5, -0.3]]))
    volume = gaussians(torch.eye(3), 3)
    expected = centred_rfft2(gaussians(rotation[0], 2))[(ky % BOX).long(), kx.long()]

    def error(given: torch.Tensor) -> float:
        found = slice_table(given, 10).slices(rotation, kx, ky)[0]
        return float((found - expected).norm() / expected.norm())

    envelope = sinc2_correction(BOX)
    assert 3 * error(volume) < error(volume * envelope) < error(volume * envelope**2)


def exact(volume: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Fourier transform of a volume at any points (p, 3)."""
    position = torch.arange(BOX) - BOX // 2.0
    waves = torch.polar(torch.ones(1), (-2 * torch.pi / BOX) * points[..., None] * position)  # (p, 3, b)
    return torch.einsum("zyx,pz,py,px->p", volume.to(torch.complex64), waves[:, 2], waves[:, 1], waves[:, 0])


def expanded(volume: torch.Tensor, rotation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values, slopes along the image's x, y and z, and the points of a slice."""
    kx, ky = band(BOX, 12)
    value, slope = expansion_table(volume, 12).slices(rotation, kx, ky)
    points = slice_points(rotation, kx, ky)[0]
    return torch.complex(value[0, 0], value[0, 1]), torch.complex(slope[0, :, 0], slope[0, :, 1]), points


@pytest.mark.parametrize("seed", [0, 1])
def test_continued_slice_is_as_true_as_an_interpolated_one(seed: int) -> None:
    volume = blob_volume(seed)
    rotation = from_rotation_vector(torch.tensor([[0.4, -1.1, 0.7 + seed]]))
    value, _, points = expanded(volume, rotation)
    expected = exact(volume, points)
    interpolated = slice_table(volume, 12).at(points)[:, 0]
    continued, trilinear = ((found - expected).norm() / expected.norm() for found in (value, interpolated))
    assert continued < 0.05
    assert continued < 2 * trilinear


def test_envelope_of_continuation_is_divided_out() -> None:
    volume = blob_volume()
    rotation = from_rotation_vector(torch.tensor([[0.2, 0.5, -0.3]]))
    wrong = expanded(volume * continuation_envelope(BOX), rotation)[0]
    right, _, points = expanded(volume, rotation)
    expected = exact(volume, points)
    assert (right - expected).norm() < 0.95 * (wrong - expected).norm()


def test_slopes_are_along_the_axes_of_the_image() -> None:
    volume = gaussians(torch.eye(3), 3)
    rotation = from_rotation_vector(torch.tensor([[-0.8, 0.3, 1.9]]))
    _, slope, points = expanded(volume, rotation)
    step = 0.05
    for axis in range(3):
        move = rotation[0, :, axis] * step / 2
        difference = (exact(volume, points + move) - exact(volume, points - move)) / step
        assert (slope[axis] - difference).norm() / difference.norm() < 0.35


@pytest.mark.parametrize("seed", [0, 1])
def test_insertion_is_the_adjoint_of_slicing(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    grid = SliceGrid(BOX, 10)
    rotations = from_rotation_vector(torch.randn(5, 3, generator=generator))
    kx, ky = band(BOX, 10)
    points = slice_points(rotations, kx, ky)
    table = slice_table(blob_volume(seed), 10)
    y = torch.randn(5, len(kx), dtype=torch.complex64, generator=generator)
    forward = (table.slices(rotations, kx, ky).conj() * y).real.sum()
    accumulator = SliceAccumulator(grid)
    accumulator.insert(points, y, torch.ones(5, len(kx)))
    backward = (accumulator.sums[:2].T * table.values).sum()
    assert torch.isclose(forward, backward, rtol=1e-3)


def test_inserted_slices_give_the_volume_back() -> None:
    volume = gaussians(torch.eye(3), 3)
    rotations = random_rotations(1500, np.random.default_rng(0))
    kx, ky = band(BOX, 14)
    values = slice_table(volume, 15).slices(rotations, kx, ky)
    accumulator = SliceAccumulator(SliceGrid(BOX, 15))
    accumulator.insert(slice_points(rotations, kx, ky), values, torch.ones(values.shape))
    sums = accumulator.folded()
    entries = torch.view_as_complex(sums[..., :2].contiguous()) / sums[..., 2].clamp(min=1e-2)
    # The mean density (frequency zero) is not part of the band: compare without it.
    found = volume_from_sums(entries, accumulator.grid)
    difference = (found - found.mean()) - (volume - volume.mean())
    assert difference.norm() / (volume - volume.mean()).norm() < 0.05
