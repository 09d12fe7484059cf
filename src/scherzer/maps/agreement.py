"""Agreement of two maps beyond a resolution, against what chance gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.maps.fsc import randomised_maps

RANDOMISATIONS = 5  # of the phases, for mean and spread of chance agreement


@dataclass(frozen=True)
class Agreement:
    """Correlation of two maps beyond a resolution, against that with randomised phases.

    Attributes
    ----------
    from_A, to_A : float
        The range of shells in which it is clearest; it begins where asked.
    correlation, by_chance : float
        Mean over these shells, of the maps and with phases randomised.
    sigma : float
        Their difference in standard deviations of the randomised ones.
    """

    from_A: float
    to_A: float
    correlation: float
    by_chance: float
    sigma: float


def agreement_beyond(
    first: Tensor, second: Tensor, mask: Tensor, pixel_size_A: float, resolution_A: float, order: int, seed: int = 0
) -> Agreement | None:
    """Compare two maps beyond a resolution with the same maps of randomised phases.

    Structure may end anywhere, so that a mean over all shells would bury what few of them show: the range is taken
    that begins at the resolution and whose end makes the difference largest. That raises ``sigma`` of maps without
    agreement, too, by one or two.

    Parameters
    ----------
    first, second, mask : Tensor
        ``(b, b, b)``.
    pixel_size_A : float
        Of the maps.
    resolution_A : float
        Where to begin.
    order : int
        Of the point group, by which shells have fewer independent values than random phases have.
    seed : int
        Of the random phases.

    Returns
    -------
    Agreement or None
        None where fewer than two shells lie beyond.
    """
    box = first.shape[-1]
    begin, end = math.ceil(box * pixel_size_A / resolution_A), box // 2
    if end - begin < 2:
        return None
    found = fourier_shell_correlation(first * mask, second * mask)[begin:end].double()
    generator = torch.Generator().manual_seed(seed)
    randomised = (randomised_maps(volume, begin, generator, RANDOMISATIONS) for volume in (first, second))
    draws = [
        fourier_shell_correlation(a * mask, b * mask)[begin:end].double() for a, b in zip(*randomised, strict=True)
    ]
    chance = torch.stack(draws)
    mean = chance.mean(0)
    # What a shell's few draws vary by is itself uncertain; with the number of pixels in a shell, it falls smoothly.
    radius = torch.arange(begin, end, device=chance.device).double()
    variance = (chance.var(0) * radius**2).mean() / radius**2 * order
    sigma = (found - mean).cumsum(0) / torch.sqrt(variance.cumsum(0))
    last = 1 + int(torch.argmax(sigma[1:]))
    extent_A = box * pixel_size_A
    return Agreement(
        from_A=extent_A / begin,
        to_A=extent_A / (begin + last),
        correlation=float(found[: last + 1].mean()),
        by_chance=float(mean[: last + 1].mean()),
        sigma=float(sigma[last]),
    )
