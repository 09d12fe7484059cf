"""Where in an image its faults lie, as one small MRC file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scherzer.formats.mrc import write_mrc
from scherzer.simulate.exposure import Exposure
from scherzer.simulate.settings import SimulationSettings

# A pixel of a mask is about so wide, A: a whole number of the image's pixels.
MASK_PIXEL_A = 8.0
# Values of the kinds; where several lie on top of one another their values add up.
BITS = {"vacuum": 1, "crystalline": 2, "ice_balls": 4, "carbon": 8, "aggregation": 16, "frost": 32}


def mask_image(masks: Mapping[str, NDArray[np.bool_]], pixel_size_A: float) -> tuple[NDArray[np.int8], float]:
    """Join masks into one image of bits.

    Parameters
    ----------
    masks : mapping
        ``(h, w)`` bool arrays by kind, at least one; kinds are those of `BITS`.
    pixel_size_A : float
        Of the masks.

    Returns
    -------
    ndarray of int8
        ``(ceil(h / n), ceil(w / n))`` with ``n`` pixels of the image along a pixel of the mask. A bit is set where
        its kind covers at least half of what the image has there.
    float
        Pixel size of the result, A.
    """
    side = max(1, round(MASK_PIXEL_A / pixel_size_A))
    height, width = next(iter(masks.values())).shape
    result = np.zeros((-(-height // side), -(-width // side)), np.int8)
    rows, columns = np.arange(0, height, side), np.arange(0, width, side)
    held = np.outer(np.minimum(side, height - rows), np.minimum(side, width - columns))
    for kind, mask in masks.items():
        covered = np.add.reduceat(np.add.reduceat(mask, rows, axis=0, dtype=np.int32), columns, axis=1)
        result[2 * covered >= held] |= np.int8(BITS[kind])
    return result, side * pixel_size_A


def write_mask(path: Path, exposure: Exposure, settings: SimulationSettings) -> None:
    """Write the mask of an exposure; none where nothing spoils the image.

    Parameters
    ----------
    path : Path
        Of an MRC file of mode 0.
    exposure : Exposure
        Its masks are written.
    settings : SimulationSettings
        The pixel size.
    """
    if exposure.masks:
        image, pixel_size_A = mask_image(exposure.masks, settings.microscope.pixel_size_A)
        write_mrc(path, image, pixel_size_A, "image")
