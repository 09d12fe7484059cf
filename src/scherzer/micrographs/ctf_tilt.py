"""How defocus changes over a micrograph: the tilt of its film."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scherzer.micrographs.ctf_cells import Layout, layout
from scherzer.micrographs.ctf_polish import DEPTH_SEGMENTS, polish
from scherzer.micrographs.ctf_search import ASTIGMATISM_TOLERANCE_A, Astigmatic
from scherzer.micrographs.ring_model import aberration_of, spline_basis
from scherzer.micrographs.spectrum import Spectrum, band
from scherzer.physics.optics import Optics

# End of the band, A, and the largest pixel that samples it well.
FINE_A, PIXEL_A = 5.0, 2.2
# Side of the tiles: enough to resolve rings of the defocus with so many pixels, within bounds, A.
PIXELS_PER_RING, MIN_TILE_A, MAX_TILE_A = 3.0, 700.0, 1500.0
# Fewer tiles in either direction show no plane.
MIN_TILES = 3
SECTORS = 24
# Segments of the splines, in log frequency, by which the tiles' backgrounds differ: their share of particles and ice.
BACKGROUND_SEGMENTS = 2
MAX_TILT_RAD, AXES = math.radians(60), 36
# Errors of the mean defocus that the grid of planes allows for, in its steps.
OFFSETS = 2
# Powers of tiles that overlap by half are not independent under a sine taper: their correlation, 1/pi^2, comes twice in
# each of two directions.
DEPENDENCE = (1 + 2 / math.pi**2) ** 2
# Ratio of the errors of the tilt of 60 simulated micrographs of flat films to those from the curvature: particles and
# ice are not the white specimen of the model, for which the ratio is 1.
MISFIT = 1.25
STEPS = 12
# Log likelihood by which a tilted plane of the grid must beat the flat ones, because so many are tried.
PREFERENCE = 8.0


@dataclass(frozen=True)
class Tilt:
    """A plane through the film.

    Attributes
    ----------
    tilt_rad : float
        Between the film and the image plane, 0 or more.
    axis_rad : float
        From the x axis to the tilt axis, in [0, 2 pi): underfocus grows towards a quarter turn further.
    error_rad : float
        Standard error of the tilt about either axis; what is less than twice as much need not be a tilt.
    """

    tilt_rad: float
    axis_rad: float
    error_rad: float


@dataclass(frozen=True)
class _Tiles:
    """Relative power of tiles, beside what a model of it needs.

    Attributes
    ----------
    place_A : Tensor
        ``(t, 2)``, x and y of the tiles' centres from the image's.
    relative : Tensor
        ``(t, c)``, power of each cell over its background, less one.
    weight : Tensor
        ``(c,)``, one over the variance of a relative power.
    per_defocus, phase : Tensor
        ``(c,)``: phase per angstrom of defocus, and phase at the mean defocus.
    depth : Tensor
        ``(c,)``, of the rings.
    background : Tensor
        ``(c, b)``, smooth functions of frequency by which the background of tiles may differ.
    """

    place_A: Tensor
    relative: Tensor
    weight: Tensor
    per_defocus: Tensor
    phase: Tensor
    depth: Tensor
    background: Tensor

    def without_background(self, values: Tensor) -> Tensor:
        """Return values ``(..., c)`` less what of them is smooth."""
        weighted = self.background * self.weight[:, None]
        smooth = torch.linalg.solve(weighted.T @ self.background, (values @ weighted).mT)
        return values - smooth.mT @ self.background.T


def estimate_tilt(
    levelled: Tensor, optics: Optics, defocus: Astigmatic, phase_shift_rad: float, coarse_A: float
) -> Tilt | None:
    """Fit a plane of defocus to the power spectra of tiles.

    Every tile's log likelihood is tabulated over changes of its defocus; a plane's is the sum over tiles, so that all
    planes of a grid are tried, and the best is refined by Fisher scoring. Because a tilt washes out the rings of the
    mean spectrum, from which their depth is taken first, the depth is measured again along the plane.

    Parameters
    ----------
    levelled : Tensor
        ``(h, w)``, from :func:`scherzer.micrographs.spectrum.level`.
    optics : Optics
        With the pixel size of the image.
    defocus, phase_shift_rad : Astigmatic, float
        Of the whole image.
    coarse_A : float
        Coarse end of the band.

    Returns
    -------
    Tilt or None
        None where the image is too small or the tiles' spectra cannot be fitted.

    References
    ----------
    Elferich et al. 2024 (CTFFIND5), for a plane of defocus fitted to the spectra of tiles.
    """
    tiles = _measured(levelled, optics, defocus, phase_shift_rad, coarse_A)
    if tiles is None:
        return None
    plane = _refined(tiles, _best_of_grid(tiles))[0]
    plane, curvature = _refined(tiles := _deepened(tiles, plane), _best_of_grid(tiles))
    slope = plane[:2]
    gradient = float(slope.norm())
    errors = torch.linalg.inv(curvature).diagonal()[:2]
    axis = math.atan2(float(slope[1]), float(slope[0])) - math.pi / 2
    error = MISFIT * float(errors.mean().sqrt()) / (1 + gradient**2)
    # Single precision: the last digits of a small matrix's inverse depend on where in memory it lies.
    return Tilt(*torch.tensor([math.atan(gradient), axis % (2 * math.pi), error]).tolist())


def _measured(
    levelled: Tensor, optics: Optics, defocus: Astigmatic, phase_shift_rad: float, coarse_A: float
) -> _Tiles | None:
    """Make the spectra of overlapping tiles and take their common background off."""
    factor = max(1, int(PIXEL_A / optics.pixel_size_A))
    image = torch.nn.functional.avg_pool2d(levelled[None, None], factor)[0, 0]
    pixel_A = factor * optics.pixel_size_A
    highest_per_A = min(1 / FINE_A, 0.45 / pixel_A)
    whole = aberration_of(torch.tensor([highest_per_A]), optics)
    ring_per_A = math.pi * highest_per_A / (2 * defocus.mean_A * float(whole.per_defocus))
    side = 2 * round(min(max(PIXELS_PER_RING / ring_per_A, MIN_TILE_A), MAX_TILE_A) / pixel_A / 2)
    rows, columns = (int(2 * (length - side) / side) + 1 if length >= side else 0 for length in image.shape)
    bins = int((highest_per_A - 1 / coarse_A) * side * pixel_A)
    if min(rows, columns) < MIN_TILES or bins < 3 * DEPTH_SEGMENTS:
        return None
    spectra, place_A = _spectra(image, side, rows, columns, pixel_A)
    pixels = band(spectra[0], 1 / coarse_A, highest_per_A)
    cells = layout(pixels, 1 / coarse_A, highest_per_A, SECTORS, bins)
    mean = cells.cells(torch.stack([one.power for one in spectra]).mean(0))
    phases = aberration_of(torch.sqrt(mean.k2), optics)
    fit = polish(mean, phases, defocus, phase_shift_rad, ASTIGMATISM_TOLERANCE_A)
    if fit is None:
        return None
    relative = torch.stack([_relative(cells, one.power, fit.background) for one in spectra])
    used = mean.count > 0
    # Scatter between tiles around their mean, per pixel.
    per_pixel = ((relative - relative.mean(0)).square().sum(0) / (len(spectra) - 1) * mean.count)[used].median()
    directions = fit.defocus.towards(mean.angle_rad)
    phase = phases.per_defocus * directions + phases.rest_rad + phase_shift_rad
    weight = mean.count / (per_pixel * DEPENDENCE)
    smooth = spline_basis(mean.k2[used].log(), BACKGROUND_SEGMENTS)
    tiles = _Tiles(
        place_A, relative[:, used], weight[used], phases.per_defocus[used], phase[used], fit.depth[used], smooth
    )
    return replace(tiles, relative=tiles.without_background(tiles.relative))


def _spectra(image: Tensor, side: int, rows: int, columns: int, pixel_A: float) -> tuple[list[Spectrum], Tensor]:
    """Return the power spectra of tiles that cover the image evenly, and their places."""
    height, width = image.shape
    position = (torch.arange(side, device=image.device) + 0.5) / side
    taper = torch.sin(torch.pi * position)
    window = taper[:, None] * taper
    half = side // 2
    ky = torch.arange(1 - half, half, device=image.device) / (side * pixel_A)
    kx = torch.arange(half, device=image.device) / (side * pixel_A)
    spectra, places = [], []
    for row in range(rows):
        y = round(row * (height - side) / (rows - 1))
        for column in range(columns):
            x = round(column * (width - side) / (columns - 1))
            power = torch.fft.rfft2(image[y : y + side, x : x + side] * window, norm="ortho").abs().square()
            power = torch.cat([power[half + 1 :, :half], power[:half, :half]])
            spectra.append(Spectrum(power, kx, ky, 1 / (2 * pixel_A)))
            places.append([x + side / 2 - width / 2, y + side / 2 - height / 2])
    return spectra, torch.tensor(places, dtype=torch.float64, device=image.device) * pixel_A


def _relative(cells: Layout, power: Tensor, background: Tensor) -> Tensor:
    """Return the power of a tile over the common background, scaled to its own level, less one."""
    ratio = cells.mean(power.flatten()[cells.pixels]) / background
    return ratio / ((ratio * cells.count).sum() / cells.count.sum()).clamp_min(1e-30) - 1


def _defocus_step_A(tiles: _Tiles) -> float:
    """Return the defocus that turns the rings by an eighth at the end of the band."""
    return math.pi / 8 / float(tiles.per_defocus.max())


def _best_of_grid(tiles: _Tiles) -> Tensor:
    """Return slope in x and y and offset (A) of the best plane of a grid; ``(3,)``."""
    step_A = _defocus_step_A(tiles)
    far_A = float(tiles.place_A.norm(dim=1).max())
    reach = math.ceil(far_A * math.tan(MAX_TILT_RAD) / step_A) + OFFSETS
    changes_A = torch.arange(-reach, reach + 1, device=tiles.phase.device) * step_A
    models = tiles.depth * -torch.cos(2 * (tiles.phase + tiles.per_defocus * changes_A[:, None]))
    models = tiles.without_background(models)
    likelihood = (tiles.relative * tiles.weight) @ models.T - models.square() @ tiles.weight / 2
    slopes = torch.arange(0, math.tan(MAX_TILT_RAD), step_A / far_A, device=tiles.phase.device)
    axes = torch.arange(AXES, device=tiles.phase.device) * (2 * torch.pi / AXES)
    offsets = torch.arange(-OFFSETS, OFFSETS + 1, device=tiles.phase.device) * step_A
    slope, axis, offset = (grid.flatten() for grid in torch.meshgrid(slopes, axes, offsets, indexing="ij"))
    planes = torch.stack([slope * torch.cos(axis), slope * torch.sin(axis), offset], dim=1).double()
    at = (_changes_A(tiles, planes) / step_A + reach).clamp(0, 2 * reach - 1e-3)
    lower = at.long()
    table = likelihood.T.expand(len(changes_A), -1)
    tile = torch.arange(len(tiles.place_A), device=tiles.phase.device)
    value = torch.lerp(table[lower, tile], table[(lower + 1).clamp(max=2 * reach), tile], at - lower).sum(1)
    value = torch.where(slope > 0, value - PREFERENCE, value)
    return planes[int(value.argmax())]


def _changes_A(tiles: _Tiles, planes: Tensor) -> Tensor:
    """Return the change of defocus that planes ``(n, 3)`` mean for every tile; ``(n, t)``."""
    return planes[:, :2] @ tiles.place_A.T + planes[:, 2:]


def _refined(tiles: _Tiles, plane: Tensor) -> tuple[Tensor, Tensor]:
    """Follow a plane to the maximum of the likelihood; return it and the curvature there."""
    design = torch.cat([tiles.place_A, torch.ones_like(tiles.place_A[:, :1])], dim=1)
    step_A = _defocus_step_A(tiles)
    for _ in range(STEPS):
        twice = 2 * (tiles.phase + tiles.per_defocus * _changes_A(tiles, plane[None])[0][:, None])
        residual = tiles.relative + tiles.without_background(tiles.depth * torch.cos(twice))
        slope = tiles.without_background(2 * tiles.depth * tiles.per_defocus * torch.sin(twice))
        gradient = (tiles.weight * residual * slope).sum(1)
        curvature = design.T @ (design * (tiles.weight * slope.square()).sum(1)[:, None])
        curvature += 1e-12 * curvature.diagonal().mean() * torch.eye(3).to(curvature)
        step = torch.linalg.solve(curvature, design.T @ gradient)
        largest_A = float((design @ step).abs().max())
        plane = plane + step * min(1.0, step_A / max(largest_A, 1e-9))
        if largest_A < 0.1:
            break
    return plane, curvature


def _deepened(tiles: _Tiles, plane: Tensor) -> _Tiles:
    """Measure the depth of the rings along a plane."""
    twice = 2 * (tiles.phase + tiles.per_defocus * _changes_A(tiles, plane[None])[0][:, None])
    rings = tiles.without_background(-torch.cos(twice))
    basis = spline_basis(tiles.per_defocus.sqrt(), DEPTH_SEGMENTS)
    strength = tiles.weight * rings.square().sum(0)
    curvature = basis.T @ (basis * strength[:, None])
    curvature += 1e-6 * curvature.diagonal().mean() * torch.eye(len(curvature)).to(curvature)
    found = torch.linalg.solve(curvature, basis.T @ (tiles.weight * (rings * tiles.relative).sum(0)))
    return replace(tiles, depth=(basis @ found).clamp(-1, 1))
