"""What the condition network and the out-of-domain score are fed with, and how they are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from scherzer.micrographs.contrast.condition_network import LABELS, ConditionNetwork, mean_power, views
from scherzer.micrographs.contrast.condition_opinion import ConditionOpinion
from scherzer.micrographs.contrast.out_of_domain import Reference, marks
from scherzer.micrographs.contrast.thumbnail import thumbnail


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def test_thumbnails_keep_white_noise_white_and_slopes_straight() -> None:
    ramp = torch.linspace(0, 40, 1536)[:, None]
    small = thumbnail(noise(1536, 1024) + ramp, 1.3)
    assert small.shape == (250, 166)
    left = small - small.mean(1, keepdim=True)
    power = torch.fft.rfft2(left, norm="ortho").abs().square() * (8.0 / 1.3) ** 2
    assert power[3:100, 3:60].mean() == pytest.approx(1.0, abs=0.05)
    assert power[20:60, 0].mean() < 1.5  # no cross from the step between top and bottom


def test_thumbnails_show_a_wave_at_its_place() -> None:
    y = torch.arange(1200) * 1.5
    small = thumbnail(torch.sin(2 * torch.pi * y / 180)[:, None].expand(1200, 1000), 1.5)
    power = torch.fft.rfft(small[:, 50]).abs()
    assert int(power[1:].argmax()) + 1 == 10


def test_tiles_have_the_power_of_a_plain_transform() -> None:
    values = noise(2, 128, 100)
    window = torch.hann_window(128)[:, None] * torch.hann_window(100)
    window = window / window.square().sum().sqrt()
    tile = (values - values.mean((1, 2), keepdim=True)) * window
    expected = torch.fft.fftshift(torch.fft.fft2(tile, s=(128, 128)).abs().square(), dim=(1, 2))
    torch.testing.assert_close(mean_power(values), expected, rtol=1e-3, atol=1e-4)


def test_grey_levels_and_slopes_do_not_matter() -> None:
    picture = noise(1, 200, 240)
    y, x = torch.linspace(-1, 1, 200)[:, None], torch.linspace(-1, 1, 240)
    changed = 300 + 7 * (picture + 2 * y - x * y + x**2)
    for one, other in zip(views(picture), views(changed), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.03)


def test_the_reference_alarms_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    mix = torch.from_numpy(rng.standard_normal((6, 6), dtype=np.float32))
    seen, held_out, others = (
        torch.from_numpy(rng.standard_normal((count, 6), dtype=np.float32)) @ mix for count in (800, 400, 600)
    )
    reference = Reference.of(seen, held_out, exceeded=0.05)
    alarms = np.mean([reference.strangeness(one) > 1 for one in others])
    assert 0.02 < alarms < 0.09
    assert reference.strangeness(seen.mean(0) + 12 * mix[0]) > 2


def test_marks_do_not_depend_on_the_scale_of_grey_levels() -> None:
    image = 2 + noise(1024, 1024)
    image[300:500, 200:700] *= 1.5
    small = thumbnail(image, 2.0)
    torch.testing.assert_close(marks(image, small), marks(5 * image + 90, 5 * small + 90), rtol=0, atol=0.01)


def test_an_opinion_names_the_most_probable_fault() -> None:
    opinion = ConditionOpinion(dict(zip(LABELS, (0.2, 0.1, 0.8, 0.3, 0.0, 0.9), strict=True)), 0.5)
    assert (opinion.is_fine, opinion.fault, opinion.note) == (False, "empty", "")


def test_the_network_sees_where_in_the_spectrum_power_lies() -> None:
    torch.manual_seed(0)
    network = ConditionNetwork().eval()
    picture, coarse, spectrum = views(noise(1, 256, 256))
    moved = spectrum.roll(20, 3)
    assert not torch.allclose(network(picture, coarse, spectrum), network(picture, coarse, moved), atol=1e-4)
