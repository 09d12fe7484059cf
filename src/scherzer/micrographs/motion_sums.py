"""Sums of the frames of a movie, each moved back to where the specimen was, as a whole or tile by tile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import scipy.fft
import torch
from torch import Tensor

from scherzer.micrographs.motion_alignment import translation_factors
from scherzer.micrographs.motion_frames import back_transform, transform
from scherzer.micrographs.motion_local import LocalMotion
from scherzer.physics.dose import critical_dose_e_per_A2
from scherzer.physics.optics import Optics

# Values of a transform worked on together, so that they stay in the processor's cache.
VALUES_AT_ONCE = 2**17
# Where movement differs over the field, tiles of about this side are moved one by one. Neighbours are blended over
# twice the rim, and hold the same width again, into which what is moved out at the opposite edge comes in.
TILE_PX, RIM_PX = 512, 32


@dataclass(frozen=True)
class Sums:
    """Sums of aligned frames, ``(h, w)``. What moved over one edge of the field comes in at the opposite one.

    Attributes
    ----------
    unweighted : Tensor
        Of all frames that hold a picture.
    weighted : Tensor or None
        Each frequency by what radiation has left of it, with the noise as white as before; None without a dose.
    even, odd : Tensor or None
        Unweighted, of the frames numbered 0, 2, 4... and 1, 3, 5...; None unless asked for.
    """

    unweighted: Tensor
    weighted: Tensor | None = None
    even: Tensor | None = None
    odd: Tensor | None = None


@dataclass(frozen=True)
class Exposures:
    """What is summed and how.

    Attributes
    ----------
    used : Tensor
        ``(n,)`` bool; the other frames are left out, though their dose counts.
    optics : Optics
        With the pixel size of the frames.
    dose_per_frame_e_per_A2 : float or None
        None for unknown: then nothing is weighted.
    halves : bool
        Make the sums of even and odd frames.
    """

    used: Tensor
    optics: Optics
    dose_per_frame_e_per_A2: float | None
    halves: bool


def sum_frames(frames: Iterable[Tensor], shape: tuple[int, int], shifts_yx_A: Tensor, exposures: Exposures) -> Sums:
    """Go through a movie and add up its frames, each moved as a whole.

    Parameters
    ----------
    frames : iterable of Tensor
        ``n`` of ``(h, w)``.
    shape : tuple of int
        Theirs.
    shifts_yx_A : Tensor
        ``(n, 2)``, where the specimen is in each.
    exposures : Exposures
        Which and how.
    """
    fractions = -shifts_yx_A / (torch.tensor(shape) * exposures.optics.pixel_size_A)
    weights, sums = _Weights(shape, exposures), _Accumulator(shape, exposures)
    for number, frame in enumerate(frames):
        weights.fade(exposures.used[number])
        if exposures.used[number]:
            sums.add(number, transform(frame), fractions[number], weights.weight)
    return Sums(**sums.finished(weights))


def sum_tiles(
    frames: Iterable[Tensor],
    shape: tuple[int, int],
    shifts_yx_A: Tensor,
    local: LocalMotion,
    exposures: Exposures,
) -> Sums:
    """Go through a movie and add up its frames, each moved tile by tile.

    Parameters
    ----------
    frames, shape, shifts_yx_A, exposures
        As for :func:`sum_frames`.
    local : LocalMotion
        Movement relative to that of the whole field.
    """
    pixel_size_A = exposures.optics.pixel_size_A
    down, across = _cuts(shape[0]), _cuts(shape[1])
    side = (_padded(down), _padded(across))
    whole_px = torch.round(shifts_yx_A / pixel_size_A).long()
    weights = _Weights(side, exposures)
    tiles = []
    for y, x in product(range(len(down) - 1), range(len(across) - 1)):
        middle = (down[y] + down[y + 1]) / shape[0] - 1, (across[x] + across[x + 1]) / shape[1] - 1
        rest_A = shifts_yx_A + torch.from_numpy(local.at(*middle)).float() - whole_px * pixel_size_A
        fractions = -rest_A / (torch.tensor(side) * pixel_size_A)
        tiles.append((down[y], across[x], fractions, _Accumulator(side, exposures)))
    wide = torch.empty(down[-2] + side[0], across[-2] + side[1])
    for number, frame in enumerate(frames):
        weights.fade(exposures.used[number])
        if not exposures.used[number]:
            continue
        _wrapped(frame, whole_px[number], wide)
        for top, left, fractions, sums in tiles:
            tile = wide[top : top + side[0], left : left + side[1]]
            sums.add(number, transform(tile), fractions[number], weights.weight)
    whole: dict[str, Tensor] = {}
    for place, (*_, sums) in zip(product(range(len(down) - 1), range(len(across) - 1)), tiles, strict=True):
        for kind, picture in sums.finished(weights).items():
            if kind not in whole:
                whole[kind] = torch.zeros(shape)
            _blend(whole[kind], picture, place, down, across)
    return Sums(**whole)


def _cuts(length: int) -> list[int]:
    """Cut a side into about equal pieces."""
    pieces = max(1, round(length / TILE_PX))
    return [round(length * cut / pieces) for cut in range(pieces + 1)]


def _padded(cuts: list[int]) -> int:
    """Return a length, even and fast to transform, of the longest piece and two rims on either end."""
    longest = max(end - begin for begin, end in pairwise(cuts))
    return 2 * int(scipy.fft.next_fast_len((longest + 1) // 2 + 2 * RIM_PX))


def _wrapped(frame: Tensor, whole_px: Tensor, out: Tensor) -> None:
    """Move a frame by whole pixels into a larger array, where it goes on with its opposite edges from two rims on."""
    down, across = (
        list(_segments(wanted, length, (int(by) - 2 * RIM_PX) % length))
        for wanted, length, by in zip(out.shape, frame.shape, whole_px, strict=True)
    )
    for (to_y, from_y), (to_x, from_x) in product(down, across):
        out[to_y, to_x] = frame[from_y, from_x]


def _segments(wanted: int, length: int, start: int) -> Iterator[tuple[slice, slice]]:
    """Cut what goes round a length from a start into pieces that do not: where they go to and come from."""
    place = 0
    while place < wanted:
        size = min(length - start, wanted - place)
        yield slice(place, place + size), slice(start, start + size)
        place, start = place + size, 0


def _blend(whole: Tensor, tile: Tensor, place: tuple[int, int], down: list[int], across: list[int]) -> None:
    """Add a tile to the picture, fading out over its rims."""
    (top, fade_y), (left, fade_x) = (_fade(number, cuts) for number, cuts in zip(place, (down, across), strict=True))
    bottom, right = top + len(fade_y), left + len(fade_x)
    begin_y, begin_x = top - down[place[0]] + 2 * RIM_PX, left - across[place[1]] + 2 * RIM_PX
    part = tile[begin_y : begin_y + len(fade_y), begin_x : begin_x + len(fade_x)]
    whole[top:bottom, left:right] += part * fade_y[:, None] * fade_x


def _fade(number: int, cuts: list[int]) -> tuple[int, Tensor]:
    """Return where a piece with its rims begins, and its share of the picture there; shares sum to 1."""
    begin, end = max(cuts[number] - RIM_PX, 0), min(cuts[number + 1] + RIM_PX, cuts[-1])
    places = torch.arange(begin, end) + 0.5
    rising = (places - cuts[number]) / (2 * RIM_PX) + 0.5 if number > 0 else torch.ones(end - begin)
    falling = (cuts[number + 1] - places) / (2 * RIM_PX) + 0.5 if number < len(cuts) - 2 else torch.ones(end - begin)
    return begin, torch.minimum(rising, falling).clamp(0, 1)


class _Weights:
    """What radiation has left of the signal when each frame ends, and the power of noise in the weighted sum.

    Doses are equal: every frame's weight is that of the frame before, faded once more (Grant and Grigorieff 2015, eLife
    4:e06980, eq. 5 and 9).
    """

    def __init__(self, shape: tuple[int, int], exposures: Exposures) -> None:
        self.weight: Tensor | None = None
        self._frames = int(exposures.used.sum())
        if exposures.dose_per_frame_e_per_A2 is None:
            return
        ky = torch.fft.fftfreq(shape[0], exposures.optics.pixel_size_A)[:, None]
        kx = torch.fft.rfftfreq(shape[1], exposures.optics.pixel_size_A)
        critical_dose = critical_dose_e_per_A2(torch.hypot(ky, kx), exposures.optics.voltage_kV)
        self._fading = torch.exp(-exposures.dose_per_frame_e_per_A2 / (2 * critical_dose))
        self.weight = torch.ones_like(self._fading)
        self._power = torch.zeros_like(self._fading)

    def fade(self, used: bool | Tensor) -> None:
        """Go on to the next frame."""
        if self.weight is not None:
            self.weight *= self._fading
            if used:
                self._power.addcmul_(self.weight, self.weight)

    def restoring(self) -> Tensor:
        """Return what makes the weighted sum's noise that of a plain sum."""
        return torch.sqrt(self._frames / self._power.clamp_min(1e-30))


