"""Averages over shells of equal spatial frequency."""

from __future__ import annotations

import torch
from torch import Tensor

from scherzer.fourier.grids import centred_rfftn, rfft_radius, square_modulus


def shell_index(box: int, ndim: int, device: torch.device | str = "cpu") -> Tensor:
    """Shell number (rounded radius in Fourier px) of every rfft entry; those beyond Nyquist get ``box // 2 + 1``."""
    shells = torch.round(rfft_radius(box, ndim, device)).long()
    return shells.clamp(max=box // 2 + 1)


def rfft_multiplicity(box: int, device: torch.device | str = "cpu") -> Tensor:
    """How often each column of an rfft stands in the full transform: ``(box // 2 + 1,)``."""
    weight = torch.full((box // 2 + 1,), 2.0, device=device)
    weight[0] = weight[-1] = 1.0
    return weight


def shell_sum(values: Tensor, ndim: int) -> Tensor:
    """Sum real values on an rfft grid over shells 0 ... box / 2, each frequency of the full transform once.

    Parameters
    ----------
    values : Tensor
        ``(..., b, b // 2 + 1)`` or ``(..., b, b, b // 2 + 1)``, real.

    Returns
    -------
    Tensor
        ``(..., b // 2 + 1)`` in float64.
    """
    box = values.shape[-2]
    shells = shell_index(box, ndim, values.device).flatten()
    weighted = (values * rfft_multiplicity(box, values.device)).flatten(-ndim).double()
    lead = weighted.shape[:-1]
    result = weighted.new_zeros((*lead, box // 2 + 2))
    result.index_add_(-1, shells, weighted)
    return result[..., : box // 2 + 1]


def shell_mean(values: Tensor, ndim: int) -> Tensor:
    """Mean of real values on an rfft grid over shells 0 ... box / 2; see :func:`shell_sum`."""
    grid = values.shape[-ndim:]
    counts = shell_sum(torch.ones(grid, device=values.device), ndim)
    return shell_sum(values, ndim) / counts


def fourier_shell_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Fourier shell correlation of two volumes.

    Parameters
    ----------
    first, second : Tensor
        ``(b, b, b)``.

    Returns
    -------
    Tensor
        ``(b // 2 + 1,)`` float64; shell s is at ``s / (b * pixel_size_A)`` 1/A.

    References
    ----------
    Harauz and van Heel 1986, Optik 73, 146.
    """
    a, b = centred_rfftn(first), centred_rfftn(second)
    cross = shell_sum((a * b.conj()).real, 3)
    power = torch.sqrt(shell_sum(square_modulus(a), 3) * shell_sum(square_modulus(b), 3))
    return torch.where(power > 0, cross / power.clamp(min=1e-300), torch.zeros_like(cross))
