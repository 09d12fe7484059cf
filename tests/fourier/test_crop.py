"""Resampling keeps what both samplings can hold: values, positions and the centre."""

import pytest
import torch

from scherzer.fourier.crop import even_fast_length, pad_or_cut, resize_images, resize_rfft, resize_volume
from scherzer.fourier.filters import lowpass
from scherzer.fourier.grids import centred_irfft2, centred_irfftn, centred_rfft2, centred_rfftn


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def smooth_volume(box: int = 24) -> torch.Tensor:
    return lowpass(noise(box, box, box), 1.0, 3.0) + 0.7


def test_transforms_are_inverted_and_have_their_origin_at_the_centre() -> None:
    images, volume = noise(3, 16, 16), noise(16, 16, 16)
    assert torch.allclose(centred_irfft2(centred_rfft2(images)), images, atol=1e-5)
    assert torch.allclose(centred_irfftn(centred_rfftn(volume)), volume, atol=1e-5)
    point = torch.zeros(16, 16, 16)
    point[8, 8, 8] = 1
    assert torch.allclose(centred_rfftn(point), torch.ones(16, 16, 9, dtype=torch.complex64), atol=1e-6)
    assert torch.allclose(centred_rfft2(point[8]), torch.ones(16, 9, dtype=torch.complex64), atol=1e-6)


@pytest.mark.parametrize("larger", [26, 32, 48])
def test_band_limited_volume_comes_back(larger: int) -> None:
    volume = smooth_volume()
    up = resize_volume(volume, larger)
    assert up.shape == (larger,) * 3
    assert torch.allclose(resize_volume(up, 24), volume, atol=1e-4)
    assert float(up.mean()) == pytest.approx(float(volume.mean()), abs=1e-5)


def test_finer_sampling_passes_through_the_old_samples() -> None:
    volume, images = smooth_volume(), torch.stack([smooth_volume()[z] for z in (3, 12)])
    assert torch.allclose(resize_volume(volume, 48)[::2, ::2, ::2], volume, atol=1e-4)
    images = resize_images(resize_images(images, 20), 24)  # a plane of the volume is not band-limited to a disc
    assert torch.allclose(resize_images(images, 48)[:, ::2, ::2], images, atol=1e-4)


@pytest.mark.parametrize(("kx", "ky"), [(3, 0), (0, 5), (2, -4), (7, 7)])
def test_plane_waves_keep_amplitude_and_phase(kx: int, ky: int) -> None:
    def wave(box: int) -> torch.Tensor:
        axis = (torch.arange(box) - box // 2) / box * 2 * torch.pi
        return torch.cos(kx * axis[None, :] + ky * axis[:, None] + 0.4)

    for old, new in ((32, 16), (16, 32), (32, 20)):
        assert torch.allclose(resize_images(wave(old), new), wave(new), atol=1e-5)


def test_detail_beyond_the_new_nyquist_vanishes_and_does_not_alias() -> None:
    axis = torch.arange(32) - 16.0
    wave = torch.cos(2 * torch.pi * 10 / 32 * axis)[None, :].expand(32, 32)
    assert resize_images(wave, 16).abs().max() < 1e-5  # 10 cycles would alias to 6
    nyquist = torch.cos(torch.pi * axis / 2)[None, :].expand(32, 32)  # 8 cycles: on the new Nyquist
    assert resize_images(nyquist, 16).abs().max() < 1e-5


def test_values_of_the_transform_are_not_scaled() -> None:
    transform = centred_rfftn(noise(16, 16, 16))
    cut = resize_rfft(transform, 8, 3)
    assert cut.shape == (8, 8, 5)
    assert cut[0, 0, 0] == transform[0, 0, 0]
    assert cut[-3, 2, 3] == transform[-3, 2, 3]
    assert (cut[4] == 0).all()
    assert (cut[..., 4] == 0).all()
    assert resize_rfft(transform, 16, 3) is transform


def test_pad_or_cut_keeps_the_centre_pixel_in_place() -> None:
    volume = noise(12, 12, 12)
    wide = pad_or_cut(volume, 20)
    assert wide[10, 10, 10] == volume[6, 6, 6]
    assert torch.equal(pad_or_cut(wide, 12), volume)
    assert float(wide.double().sum()) == pytest.approx(float(volume.double().sum()), abs=1e-4)
    narrow = pad_or_cut(volume, 6)
    assert torch.equal(narrow, volume[3:9, 3:9, 3:9])
    assert pad_or_cut(volume, 12) is volume


@pytest.mark.parametrize(("least", "expected"), [(64.0, 64), (64.1, 72), (100.0, 100), (134.0, 144), (2 * 33.0, 72)])
def test_fast_lengths_are_even_and_of_small_factors(least: float, expected: int) -> None:
    assert even_fast_length(least) == expected
