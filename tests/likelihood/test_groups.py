"""Optics groups have their own noise spectra, small ones share; grey scales weigh the model."""

from dataclasses import replace

import torch

from scherzer.likelihood.band import make_band
from scherzer.likelihood.noise import group_power, image_power, merged_groups
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import band_ctf, prepare
from scherzer.physics.optics import Optics

BOX = 24


def particles(levels: list[float], each: int) -> ParticleSet:
    """White images, ``each`` of every level of noise; one optics group a level."""
    generator = torch.Generator().manual_seed(0)
    count = each * len(levels)
    level = torch.tensor(levels).repeat_interleave(each)
    images = level[:, None, None] * torch.randn(count, BOX, BOX, generator=generator)
    one = Optics(pixel_size_A=3.0, voltage_kV=300, cs_mm=2.7, amplitude_contrast=0.1).ctf_parameters(9000, 8800, 0.2)
    zeros = torch.zeros(count, dtype=torch.int64)
    made = ParticleSet.from_images(images, one[zeros], 3.0, zeros, 1 + torch.arange(count) % 2)
    return replace(made, optics_group=torch.arange(len(levels)).repeat_interleave(each))


def test_groups_are_numbered_by_size_and_small_ones_joined() -> None:
    given = torch.tensor([7] * 50 + [3] * 400 + [9] * 280 + [2] * 500)
    found = merged_groups(given, 300)
    assert (found[given == 2] == 0).all()
    assert (found[given == 3] == 1).all()
    assert (found[(given == 7) | (given == 9)] == 2).all()  # 330 together


def test_what_is_too_small_together_goes_to_the_largest() -> None:
    given = torch.tensor([1] * 20 + [4] * 600 + [5] * 30 + [6] * 700)
    found = merged_groups(given, 300)
    assert (found[given == 6] == 0).all()
    assert (found[given == 4] == 1).all()
    assert (found[(given == 1) | (given == 5)] == 0).all()
    assert (merged_groups(torch.tensor([5] * 10 + [6] * 20), 300) == 0).all()


def test_each_group_has_its_own_spectrum() -> None:
    made = particles([1.0, 3.0], 80)
    power = group_power(made, 2)
    assert torch.allclose(power[1, 3:] / power[0, 3:], torch.full((BOX // 2 - 2,), 9.0), rtol=0.2)
    assert torch.allclose(power.mean(0), image_power(made), rtol=1e-4)


def test_images_are_weighted_by_the_noise_of_their_group() -> None:
    made = particles([1.0, 3.0], 3)
    band = make_band(BOX, 8)
    noise = torch.stack((torch.full((BOX // 2 + 1,), 2.0), torch.full((BOX // 2 + 1,), 18.0)))
    together = prepare(made, band, noise)
    for group in (0, 1):
        rows = torch.nonzero(made.optics_group == group)[:, 0]
        alone = prepare(made[rows], band, noise[group])
        assert torch.allclose(together.data[rows], alone.data)
        assert torch.allclose(together.power[rows], alone.power)


def test_grey_scale_multiplies_the_model() -> None:
    made = particles([1.0], 4)
    band = make_band(BOX, 8)
    scaled = replace(made, scale=torch.tensor([0.5, 1.0, 2.0, 1.0]))
    assert torch.allclose(band_ctf(scaled, band), band_ctf(made, band) * scaled.scale[:, None])
    kept = scaled[torch.tensor([2, 0])].to("cpu")
    assert kept.scale.tolist() == [2.0, 0.5]
    assert kept.optics_group.tolist() == [0, 0]
