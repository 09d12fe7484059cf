"""Each gate names its reason; a good class passes whatever its contrast."""

from dataclasses import replace

import pytest
import torch

from scherzer.fourier.grids import real_radius
from scherzer.particles.class_features import measure_classes
from scherzer.particles.class_selection import ClassSelectionSettings, select_classes
from scherzer.particles.classification2d import Class2DResult

BOX, PIXEL_A, DIAMETER_A = 48, 4.0, 120.0
MEMBERS = 100


def disc(radius_px: float, x: float = 0.0, y: float = 0.0, hole_px: float = 0.0) -> torch.Tensor:
    side = torch.arange(BOX) - BOX // 2
    distance = torch.hypot(side[None, :] - x, side[:, None] - y)
    return torch.sigmoid(radius_px - distance) * (1 - 0.8 * torch.sigmoid(hole_px - distance)) * (distance < 40)


def result_of(*averages: torch.Tensor) -> Class2DResult:
    count = len(averages)
    n = count * MEMBERS
    inside = (real_radius(BOX, 2) < DIAMETER_A / 2 / PIXEL_A).float()
    return Class2DResult(
        averages=torch.stack(averages) * inside,
        pixel_size_A=PIXEL_A,
        class_index=torch.arange(n) % count,
        psi_rad=torch.zeros(n),
        shift_A=torch.zeros(n, 2),
        probability=torch.ones(n),
        noise_probability=torch.zeros(n),
        misfit=torch.ones(n),
        class_resolution_A=torch.full((count,), 15.0),
        resolution_143_A=torch.full((count,), 10.0),
        population=torch.full((count,), MEMBERS),
    )


def test_ring_and_disc_are_kept_at_any_contrast() -> None:
    ring, solid = disc(12, hole_px=7), disc(11)
    selection = select_classes(result_of(ring, solid, 0.01 * ring, 50 * solid), DIAMETER_A, PIXEL_A)
    assert selection.keep.all()
    assert selection.reason == [""] * 4
    assert torch.allclose(selection.score[0], selection.score[2], atol=1e-4)
    assert torch.allclose(selection.score[1], selection.score[3], atol=1e-4)


def test_a_broken_ring_is_still_centred() -> None:
    broken = disc(12, hole_px=7)
    broken[BOX // 2 - 3 : BOX // 2 + 4, BOX // 2 :] = 0
    features = measure_classes(broken[None], DIAMETER_A, PIXEL_A)
    assert float(features.off_centre) < 0.05
    assert float(features.foreground_diameter) == pytest.approx(24 / 30, abs=0.1)


@pytest.mark.parametrize(
    ("average", "change", "reason"),
    [
        (disc(3.5), {}, "bright part"),
        (disc(9, x=8), {}, "off the centre"),
        (disc(60) - disc(9), {}, "mask's edge"),
        (disc(10, y=-4) - disc(4, y=11), {}, "dark parts"),
        (disc(11), {"class_resolution_A": torch.tensor([15.0, 80.0])}, "agree only to 80 A"),
        (disc(11), {"noise_probability": torch.tensor([0.0, 0.4]).repeat(MEMBERS)}, "noise"),
        (disc(11), {"shift_A": torch.tensor([[3.0, 0.0], [60.0, 0.0]]).repeat(MEMBERS, 1)}, "off their picks"),
        (disc(11), {"population": torch.tensor([1000, 1])}, "0.10% of the particles"),
        (disc(11), {"population": torch.tensor([1000, 0])}, "no particles"),
    ],
)
def test_gates_name_their_reason(average: torch.Tensor, change: dict[str, torch.Tensor], reason: str) -> None:
    result = replace(result_of(disc(12, hole_px=7), average), **change)
    selection = select_classes(result, DIAMETER_A, PIXEL_A)
    assert selection.keep.tolist() == [True, False]
    assert reason in selection.reason[1]


def test_a_class_is_judged_without_the_noise_in_it() -> None:
    probability = torch.cat([torch.zeros(MEMBERS), torch.full((3 * MEMBERS,), 0.95)])
    result = replace(
        result_of(disc(12, hole_px=7)),
        noise_probability=probability,
        class_index=torch.zeros(4 * MEMBERS, dtype=torch.int64),
        shift_A=torch.where(probability[:, None] > 0.5, 60.0, 2.0).expand(-1, 2),
    )
    assert result.is_noise.sum() == 3 * MEMBERS
    assert select_classes(result, DIAMETER_A, PIXEL_A).keep.all()


def test_noise_scores_below_a_particle() -> None:
    noise = torch.randn(BOX, BOX, generator=torch.Generator().manual_seed(0))
    result = replace(result_of(disc(12, hole_px=7), noise), class_resolution_A=torch.tensor([15.0, 38.0]))
    result = replace(result, noise_probability=torch.tensor([0.02, 0.3]).repeat(MEMBERS))
    selection = select_classes(result, DIAMETER_A, PIXEL_A)
    assert selection.score[0] > 0.8
    assert selection.score[1] < 0.5
    assert not selection.keep[1]


def test_limits_can_be_moved() -> None:
    result = replace(result_of(disc(11)), class_resolution_A=torch.tensor([35.0]))
    assert not select_classes(result, DIAMETER_A, PIXEL_A, ClassSelectionSettings(max_resolution_A=30.0)).keep[0]


def test_an_empty_image_has_no_foreground() -> None:
    features = measure_classes(torch.zeros(1, BOX, BOX), DIAMETER_A, PIXEL_A)
    assert float(features.foreground_diameter) == 0
    assert not select_classes(result_of(torch.zeros(BOX, BOX)), DIAMETER_A, PIXEL_A).keep[0]


def test_another_pixel_size_is_refused() -> None:
    with pytest.raises(ValueError, match="4 A pixels"):
        select_classes(result_of(disc(11)), DIAMETER_A, 1.5)
