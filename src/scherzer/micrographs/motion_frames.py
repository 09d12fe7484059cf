"""The frames of a movie, one at a time and more than once, and what of them is kept to align them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import scipy.fft
import torch
from torch import Tensor

from scherzer.micrographs.motion_likelihood import Rings, rings_of

# Frames of whole counts are kept as bytes up to this, so that a movie need not be decoded again.
KEPT_BYTES = 2**30
# Frames with less than this share of the usual power hold no picture: not recorded, or with the beam off. Our choice.
LEAST_POWER = 0.1
ROWS_AT_ONCE = 32
ROWS_SEEN = 1024  # of a frame, where its mean and scatter are measured

ReadFrames = Callable[[], Iterable[Tensor]]
Prepare = Callable[[Tensor, int], Tensor]


class Frames:
    """Frames of a movie, to be gone through several times with at most one in memory, and the kept counts.

    Parameters
    ----------
    read : callable
        Begins the movie anew: ``(h, w)`` frames as recorded, bytes or float32; the latter may be changed.
    prepare : callable, optional
        ``(frame, number)`` to a corrected frame; may change the frame in place.
    outlier_sigma : float
        Pixels further from a frame's mean get its value.
    """

    def __init__(self, read: ReadFrames, prepare: Prepare | None, outlier_sigma: float) -> None:
        self._read, self._prepare, self._outlier_sigma = read, prepare, outlier_sigma
        self._kept: list[Tensor] | None = None

    def __iter__(self) -> Iterator[Tensor]:
        """Yield corrected frames, each valid until the next."""
        if self._kept is not None:
            # One array serves all: the system takes longer to hand out pages than to fill them.
            frame = torch.empty(self._kept[0].shape)
            for number, kept_counts in enumerate(self._kept):
                yield self._corrected(frame.copy_(kept_counts), number)
            return
        kept: list[Tensor] | None = []
        for number, frame in enumerate(self._read()):
            if kept is not None:
                counts = as_bytes(frame) if (number + 1) * frame.numel() <= KEPT_BYTES else None
                kept = None if counts is None else [*kept, counts]
            yield self._corrected(frame.float(), number)
        self._kept = kept

    def _corrected(self, frame: Tensor, number: int) -> Tensor:
        if self._prepare is not None:
            frame = self._prepare(frame, number)
        return replace_outliers(frame, self._outlier_sigma)


def as_bytes(frame: Tensor) -> Tensor | None:
    """Return a frame of whole numbers from 0 to 255 as uint8; None for any other."""
    if frame.dtype == torch.uint8:
        return frame
    counts = torch.empty(frame.shape, dtype=torch.uint8, device=frame.device)
    for start in range(0, len(frame), ROWS_AT_ONCE):
        rows = frame[start : start + ROWS_AT_ONCE]
        narrow = counts[start : start + ROWS_AT_ONCE]
        narrow.copy_(rows)
        if not torch.equal(narrow.to(rows.dtype), rows):
            return None
    return counts


def replace_outliers(frame: Tensor, sigma: float) -> Tensor:
    """Give pixels further from the mean than so many standard deviations the mean's value.

    Raises
    ------
    ValueError
        When values are not numbers.
    """
    seen = frame[:: max(1, len(frame) // ROWS_SEEN)]
    mean, reach = seen.mean(), sigma * seen.std()
    low, high = torch.aminmax(frame)
    if not torch.isfinite(high - low):
        raise ValueError("a frame holds values that are not numbers")
    if low >= mean - reach and high <= mean + reach:
        return frame
    return torch.where((frame - mean).abs() > reach, mean, frame)


@dataclass(frozen=True)
class Crops:
    """What is kept of frames to align them: low frequencies, of single frames or of groups of consecutive ones.

    Attributes
    ----------
    rings : Rings
        Frequencies of ``fine``.
    fine : Tensor
        ``(m, k)`` complex, in the order of the rings.
    coarse : Tensor
        ``(m, h, w // 2 + 1)``, ``rfft2`` cropped to ``coarse_shape``.
    coarse_shape : tuple of int
        ``(h, w)``.
    extent_A : tuple of float
        Height and width of the frames.
    group : int
        Frames in a group.
    used : Tensor
        ``(n,)`` bool, false for frames that hold no picture.
    """

    rings: Rings
    fine: Tensor
    coarse: Tensor
    coarse_shape: tuple[int, int]
    extent_A: tuple[float, float]
    group: int
    used: Tensor


def crop_frames(
    frames: Iterable[Tensor],
    count: int,
    shape: tuple[int, int],
    pixel_size_A: float,
    finest_pixel_A: float,
    coarse_pixel_A: float,
    most_pictures: int,
) -> Crops:
    """Go through a movie and keep its low frequencies.

    Parameters
    ----------
    frames : iterable of Tensor
        ``count`` of ``(h, w)``.
    finest_pixel_A, coarse_pixel_A : float
        About to which the two crops are made.
    most_pictures : int
        More frames than this are added up in groups.
    """
    extent_A = (shape[0] * pixel_size_A, shape[1] * pixel_size_A)
    fine_shape = cropped_shape(shape, finest_pixel_A / pixel_size_A)
    coarse_shape = cropped_shape(shape, coarse_pixel_A / pixel_size_A)
    rings = rings_of(fine_shape, extent_A)
    group = math.ceil(count / most_pictures)
    pictures = math.ceil(count / group)
    fine = torch.zeros(pictures, len(rings.index), dtype=torch.complex64)
    coarse = torch.zeros(pictures, coarse_shape[0], coarse_shape[1] // 2 + 1, dtype=torch.complex64)
    power = torch.zeros(count, dtype=torch.float64)
    for number, frame in enumerate(frames):
        part = low_frequencies(frame, fine_shape)
        coarse[number // group] += crop_transform(part, coarse_shape)
        part = part.flatten()[rings.index]
        power[number] = part[rings.outer].abs().square().mean()
        fine[number // group] += part
    used = power > LEAST_POWER * torch.quantile(power, 0.9)
    return Crops(rings, fine, coarse, coarse_shape, extent_A, group, used)


def cropped_shape(shape: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return even sides, fast to transform, at least those of shape over factor and at most its even part."""
    height, width = (
        min(2 * int(scipy.fft.next_fast_len(math.ceil(side / factor / 2))), side - side % 2) for side in shape
    )
    return height, width


def transform(frame: Tensor) -> Tensor:
    """Return the ``rfft2`` of an image in memory; of its size SciPy's is a third faster than torch's."""
    return torch.from_numpy(scipy.fft.rfft2(frame.numpy()))


def back_transform(transformed: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the ``irfft2`` of a transform in memory, which may be overwritten."""
    return torch.from_numpy(scipy.fft.irfft2(transformed.numpy(), s=shape, overwrite_x=True))


def low_frequencies(frame: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the ``rfft2`` of an image cropped to that of an image of a smaller even shape."""
    across = scipy.fft.rfft(frame.numpy(), axis=1)[:, : shape[1] // 2 + 1]
    return crop_transform(torch.from_numpy(scipy.fft.fft(across, axis=0)), shape)


def crop_transform(transform: Tensor, shape: tuple[int, int]) -> Tensor:
    """Crop the ``rfft2`` of an image to that of an image of a smaller even shape."""
    height, width = shape
    top, bottom = transform[: height // 2], transform[transform.shape[0] - height // 2 :]
    return torch.cat([top[:, : width // 2 + 1], bottom[:, : width // 2 + 1]])
