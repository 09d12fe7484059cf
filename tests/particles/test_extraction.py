"""Boxes, extraction, duplicates and half-sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scherzer.particles.extraction import (
    ExtractSettings,
    assign_half_sets,
    box_size_px,
    drop_duplicates,
    extract_particles,
    resolution_held_A,
)

WAVELENGTH_A = 0.01969
PIXEL_A = 1.5
DIAMETER_A = 60.0


def blob_micrograph(x: float, y: float, shape: tuple[int, int] = (200, 240), height: float = 4.0) -> torch.Tensor:
    """A dark Gaussian blob on a ramp with unit noise."""
    rows, columns = torch.meshgrid(torch.arange(shape[0]).float(), torch.arange(shape[1]).float(), indexing="ij")
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    blob = height * torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 8.0**2))
    return 500 + 0.2 * columns - 0.1 * rows + 3 * (noise - blob)


def cut(
    image: torch.Tensor, x: list[float], y: list[float], raw: int = 80, working: int = 80
) -> tuple[torch.Tensor, torch.Tensor]:
    result = extract_particles(image, torch.tensor(x), torch.tensor(y), PIXEL_A, DIAMETER_A, raw, working)
    return result.images, result.kept


def centre_of_mass(image: torch.Tensor) -> tuple[float, float]:
    """Column and row of the centre of a bright blob."""
    weight = torch.where(image > 0.4 * image.max(), image, 0.0)
    index = torch.arange(len(image)).float()
    return float((weight.sum(0) * index).sum() / weight.sum()), float((weight.sum(1) * index).sum() / weight.sum())


def test_apoferritin_gets_the_box_its_published_peer_used() -> None:
    assert box_size_px(130.0, 1.5, 25_000.0, WAVELENGTH_A) == (144, 144, 1.5)


def test_box_follows_the_largest_defocus_between_its_limits() -> None:
    low = box_size_px(130.0, 1.5, 3_000.0, WAVELENGTH_A)[0]
    middle = box_size_px(200.0, 1.0, 21_500.0, WAVELENGTH_A, ExtractSettings(max_diameters=3.0))[0]
    high = box_size_px(130.0, 1.5, 60_000.0, WAVELENGTH_A)[0]
    assert low * 1.5 >= 1.5 * 130
    assert high * 1.5 == pytest.approx(1.65 * 130, rel=0.06)
    assert middle == 320  # 200 A + 2 x 0.01969 x 21500 / 8 A = 305.8 A, next even 2-3-5 length


@settings(max_examples=60, deadline=None)
@given(diameter_A=st.floats(60, 400), pixel_size_A=st.floats(0.4, 3.0), defocus_A=st.floats(0, 50_000))
def test_boxes_are_even_fast_and_fine_enough(diameter_A: float, pixel_size_A: float, defocus_A: float) -> None:
    raw, working, pixel_A = box_size_px(diameter_A, pixel_size_A, defocus_A, WAVELENGTH_A)
    for side in (raw, working):
        assert side % 2 == 0
        rest = side
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        assert rest == 1
    assert working <= raw
    assert pixel_A == pytest.approx(pixel_size_A * raw / working)
    assert pixel_A <= max(pixel_size_A, 1.5) + 1e-6
    assert raw * pixel_size_A >= 1.5 * diameter_A - 1e-3


def test_resolution_held_inverts_the_box_rule() -> None:
    box_A = 200.0 + 2 * WAVELENGTH_A * 20_000 / 5.0
    assert resolution_held_A(round(box_A * 100), 0.01, 200.0, 20_000.0, WAVELENGTH_A) == pytest.approx(5.0, rel=1e-3)
    assert resolution_held_A(100, 1.0, 120.0, 20_000.0, WAVELENGTH_A) == float("inf")


def test_background_is_flat_standard_and_the_protein_white() -> None:
    images, kept = cut(blob_micrograph(120.0, 100.0), [120.0], [100.0])
    assert kept.tolist() == [True]
    index = torch.arange(80) - 40
    radius = torch.sqrt((index[:, None] ** 2 + index**2).float())
    outside = radius > 1.1 * DIAMETER_A / PIXEL_A / 2
    background = images[0][outside]
    assert abs(float(background.mean())) < 0.02
    assert float(background.std()) == pytest.approx(1.0, abs=0.02)
    columns = index.float().expand(80, 80)[outside]
    assert abs(float(np.polyfit(columns.numpy(), background.numpy(), 1)[0])) < 1e-4
    assert float(images[0][radius < 4].mean()) > 3.0


@pytest.mark.parametrize(("raw", "working"), [(80, 80), (80, 50)])
@pytest.mark.parametrize(("x", "y"), [(120.0, 100.0), (120.37, 99.71), (119.5, 100.45)])
def test_the_picked_position_lands_on_the_central_pixel(raw: int, working: int, x: float, y: float) -> None:
    images, _ = cut(blob_micrograph(x, y, height=200.0), [x], [y], raw, working)
    assert centre_of_mass(images[0]) == pytest.approx((working / 2, working / 2), abs=0.05)


def test_fourier_crop_keeps_low_frequencies_and_unit_background() -> None:
    image = blob_micrograph(120.0, 100.0)
    full, _ = cut(image, [120.0], [100.0], 80, 80)
    small, _ = cut(image, [120.0], [100.0], 80, 40)
    low_full, low_small = torch.fft.rfft2(full[0])[:8, 1:8].flatten(), torch.fft.rfft2(small[0])[:8, 1:8].flatten()
    cosine = (low_full * low_small.conj()).sum().real / (low_full.norm() * low_small.norm())
    assert float(cosine) > 0.9999
    assert small.shape == (1, 40, 40)
    assert float(small[0][0].std()) == pytest.approx(1.0, abs=0.3)


def test_dust_becomes_noise() -> None:
    image = blob_micrograph(120.0, 100.0)
    image[80, 130], image[115, 110] = 5_000.0, -5_000.0
    clean, _ = cut(blob_micrograph(120.0, 100.0), [120.0], [100.0])
    dusty, _ = cut(image, [120.0], [100.0])
    assert float(dusty.abs().max()) < 8.0
    untouched = torch.ones(80, 80, dtype=torch.bool)
    untouched[20, 50] = untouched[55, 30] = False
    assert float((clean - dusty)[0][untouched].abs().max()) < 0.2


def test_particles_at_the_edge_are_dropped_and_named() -> None:
    image = blob_micrograph(120.0, 100.0)
    x, y = [120.0, 10.0, 30.0, 230.0, 120.0, 38.0], [100.0, 100.0, 100.0, 100.0, 195.0, 30.0]
    images, kept = cut(image, x, y)
    # radius 20 px, box 80 px: x = 30 puts an eighth of the box outside, which is filled; (38, 30) about as much
    assert kept.tolist() == [True, False, True, False, False, True]
    assert images.shape == (3, 80, 80)
    filled = images[1][:, :10]
    assert float(filled.std()) == pytest.approx(1.0, abs=0.15)
    assert abs(float(filled.mean())) < 0.15


def test_no_particles_give_an_empty_stack() -> None:
    images, kept = cut(blob_micrograph(120.0, 100.0), [], [])
    assert images.shape == (0, 80, 80)
    assert kept.shape == (0,)


def test_batches_do_not_matter_where_nothing_is_random() -> None:
    image = blob_micrograph(120.0, 100.0, height=1.0)
    x, y = np.random.default_rng(0).uniform(60, 140, (2, 100)).tolist()
    together, _ = cut(image, x, y)
    alone, _ = cut(image, x[90:91], y[90:91])
    torch.testing.assert_close(together[90], alone[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("raw", "working"), [(81, 80), (80, 41), (80, 96), (80, 0)])
def test_refuses_boxes_that_cannot_be(raw: int, working: int) -> None:
    with pytest.raises(ValueError, match="box"):
        cut(blob_micrograph(120.0, 100.0), [120.0], [100.0], raw, working)


def test_duplicates_keep_the_best() -> None:
    x, y = torch.tensor([0.0, 3.0, 20.0, 6.0]), torch.zeros(4)
    score = torch.tensor([0.5, 0.9, 0.1, 0.4])
    assert drop_duplicates(x, y, score, 5.0).tolist() == [False, True, True, False]
    assert drop_duplicates(x, y, torch.tensor([0.9, 0.5, 0.1, 0.4]), 5.0).tolist() == [True, False, True, True]
    assert drop_duplicates(x[:0], y[:0], score[:0], 5.0).tolist() == []
    assert drop_duplicates(torch.tensor([0.0, 5.0]), torch.zeros(2), torch.ones(2), 5.0).tolist() == [True, True]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(0, 1)), min_size=2, max_size=40))
def test_no_two_kept_are_near_and_every_dropped_one_has_a_better_neighbour(
    points: list[tuple[float, float, float]],
) -> None:
    x, y, score = torch.tensor(points, dtype=torch.float64).T
    keep = drop_duplicates(x, y, score, 7.0)
    distance = torch.hypot(x[:, None] - x, y[:, None] - y)
    among = distance[keep][:, keep] + 1e3 * torch.eye(int(keep.sum()))
    assert float(among.min()) >= 7.0
    for index in torch.nonzero(~keep)[:, 0].tolist():
        assert bool((keep & (distance[index] < 7.0) & (score >= score[index])).any())


def test_half_sets_split_by_micrograph_and_balance() -> None:
    rng = np.random.default_rng(1)
    micrograph = torch.from_numpy(np.repeat(rng.permutation(40), rng.integers(5, 200, 40)))
    half = assign_half_sets(micrograph)
    assert set(half.tolist()) == {1, 2}
    for index in micrograph.unique():
        assert len(half[micrograph == index].unique()) == 1
    assert abs(int((half == 1).sum()) - int((half == 2).sum())) <= 10
    shuffle = torch.randperm(len(micrograph), generator=torch.Generator().manual_seed(0))
    assert torch.equal(assign_half_sets(micrograph[shuffle]), half[shuffle])


def test_half_sets_of_one_micrograph_are_refused_and_of_none_are_empty() -> None:
    with pytest.raises(ValueError, match="two micrographs"):
        assign_half_sets(torch.zeros(10, dtype=torch.int64))
    assert assign_half_sets(torch.zeros(0, dtype=torch.int64)).shape == (0,)
