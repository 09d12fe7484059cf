"""Maps as pictures: the surface from three directions and the three central slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_mrc
from scherzer.likelihood.parallel import map_blocks
from scherzer.report.contour import Drawable, prepare
from scherzer.report.images import grey
from scherzer.report.render import RenderSettings, render_surface
from scherzer.report.style import png_uri, rgb
from scherzer.report.tables import Missing

# Axes of the usual point groups lie along z (and x, y); the last view shows a three-fold of T, O and I.
VIEWS = (("along z", (0.0, 0.0, 1.0)), ("along x", (1.0, 0.0, 0.0)), ("along (1, 1, 1)", (1.0, 1.0, 1.0)))

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """One picture and what it shows."""

    uri: str
    caption: str


@dataclass(frozen=True)
class MapPictures:
    """All pictures of one map, its contour and the width of a surface picture."""

    views: tuple[Picture, ...]
    slices: tuple[Picture, ...]
    level: float
    level_sd: float | None
    field_nm: float


def map_pictures(
    path: Path | None, mask_path: Path | None, colour: str, settings: RenderSettings
) -> MapPictures | Missing:
    """Return the pictures of a map; the mask, where there is one, guides the contour."""
    if path is None:
        return Missing("the refinement kept no map")
    try:
        loaded = read_mrc(path)
        mask = read_mrc(mask_path).data if mask_path is not None else None
    except BadInput as error:
        return Missing(error.problem)
    volume = loaded.data
    if volume.ndim != 3 or not np.isfinite(volume).all() or float(np.ptp(volume)) == 0.0:
        return Missing(f"{path.name} holds no density")
    drawable = prepare(
        volume, loaded.pixel_size_A or 1.0, mask if mask is not None and mask.shape == volume.shape else None
    )

    def view(entry: tuple[str, tuple[float, float, float]]) -> Picture:
        name, direction = entry
        return Picture(png_uri(_view(drawable, direction, colour, settings)), name)

    return MapPictures(
        views=tuple(map_blocks(view, VIEWS, torch.device("cpu"))),
        slices=central_slices(volume, drawable.half_width_voxels / drawable.finer),
        level=drawable.level,
        level_sd=drawable.level_sd,
        field_nm=2 * drawable.half_width_voxels * drawable.pixel_size_A / 10 if loaded.pixel_size_A else 0.0,
    )


def central_slices(volume: Float, half_width_voxels: float) -> tuple[Picture, ...]:
    """Return the slices through the centre across z, y and x; grey, density white, cropped to the particle."""
    centre = np.array(volume.shape) // 2
    reach = int(min(np.ceil(half_width_voxels * 1.08), centre.min()))
    z, y, x = (slice(c - reach, c + reach) for c in centre)
    cz, cy, cx = (int(c) for c in centre)
    # Rows point up in a map's slice (y or z grows upwards), as they do in the surface pictures.
    planes = {"across z": volume[cz, y, x], "across y": volume[z, cy, x], "across x": volume[z, y, cx]}
    low, high = (float(v) for v in np.quantile(np.stack(list(planes.values())), (0.002, 0.998)))
    return tuple(Picture(png_uri(grey(plane[::-1], low, high, 64)), f"slice {name}") for name, plane in planes.items())


def _view(
    drawable: Drawable, direction: tuple[float, float, float], colour: str, settings: RenderSettings
) -> NDArray[np.uint8]:
    return render_surface(
        drawable.volume, drawable.level, direction, surface_colour(colour), drawable.half_width_voxels, settings
    )


def surface_colour(colour: str) -> tuple[float, float, float]:
    """Return a palette colour lightened so that shading has room below it."""
    light = [0.62 * channel + 0.38 for channel in rgb(colour)]
    brightest = max(light)
    r, g, b = (channel * max(1.0, 0.78 / brightest) for channel in light)
    return r, g, b
