"""Movement that differs over the field."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from scherzer.micrographs.motion import MotionResult, MotionSettings, correct_motion
from scherzer.micrographs.motion_local import LocalMotion
from scherzer.micrographs.motion_sums import Exposures, sum_frames, sum_tiles
from scherzer.physics.optics import Optics

OPTICS = Optics(pixel_size_A=1.0, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1)
SIZE, FRAMES = 1024, 8


def texture(size: int, seed: int) -> np.ndarray:
    """Blobs about 5 px wide; mean 0, sd 1."""
    noise = np.random.default_rng(seed).normal(size=(size, size)).astype(np.float32)
    blobs = ndimage.gaussian_filter(noise, 1.2, mode="wrap")
    return blobs / blobs.std()


def settling(frames: int) -> np.ndarray:
    """From 0 to 1, fast at first."""
    return 1 - np.exp(-np.arange(frames) / 2.0)


def doming(size: int) -> np.ndarray:
    """Outward, y and x, of a film that bulges in its middle; no polynomial; root mean square 1."""
    v, u = np.meshgrid(*2 * [np.linspace(-1, 1, size)], indexing="ij")
    bulge = np.exp(-(u * u + v * v) / 0.8)
    field = np.stack([v * bulge, u * bulge])
    field -= field.mean(axis=(1, 2), keepdims=True)
    return field / np.sqrt(np.square(field).sum(axis=0).mean())


def movie(amplitude_px: float) -> Tensor:
    """Counts of a picture that drifts as a whole and domes by an amplitude."""
    picture = ndimage.spline_filter(texture(SIZE, 1), order=3, mode="grid-wrap").astype(np.float32)
    rows, columns = np.meshgrid(*2 * [np.arange(SIZE)], indexing="ij")
    field, generator = doming(SIZE), np.random.default_rng(2)
    frames = []
    for number, done in enumerate(settling(FRAMES)):
        y = rows - 0.5 * number - amplitude_px * done * field[0]
        x = columns + 0.3 * number - amplitude_px * done * field[1]
        seen = ndimage.map_coordinates(picture, [y, x], order=3, mode="grid-wrap", prefilter=False)
        frames.append(generator.poisson(2.0 * np.clip(1 + 0.1 * seen, 0, None)))
    return torch.from_numpy(np.stack(frames).astype(np.float32))


def corrected(frames: Tensor, settings: MotionSettings | None = None) -> MotionResult:
    return correct_motion(lambda: iter(frames), (FRAMES, SIZE, SIZE), OPTICS, 1.0, settings)


def likeness(image: Tensor) -> float:
    """Of a sum to the picture, tile by tile: where a tile lies is of no matter."""
    tiles = []
    for y in range(0, SIZE, 128):
        for x in range(0, SIZE, 128):
            seen, true = (np.fft.rfft2(part[y : y + 128, x : x + 128]) for part in (image.numpy(), texture(SIZE, 1)))
            seen[0, 0] = 0
            shared = np.fft.irfft2(seen * true.conj()).max()
            tiles.append(shared / np.fft.irfft2(np.abs(true) ** 2).max())
    return float(np.mean(tiles))


def test_doming_is_found_and_undone() -> None:
    amplitude = 4.0
    frames = movie(amplitude)
    result = corrected(frames)
    assert result.local is not None
    assert result.local_undone
    time = settling(FRAMES) - settling(FRAMES).mean()
    blur = amplitude * float(np.sqrt(np.square(time).mean()))
    assert result.local.blur_A == pytest.approx(blur, rel=0.15)
    assert result.local.error_A < 0.2 * blur
    whole = corrected(frames, MotionSettings(local_motion=False))
    assert whole.local is None
    assert likeness(result.sums.unweighted) > 1.1 * likeness(whole.sums.unweighted)


def test_where_there_is_none_nothing_is_undone() -> None:
    frames = movie(0.0)
    result = corrected(frames)
    assert result.local is not None
    assert result.local.blur_A < 3 * result.local.error_A
    assert not result.local_undone
    assert torch.equal(result.sums.unweighted, corrected(frames, MotionSettings(local_motion=False)).sums.unweighted)


@pytest.mark.parametrize("shape", [(1100, 1300), (301, 515)])
def test_tiles_are_summed_as_the_whole_where_all_move_alike(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    frames = [torch.rand(shape, generator=generator) for _ in range(4)]
    shifts = torch.tensor([[7.0, -40.0], [0.0, 3.0], [-5.0, 0.0], [0.0, 0.0]])
    exposures = Exposures(torch.tensor([True, True, False, True]), OPTICS, 2.0, True)
    still = LocalMotion(np.zeros((4, 5, 2)), 0.0, 0.0)
    whole, tiled = sum_frames(frames, shape, shifts, exposures), sum_tiles(frames, shape, shifts, still, exposures)
    for name in ("unweighted", "even", "odd"):
        torch.testing.assert_close(getattr(tiled, name), getattr(whole, name), rtol=0, atol=1e-4)
    assert whole.weighted is not None
    assert tiled.weighted is not None
    # The weights' filter, of longer reach than a rim, feels where a tile ends.
    torch.testing.assert_close(tiled.weighted, whole.weighted, rtol=0, atol=0.02)


def test_tiles_are_moved_by_what_the_field_says_at_their_middles() -> None:
    shape, shift_px = (1024, 1024), 3
    frame = torch.from_numpy(texture(1024, 4))
    terms = np.zeros((1, 5, 2))
    terms[0, 0, 1] = 2.0 * shift_px  # x displacement of 6 px times u: -3 in the left half's middle, 3 in the right's
    exposures = Exposures(torch.ones(1, dtype=torch.bool), OPTICS, None, False)
    summed = sum_tiles([frame], shape, torch.zeros(1, 2), LocalMotion(terms, 0.0, 0.0), exposures).unweighted
    inner = slice(100, 400)
    torch.testing.assert_close(summed[:, inner], torch.roll(frame, shift_px, 1)[:, inner], rtol=0, atol=1e-3)
    inner = slice(600, 900)
    torch.testing.assert_close(summed[:, inner], torch.roll(frame, -shift_px, 1)[:, inner], rtol=0, atol=1e-3)
