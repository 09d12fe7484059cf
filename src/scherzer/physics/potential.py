"""The electrostatic potential of a model on a grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scherzer.physics.common_factors import common_factors
from scherzer.physics.scattering import AtomTable, scatterers
from scherzer.physics.splatting import fine_box, kernel_correction, splat, to_coarse_rfft


def potential_volume(
    atoms: AtomTable, box: int, pixel_size_A: float, b_extra_A2: float = 0.0, in_ice: bool = True
) -> Tensor:
    """Electrostatic potential of a model, sharp up to the Nyquist frequency.

    Parameters
    ----------
    atoms : AtomTable
        The model; its centre of mass is put on the voxel ``box // 2``, its axes are kept.
    box : int
        Side, voxels; even.
    pixel_size_A : float
        Voxel size.
    b_extra_A2 : float
        B-factor added to those of the atoms.
    in_ice : bool
        Give the potential above that of the ice the molecule displaces, which is what an image shows, and not the
        potential in vacuum.

    Returns
    -------
    Tensor
        ``(box, box, box)`` float32 as (z, y, x), V; protein is positive.

    Raises
    ------
    ValueError
        If the box is odd or an atom lies outside it.
    """
    particle = scatterers(atoms)
    if box % 2:
        raise ValueError(f"box must be even, not {box}")
    reach = float(particle.positions_A.abs().max())
    if reach > (box / 2 - 1) * pixel_size_A:
        raise ValueError(
            f"the model reaches {reach:.0f} A from its centre: take at least {math.ceil(2 * reach)} A of box"
        )
    fine = fine_box(box)
    points = particle.positions_A * (fine / (box * pixel_size_A))
    k = torch.fft.fftfreq(box, pixel_size_A)
    k2 = k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[: box // 2 + 1] ** 2
    factors = common_factors(particle, 0.5 / pixel_size_A, in_ice)
    transform = torch.zeros((box, box, box // 2 + 1), dtype=torch.complex64)
    # One grid at a time: they are large.
    for number, weights in enumerate(factors.weights(particle).T):
        grid = to_coarse_rfft(splat(points, weights[:, None], fine), box, 3)[0]
        transform += grid * factors.at(k2.sqrt(), number)
    transform *= kernel_correction(box, fine, 3) * torch.exp(-b_extra_A2 / 4 * k2)
    volume = torch.fft.irfftn(transform, s=(box, box, box)) / pixel_size_A**3
    return torch.fft.fftshift(volume)