class _Accumulator:
    """Sums of transforms, of a frame or of a tile."""

    def __init__(self, shape: tuple[int, int], exposures: Exposures) -> None:
        self._shape = shape
        half = (shape[0], shape[1] // 2 + 1)
        self._rows_at_once = max(1, VALUES_AT_ONCE // half[1])
        self._total = torch.zeros(half, dtype=torch.complex64)
        self._even = torch.zeros_like(self._total) if exposures.halves else None
        weighted = exposures.dose_per_frame_e_per_A2 is not None
        self._weighted = (torch.zeros(half), torch.zeros(half)) if weighted else None

    def add(self, number: int, transformed: Tensor, fraction: Tensor, weight: Tensor | None) -> None:
        """Move a frame by a fraction of its sides, and add it."""
        along_y, along_x = translation_factors(self._shape, fraction)
        for start in range(0, self._shape[0], self._rows_at_once):
            rows = slice(start, start + self._rows_at_once)
            part = transformed[rows]
            part *= along_y[rows, None]
            part *= along_x
            self._total[rows] += part
            if self._even is not None and number % 2 == 0:
                self._even[rows] += part
            if self._weighted is not None and weight is not None:
                for component, addend in zip(self._weighted, torch.view_as_real(part).unbind(-1), strict=True):
                    component[rows].addcmul_(addend, weight[rows])

    def finished(self, weights: _Weights) -> dict[str, Tensor]:
        """Return the sums as images, by their names in `Sums`; what was added up is used up."""
        sums = {"unweighted": back_transform(self._total, self._shape)}
        if self._weighted is not None:
            restoring = weights.restoring()
            weighted = torch.complex(*(part.mul_(restoring) for part in self._weighted))
            sums["weighted"] = back_transform(weighted, self._shape)
        if self._even is not None:
            sums["even"] = back_transform(self._even, self._shape)
            sums["odd"] = sums["unweighted"] - sums["even"]
        return sums
