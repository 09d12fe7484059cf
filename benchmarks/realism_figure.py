"""Real and simulated micrographs side by side, for the eye."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image
from realism_statistics import Described
from scipy.ndimage import gaussian_filter

TILES = 12
TILE_PX = 620
BLUR_A = 3.0
SEED = 7
# Colours of the file, which is several times smaller for it: greys, and the simulated colour on white.
GREYS, REDS = 56, 16
REAL_COLOUR, SIMULATED_COLOUR = "black", "tab:red"


def draw(
    path: Path,
    real: Mapping[Path, Described],
    simulated: Mapping[Path, Described],
    read: Callable[[Path], NDArray[np.float32]],
    pixel_size_A: float,
) -> None:
    """Draw shuffled, numbered tiles of both, their spectra and mean particles; the key stands upside down below."""
    rng = np.random.default_rng(SEED)
    chosen = [(file, kind) for kind, found in enumerate((real, simulated)) for file in _some(rng, list(found))]
    order = rng.permutation(len(chosen))
    figure = plt.figure(figsize=(11, 11.6), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(3.06, 0.9))
    for place, (index, axes) in enumerate(zip(order, upper.subplots(3, 4).flat, strict=True)):
        _tile(axes, read(chosen[index][0]), rng, pixel_size_A)
        axes.set_title(str(place + 1), fontsize=9, pad=2)
    left, right = lower.subplots(1, 2, width_ratios=(2, 1))
    _spectra(left, real, simulated)
    _profiles(right, real, simulated)
    numbers = [str(place + 1) for place, index in enumerate(order) if chosen[index][1] == 0]
    figure.text(0.99, -0.002, f"real: {', '.join(numbers)}", rotation=180, ha="right", va="top", fontsize=7)
    with BytesIO() as drawn:
        figure.savefig(drawn, dpi=100, bbox_inches="tight")
        image = Image.open(drawn).convert("RGB")
    image.quantize(palette=_palette(), dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: real tiles are {', '.join(numbers)}")


def _palette() -> Image.Image:
    greys = np.linspace(0, 255, GREYS)[:, None].repeat(3, axis=1)
    reds = 255 * (1 + np.linspace(0.1, 1, REDS)[:, None] * (np.array(to_rgb(SIMULATED_COLOUR)) - 1))
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.rint(np.concatenate((greys, reds))).astype(np.uint8).tobytes())
    return palette


def _some(rng: np.random.Generator, files: list[Path]) -> list[Path]:
    return [files[index] for index in rng.permutation(len(files))[: TILES // 2]]


def _tile(axes: Axes, image: NDArray[np.float32], rng: np.random.Generator, pixel_size_A: float) -> None:
    top, left = (int(rng.integers(0, max(1, side - TILE_PX))) for side in image.shape)
    smooth = gaussian_filter(image.astype(np.float32), BLUR_A / pixel_size_A)
    tile = smooth[top : top + TILE_PX, left : left + TILE_PX]
    low, high = np.percentile(tile, [0.3, 99.7])
    axes.imshow(tile, cmap="gray", vmin=low, vmax=high)
    axes.set_axis_off()


def _spectra(axes: Axes, real: Mapping[Path, Described], simulated: Mapping[Path, Described]) -> None:
    for found, colour, label in ((real, REAL_COLOUR, "real"), (simulated, SIMULATED_COLOUR, "simulated")):
        curves = [one.spectrum for one in found.values()]
        length = min(curve.shape[1] for curve in curves)
        powers = np.stack([curve[1, :length] for curve in curves])
        k = curves[0][0, :length]
        axes.fill_between(k, powers.min(0), powers.max(0), color=colour, alpha=0.15, lw=0)
        axes.semilogy(k, np.median(powers, axis=0), color=colour, lw=1, label=label)
    axes.set(xlabel="spatial frequency, 1/A", ylabel="power / power at 5 to 4 A", xlim=(0, 0.34), ylim=(0.6, 80))
    axes.legend(frameon=False)


def _profiles(axes: Axes, real: Mapping[Path, Described], simulated: Mapping[Path, Described]) -> None:
    for found, colour in ((real, REAL_COLOUR), (simulated, SIMULATED_COLOUR)):
        levels = np.stack([one.profile[1] for one in found.values()])
        radius = next(iter(found.values())).profile[0]
        axes.fill_between(radius, levels.min(0), levels.max(0), color=colour, alpha=0.15, lw=0)
        axes.plot(radius, np.median(levels, axis=0), color=colour, lw=1)
    axes.set(xlabel="distance from particle centre, A", ylabel="grey level, pixel sd", xlim=(0, 110))
