"""Find round particles of a known diameter, without references and without a threshold to set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.particles.blob_templates import averaged_template, template_bank
from scherzer.particles.false_alarms import background_amplitude, noise_image, score_threshold
from scherzer.particles.flat_image import density, dirt_mask, minus_plane, shrink, standardise
from scherzer.particles.matching import LocalSums, Window, fit_template, local_sums, match, round_window
from scherzer.particles.peaks import Peaks, find_peaks, running_maximum, subpixel
from scherzer.particles.working_image import WorkingImage, prepare_working_image
from scherzer.physics.ctf import CtfParameters
from scherzer.physics.optics import Optics

# Working pixels per diameter: enough to place a centre to a fraction of a pixel, few enough to be quick.
PIXELS_PER_DIAMETER = 20
# Radius of the matching window in diameters: the particle and its fringe, hardly the neighbour, and the edge of a
# particle a sixth larger than said (at 0.6 such a ball loses its edge and is lost).
WINDOW_RADIUS = 0.65
# The template averaged from this micrograph, and the noise between its particles, settle in two rounds.
ROUNDS = 2
STRONGEST = 60
FEWEST_FOR_A_TEMPLATE = 12
# Noise is scored over at least so many pixels, so that small micrographs have a smooth false alarm rate too.
NOISE_PIXELS = 500_000


@dataclass(frozen=True)
class PickSettings:
    """How particles are picked.

    Attributes
    ----------
    min_distance_diameters : float
        Least distance between two picks, in diameters.
    false_fraction : float
        Share of picks that may be expected from noise; noise images set the threshold accordingly.
    min_power, max_power : float
        Picks whose power, in units of the median pick's, is below or above are taken for fringes between particles
        and for contamination. Shape and power are judged apart: a crystal can be round, a particle is never so thick.
    """

    min_distance_diameters: float = 0.6
    false_fraction: float = 0.02
    min_power: float = 0.25
    max_power: float = 4.0


@dataclass(frozen=True)
class Picks:
    """Particles found in one micrograph, best first; every tensor is ``(n,)``.

    Attributes
    ----------
    x_px, y_px : Tensor
        Column and row of the centre in the micrograph, pixels from 0, with fractions.
    score : Tensor
        Normalised cross-correlation with this micrograph's mean particle, 0 to 1: shape.
    power : Tensor
        Power of that mean particle in the pick, over that of the median pick: strength.
    """

    x_px: Tensor
    y_px: Tensor
    score: Tensor
    power: Tensor

    def __len__(self) -> int:
        return len(self.x_px)


@dataclass(frozen=True)
class _Scale:
    """Lengths in working pixels."""

    diameter: float
    distance: float


@dataclass(frozen=True)
class _Field:
    """A working image with all that matching needs of it."""

    working: WorkingImage
    window: Window
    sums: LocalSums


def pick_blobs(
    image: Tensor, optics: Optics, ctf: CtfParameters | None, diameter_A: float, settings: PickSettings | None = None
) -> Picks:
    """Pick round particles in a micrograph.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``, raw: dark protein.
    optics : Optics
        Of the micrograph.
    ctf : CtfParameters or None
        Of this one image, ``(1,)``; None if unknown.
    diameter_A : float
        Largest diameter of the particle; a sixth too large or too small does no harm.
    settings : PickSettings, optional
        Rarely needed.

    Returns
    -------
    Picks
        Those of whose window at least 60 % lies in the micrograph and off its dirt; empty if nothing beats noise.

    Raises
    ------
    ValueError
        If the diameter is under five pixels or more than half of the image.

    Notes
    -----
    Balls and shells of about the diameter, as the optics would show them, compete by how far their best matches exceed
    those in noise. The winner's picks, averaged over angles, are the template of the next round. The threshold is where
    the same template would find a given share of the picks in noise of the spectrum between the particles.
    """
    settings = settings or PickSettings()
    _check_diameter(image, optics.pixel_size_A, diameter_A)
    target_A = max(optics.pixel_size_A, diameter_A / PIXELS_PER_DIAMETER)
    small = standardise(shrink(minus_plane(image.float()), optics.pixel_size_A / target_A))
    scale_y, scale_x = image.shape[0] / small.shape[0], image.shape[1] / small.shape[1]
    pixel_A = optics.pixel_size_A * math.sqrt(scale_x * scale_y)
    scale = _Scale(diameter_A / pixel_A, settings.min_distance_diameters * diameter_A / pixel_A)

    field = _field(small, torch.zeros_like(small, dtype=torch.bool), pixel_A, ctf, scale)
    template, found = _best_of_bank(field, scale)
    dirt = _dirt(small, found, scale)
    if bool(dirt.any()):
        field = _field(small, dirt, pixel_A, ctf, scale)
    score, found = _refined(field, template, found, scale, settings.false_fraction)

    row, column = subpixel(score, found)
    power = _relative_power(field, found)
    believable = (power >= settings.min_power) & (power <= settings.max_power)
    return Picks(
        (column * scale_x)[believable], (row * scale_y)[believable], found.score[believable], power[believable]
    )


def _relative_power(field: _Field, found: Peaks) -> Tensor:
    """Return the power of the mean particle in each pick, over that of the median pick; ``(n,)``."""
    power = found.score**2 * (field.sums.energy / field.window.count)[found.row, found.column]
    return power / power.median() if len(found) else power


def _field(small: Tensor, dirt: Tensor, pixel_A: float, parameters: CtfParameters | None, scale: _Scale) -> _Field:
    working = prepare_working_image(small, pixel_A, parameters, scale.diameter * pixel_A, dirt)
    window = round_window(working.valid, WINDOW_RADIUS * scale.diameter)
    return _Field(working, window, local_sums(window, working.image))


def _best_of_bank(field: _Field, scale: _Scale) -> tuple[Tensor, Peaks]:
    """Return the template of the bank whose peaks exceed those in noise the most, and its peaks above noise."""
    working, window = field.working, field.window
    nothing = torch.zeros(0, dtype=torch.long, device=working.image.device)
    noise = _noise_sums(field, background_amplitude(working.image, working.valid, nothing, nothing, 0.0), count=1)[0]
    best: tuple[float, Tensor, Peaks] | None = None
    for template in template_bank(working.transfer, tuple(working.image.shape), scale.diameter):
        fitted = fit_template(window, template)
        peaks = find_peaks(match(window, field.sums, fitted), scale.distance)
        null = find_peaks(match(window, noise, fitted), scale.distance).score
        ceiling = float(null[:3].mean()) if len(null) else 0.0
        excess = float((peaks.score[:STRONGEST] - ceiling).clamp(min=0).sum())
        if best is None or excess > best[0]:
            best = excess, template, peaks[peaks.score > score_threshold(peaks.score, [null], false_fraction=0.1)]
    assert best is not None
    return best[1], best[2]


def _dirt(small: Tensor, found: Peaks, scale: _Scale) -> Tensor:
    """Mark what is much thicker than the particles found; nothing if none were."""
    if not len(found):
        return torch.zeros_like(small, dtype=torch.bool)
    amount = density(small, scale.diameter)
    highest = running_maximum(amount, max(1, int(scale.diameter / 2)))
    row, column = found.row.clamp(max=small.shape[0] - 1), found.column.clamp(max=small.shape[1] - 1)
    return dirt_mask(amount, scale.diameter, float(highest[row, column].median()))


def _refined(
    field: _Field, template: Tensor, found: Peaks, scale: _Scale, false_fraction: float
) -> tuple[Tensor, Peaks]:
    """Repeat with this micrograph's own mean particle and its own noise; score map and peaks above the threshold."""
    working, window = field.working, field.window
    for _ in range(ROUNDS):
        strongest = found[:STRONGEST]
        if len(strongest) >= FEWEST_FOR_A_TEMPLATE:
            template = averaged_template(working.image, strongest.row, strongest.column, scale.diameter)
        fitted = fit_template(window, template)
        radius = WINDOW_RADIUS * scale.diameter
        amplitude = background_amplitude(working.image, working.valid, found.row, found.column, radius)
        noise = _noise_sums(field, amplitude, math.ceil(NOISE_PIXELS / working.image.numel()))
        null = [find_peaks(match(window, sums, fitted), scale.distance).score for sums in noise]
        score = match(window, field.sums, fitted)
        peaks = find_peaks(score, scale.distance)
        found = peaks[peaks.score > score_threshold(peaks.score, null, false_fraction)]
    return score, found


def _noise_sums(field: _Field, amplitude: Tensor, count: int) -> list[LocalSums]:
    """Prepare noise images with the micrograph's mask for matching."""
    generator = torch.Generator().manual_seed(0)
    valid = field.working.valid
    return [
        local_sums(field.window, noise_image(amplitude, tuple(valid.shape), generator) * valid) for _ in range(count)
    ]


def _check_diameter(image: Tensor, pixel_size_A: float, diameter_A: float) -> None:
    diameter_px = diameter_A / pixel_size_A
    if not 5 <= diameter_px <= min(image.shape) / 2:
        raise ValueError(
            f"a particle diameter of {diameter_A:g} A is {diameter_px:.1f} pixels; it must be at least 5 pixels and at "
            f"most half of the micrograph ({min(image.shape)} pixels)"
        )
