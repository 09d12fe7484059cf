"""Whether a micrograph is like those that the classifiers have seen.

A network gives an answer to any picture. Here a picture is described by some numbers of its spectrum, grey levels and
evenness and by what the condition network makes of it, and held against those of the training set: the distance to the
fifth nearest of them (Sun et al. 2022, ICML, "Out-of-distribution detection with deep nearest neighbors"), in units
of the distance that few micrographs like the training set exceed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.contrast.condition_network import TILE_PX, mean_power

# Bands in units of the Nyquist frequency, each over the last one.
BANDS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.95)
# A ring of frequencies is cut into so many directions.
DIRECTIONS = 6
PEAKS_FROM = 0.5
BLOCKS_ACROSS = 12
BLOCK_PX = 16
TILES_ACROSS = 4
NEIGHBOUR = 5
# A mark's spread is that of its middle two thirds: a few odd micrographs of the training set have no say in it. From so
# many spreads on differences are compressed.
LOW, LEAST_SPREAD, COMPRESSED = 0.16, 0.01, 3.0


def marks(image: Tensor, small: Tensor) -> Tensor:
    """Describe a micrograph by numbers that do not depend on the scale of its grey levels.

    Parameters
    ----------
    image : Tensor
        ``(h, w)`` at its own pixel size, which shows what the camera does.
    small : Tensor
        ``(h, w)`` at 8 A from :func:`scherzer.micrographs.contrast.thumbnail.thumbnail`.

    Returns
    -------
    Tensor
        ``(26,)``: thirteen of each.
    """
    return torch.cat([_marks(image), _marks(small)])


def _marks(image: Tensor) -> Tensor:
    values = image.float()
    side = min(*values.shape, TILE_PX)
    tiles = torch.stack([values[y : y + side, x : x + side] for y, x in _places(values.shape, side)])
    tiles = tiles - tiles.mean((1, 2), keepdim=True)
    overall = tiles.square().mean().clamp(min=1e-12)
    power = mean_power(tiles).mean(0) / overall + 1e-6
    axis = torch.linspace(-1, 1 - 2 / TILE_PX, TILE_PX)
    y, x = axis[:, None].expand_as(power), axis[None, :].expand_as(power)
    radius = torch.hypot(y, x)
    on_axis = (y.abs() < 1.5 / TILE_PX * 2) | (x.abs() < 1.5 / TILE_PX * 2)
    rings = [power[(radius >= low) & (radius < high) & ~on_axis].mean() for low, high in itertools.pairwise(BANDS)]
    bands = torch.stack([torch.log(ring / rings[-1]) for ring in rings[:-1]])
    # Of a large image some blocks are enough.
    stride = BLOCK_PX * max(1, min(values.shape) // 1024)
    blocks = values.unfold(0, BLOCK_PX, stride).unfold(1, BLOCK_PX, stride)
    local = blocks.var((2, 3)) / overall + 1e-6
    flat = (tiles / overall.sqrt()).clamp(-30, 30)
    further = torch.stack(
        [
            torch.log(power[on_axis & (radius > 0.2)].mean() / power[~on_axis & (radius > 0.2)].mean()),
            torch.log(power[radius > PEAKS_FROM].max() / power[radius > PEAKS_FROM].mean()),
            _direction(power, y, x, radius),
            torch.log(local).std(),
            torch.log(local.min() / local.median()),
            torch.asinh(flat.pow(3).mean()),
            torch.asinh(flat.pow(4).mean() - 3),
            _step(values),
        ]
    )
    return torch.cat([bands, further])


def _places(shape: tuple[int, ...], side: int) -> list[tuple[int, int]]:
    starts = []
    for length in shape:
        count = max(1, min(TILES_ACROSS, length // side))
        starts.append([round(index * (length - side) / max(1, count - 1)) for index in range(count)])
    return [(y, x) for y in starts[0] for x in starts[1]]


def _direction(power: Tensor, y: Tensor, x: Tensor, radius: Tensor) -> Tensor:
    """How much power depends on direction below half of Nyquist: the largest over the smallest of six, logarithm."""
    turn = torch.atan2(y, x).remainder(torch.pi) / torch.pi * DIRECTIONS
    band = (radius > 0.05) & (radius < 0.5)
    parts = torch.stack([power[band & (turn >= n) & (turn < n + 1)].mean() for n in range(DIRECTIONS)])
    return torch.log(parts.max() / parts.min())


def _step(values: Tensor) -> Tensor:
    """Largest step of the level between neighbouring squares over what is usual in the image, compressed."""
    thin = max(1, min(values.shape) // 1024)
    side = max(1, min(values.shape) // thin // BLOCKS_ACROSS)
    means = torch.nn.functional.avg_pool2d(values[None, None, ::thin, ::thin], side)[0, 0]
    steps = torch.cat([means.diff(dim=0).flatten(), means.diff(dim=1).flatten()]).abs()
    noise = values[:: max(1, len(values) // 64)].diff(dim=1).abs().mean().clamp(min=1e-6)
    return torch.asinh(steps.max() / noise)


@dataclass(frozen=True)
class Reference:
    """What the training set's micrographs are like.

    Attributes
    ----------
    centre, spread : Tensor
        ``(d,)``: median, and half of the middle two thirds' width.
    points : Tensor
        ``(n, d)``: the training set from there, in these units, compressed.
    usual : Tensor
        ``(1,)``: distance that two in a hundred micrographs like the training set exceed.
    """

    centre: Tensor
    spread: Tensor
    points: Tensor
    usual: Tensor

    @classmethod
    def of(cls, seen: Tensor, held_out: Tensor, exceeded: float = 0.02) -> Reference:
        """Take them from descriptions of the training set, and the usual distance also from others of the same kind.

        Parameters
        ----------
        seen, held_out : Tensor
            ``(n, d)`` and ``(m, d)``.
        exceeded : float
            Share of both, each of the first held against the rest of them, that lies farther away than `usual`.
        """
        low, high = seen.quantile(LOW, 0), seen.quantile(1 - LOW, 0)
        bare = cls(seen.median(0).values, ((high - low) / 2).clamp(min=LEAST_SPREAD), seen, torch.ones(1))
        points = bare.placed(seen)
        among = torch.cdist(points, points).kthvalue(NEIGHBOUR + 1, 1).values
        beside = torch.cdist(bare.placed(held_out), points).kthvalue(NEIGHBOUR, 1).values
        usual = torch.quantile(torch.cat([among, beside]), 1 - exceeded)[None]
        return cls(bare.centre, bare.spread, points, usual)

    def placed(self, descriptions: Tensor) -> Tensor:
        """Bring descriptions ``(..., d)`` to the reference's units; outliers are drawn in, lest one mark decide all."""
        return COMPRESSED * torch.asinh((descriptions - self.centre) / (COMPRESSED * self.spread))

    def strangeness(self, description: Tensor) -> float:
        """Distance in units of the usual one: beyond 1 the micrograph is unlike the training set."""
        distances = (self.points - self.placed(description)).square().sum(1).sqrt()
        return float(distances.kthvalue(NEIGHBOUR).values / self.usual)
