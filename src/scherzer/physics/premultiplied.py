"""What is left of a particle whose image was multiplied by its CTF and then cropped to a smaller box.

Multiplied by the CTF c, an image ``c P + N`` is ``c^2 P + c N`` with ``c^2 = (1 - cos 2 gamma) / 2``, gamma being the
CTF's phase. The first half of it lies where the particle is; the second is carried away, twice as far as defocus had
carried it, and a box cuts it off beyond the frequency at which it leaves. With D the part of it that stays,

    w = (1 - D cos 2 gamma) / 2

is what multiplies the reference, and the noise's variance too, but for another D: a particle stays inside for a while,
noise fills the box and leaves it from the start. Divided by the root of the noise's w such an image has noise of even
variance: it is an image like any other, whose CTF is the particle's w over that root. While D is 1 that is the image
with its phases flipped, so nothing is lost by the division.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scherzer.physics.ctf import CtfParameters, ctf_phase_rad

# The noise's root is not taken for less than this: next to nothing is left there.
LEAST = 0.1
# A particle of 0.6 box sides begins to leave the box after a fifth of a side and has left it after four.
LEAVING = (0.2, 0.8)


def whitening(parameters: CtfParameters, kx: Tensor, ky: Tensor, extent_A: float) -> Tensor:
    """Return what the transforms of premultiplied images are multiplied by for an even noise.

    Parameters
    ----------
    parameters : CtfParameters
        For n images.
    kx, ky : Tensor
        Spatial frequencies, 1/A; their shapes are broadcast.
    extent_A : float
        Side of the box after cropping.

    Returns
    -------
    Tensor
        ``(n, *shape)``.
    """
    return 1 / _noise_root(parameters, kx, ky, extent_A)


def whitened_ctf(parameters: CtfParameters, kx: Tensor, ky: Tensor, extent_A: float) -> Tensor:
    """Return the CTF of premultiplied images that were whitened, for the arguments of :func:`whitening`."""
    return signal_power(parameters, kx, ky, extent_A) / _noise_root(parameters, kx, ky, extent_A)


def signal_power(parameters: CtfParameters, kx: Tensor, ky: Tensor, extent_A: float) -> Tensor:
    """Return the particle's ``w``, for the arguments of :func:`whitening`."""
    start, end = LEAVING
    left = (_moved(parameters, kx, ky, extent_A) - start) / (end - start)
    return _remaining(parameters, kx, ky, 0.5 * (1 + torch.cos(math.pi * left.clamp(0, 1))))


def noise_power(parameters: CtfParameters, kx: Tensor, ky: Tensor, extent_A: float) -> Tensor:
    """Return the noise's ``w``, for the arguments of :func:`whitening`: D is the overlap of a box with itself moved."""
    return _remaining(parameters, kx, ky, (1 - _moved(parameters, kx, ky, extent_A)).clamp(min=0))


def _noise_root(parameters: CtfParameters, kx: Tensor, ky: Tensor, extent_A: float) -> Tensor:
    return noise_power(parameters, kx, ky, extent_A).sqrt().clamp(min=LEAST)


def _remaining(parameters: CtfParameters, kx: Tensor, ky: Tensor, stays: Tensor) -> Tensor:
    return 0.5 * (1 - stays * torch.cos(2 * ctf_phase_rad(parameters, kx, ky)))


def _moved(parameters: CtfParameters, kx: Tensor, ky: Tensor, extent_A: float) -> Tensor:
    """How far the oscillating half is carried: the slope of its phase, in box sides."""
    shape = (-1,) + (1,) * max(kx.ndim, ky.ndim)
    mean_A = ((parameters.defocus_u_A + parameters.defocus_v_A) / 2).reshape(shape)
    wavelength_A, cs_A = parameters.wavelength_A.reshape(shape), parameters.cs_A.reshape(shape)
    k2 = kx**2 + ky**2
    return 2 * wavelength_A * k2.sqrt() * (mean_A - cs_A * wavelength_A**2 * k2).abs() / extent_A
