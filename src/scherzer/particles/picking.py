"""Find particles of a known diameter, without references and without a threshold to set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.particles.blob_templates import averaged_template, template_bank
from scherzer.particles.false_alarms import between, noise_amplitude, noise_image, score_threshold
from scherzer.particles.flat_image import density, dirt_mask, resized_mask
from scherzer.particles.matching import LocalSums, fit_template, local_sums, match
from scherzer.particles.peaks import Peaks, find_peaks, running_maximum, subpixel
from scherzer.particles.search_field import WINDOW_RADIUS, SearchField, quiet, search_field, shrunk
from scherzer.particles.steerable import centred, learn, rings
from scherzer.physics.ctf import CtfParameters
from scherzer.physics.optics import Optics

# The template averaged from this micrograph, and the noise between its particles, settle in so many rounds.
ROUNDS = 2
STRONGEST = 200
LEAST_SHAPE = 0.55
FEWEST_FOR_A_TEMPLATE = 6
# Views are learnt within this radius, in diameters, from so many certain picks, and move centres no further than this.
LEARNT_RADIUS = 0.55
FEWEST_TO_LEARN_FROM, MOST_TO_LEARN_FROM = 25, 300
CENTRE_WITHIN = 0.2
# By so much, along each axis, the best match with the mean particle lies off the centre of long ones, in diameters.
CENTRE_SPREAD = 0.035
# Noise is scored over at least so many pixels, so that small micrographs have a smooth false alarm rate too.
NOISE_PIXELS = 300_000


@dataclass(frozen=True)
class PickSettings:
    """How particles are picked.

    Attributes
    ----------
    threshold : float or None
        Least score of a pick (see `Picks`); None is `AUTOMATIC_THRESHOLD`. Changing it repeats no picking.
    min_distance_diameters : float
        Least distance between two picks, in diameters.
    false_fraction : float
        Share of picks that may be expected from noise at the automatic threshold.
    lowest_score : float
        Candidates above this score are kept, for a person to move the threshold afterwards.
    min_shape : float
        Least shape of a pick, over that of the median pick: contamination of the right strength has another one.
    max_strength : float
        Picks stronger than so many typical particles are taken for contamination and clumps.
    """

    threshold: float | None = None
    min_distance_diameters: float = 0.6
    false_fraction: float = 0.02
    lowest_score: float = 0.3
    min_shape: float = 0.55
    max_strength: float = 1.8


# A particle hardly ever shows less than this part of its typical strength, in whatever orientation; fringes between
# particles, frost and fragments mostly do. Chosen on simulated micrographs of four specimens, 0.3 to 2.7 um.
AUTOMATIC_THRESHOLD = 0.5


@dataclass(frozen=True)
class Picks:
    """Candidates found in one micrograph, best first; every tensor is ``(n,)``.

    Attributes
    ----------
    x_px, y_px : Tensor
        Column and row of the centre in the micrograph, pixels from 0, with fractions.
    score : Tensor
        Strength over that of this micrograph's typical particle, which is 1 whatever defocus and ice. Where noise
        reaches further up than `AUTOMATIC_THRESHOLD` of it, the scale is stretched until that is where it ends.
    shape : Tensor
        Normalised cross-correlation with this micrograph's mean particle, 0 to 1.
    """

    x_px: Tensor
    y_px: Tensor
    score: Tensor
    shape: Tensor

    def __len__(self) -> int:
        return len(self.x_px)

    def above(self, threshold: float | None = None) -> Picks:
        """Return those above a score; None is `AUTOMATIC_THRESHOLD`."""
        keep = self.score > (AUTOMATIC_THRESHOLD if threshold is None else threshold)
        return Picks(self.x_px[keep], self.y_px[keep], self.score[keep], self.shape[keep])


@dataclass(frozen=True)
class _Scale:
    """Lengths in working pixels."""

    diameter: float
    distance: float


@dataclass(frozen=True)
class _Found:
    """Peaks of strength, the map they are of, their shapes, and where noise and the typical particle stand."""

    peaks: Peaks
    strength: Tensor
    shape: Tensor
    noise_limit: float
    typical: float

    @property
    def certain(self) -> Tensor:
        """Mark the peaks that are neither noise nor much stronger than the rest."""
        return (self.peaks.score > self.noise_limit) & (self.peaks.score < 1.6 * self.typical)


def pick_blobs(
    image: Tensor,
    optics: Optics,
    ctf: CtfParameters | None,
    diameter_A: float,
    settings: PickSettings | None = None,
    left_out: Tensor | None = None,
) -> Picks:
    """Pick particles in a micrograph: the candidates of :func:`find_candidates` above the threshold."""
    settings = settings or PickSettings()
    return find_candidates(image, optics, ctf, diameter_A, settings, left_out).above(settings.threshold)


def find_candidates(
    image: Tensor,
    optics: Optics,
    ctf: CtfParameters | None,
    diameter_A: float,
    settings: PickSettings | None = None,
    left_out: Tensor | None = None,
) -> Picks:
    """Find what may be a particle in a micrograph.

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
    left_out : Tensor, optional
        ``(h', w')`` bool over the same field on any grid: carbon, contamination and holes, in which nothing is looked
        for.

    Returns
    -------
    Picks
        Those of whose window at least 60 % lies in the micrograph and off its dirt.

    Raises
    ------
    ValueError
        If the diameter is under five pixels or more than half of the image.

    Notes
    -----
    Balls and shells of about the diameter, as the optics would show them, compete by how far their best matches exceed
    those in noise. The winner's best, averaged over angles, are the template of the next round: what it looks like on
    average, no matter how far from round it is. The strength of a pick is how much of that template is there. Two
    limits are set by the micrograph itself: what noise of the spectrum between the particles would reach, and a part
    of the typical strength.
    """
    settings = settings or PickSettings()
    small = shrunk(image, optics.pixel_size_A, diameter_A)
    scale = _Scale(diameter_A / small.pixel_A, settings.min_distance_diameters * diameter_A / small.pixel_A)

    out = None if left_out is None else resized_mask(left_out, tuple(small.image.shape))
    field = search_field(small, ctf, diameter_A, out)
    template, found = _best_of_bank(field, scale)
    # Not by what noise there may be among them: else a few particles in an empty image would pass for dirt.
    typical = found.certain & (found.peaks.score > AUTOMATIC_THRESHOLD * found.typical)
    dirt = _dirt(small.image, found.peaks[typical], scale)
    if bool(dirt.any()):
        field = search_field(small, ctf, diameter_A, dirt if out is None else dirt | out)
    found = _refined(field, template, found, scale, settings.false_fraction)

    row, column = _centred(field, found, scale)
    certain = found.certain
    shape = found.shape / max(_median(found.shape[certain]), 1e-6)
    unit = max(found.typical, found.noise_limit / AUTOMATIC_THRESHOLD)
    score = found.peaks.score / unit
    keep = (score >= settings.lowest_score) & (score <= settings.max_strength) & (shape >= settings.min_shape)
    return Picks((column * small.scale_x)[keep], (row * small.scale_y)[keep], score[keep], found.shape[keep])


def _matched(
    field: SearchField, template: Tensor, noise: list[LocalSums], scale: _Scale, false_fraction: float
) -> _Found:
    """Return the peaks of a template's strength, with noise's limit and the typical strength among them."""
    fitted = fit_template(field.window, template)
    found = match(field.window, field.sums, fitted)
    peaks = find_peaks(found.strength, scale.distance)
    null = [find_peaks(match(field.window, sums, fitted).strength, scale.distance).score for sums in noise]
    limit = score_threshold(peaks.score, null, false_fraction)
    shape = found.shape[peaks.row, peaks.column]
    return _Found(peaks, found.strength, shape, limit, _typical(peaks.score, shape, limit))


def _typical(strength: Tensor, shape: Tensor, limit: float) -> float:
    """Return the median strength of the best shaped half above noise: contamination is strong, not shapely."""
    above = torch.nonzero(strength > limit).flatten()
    best = above[torch.argsort(shape[above], descending=True, stable=True)][: math.ceil(len(above) / 2)]
    return _median(strength[best])


def _best_of_bank(field: SearchField, scale: _Scale) -> tuple[Tensor, _Found]:
    """Return the template of the bank whose best matches exceed those in noise the most, and what it finds."""
    working = field.working
    noise = _noise_sums(field, noise_amplitude(working.image, quiet(field)), count=1)
    best: tuple[float, Tensor, _Found] | None = None
    for template in template_bank(working.transfer, tuple(working.image.shape), scale.diameter):
        found = _matched(field, template, noise, scale, false_fraction=0.1)
        excess = float((found.peaks.score[found.certain] - found.noise_limit).sum())
        if best is None or excess > best[0]:
            best = excess, template, found
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


def _refined(field: SearchField, template: Tensor, found: _Found, scale: _Scale, false_fraction: float) -> _Found:
    """Repeat with this micrograph's own mean particle and its own noise."""
    working = field.working
    radius = WINDOW_RADIUS * scale.diameter
    for _ in range(ROUNDS):
        # Views of every shape belong in it: an average of the roundest only would sit off the centre of the others.
        shapely = found.shape > LEAST_SHAPE * _median(found.shape[found.certain])
        own = torch.nonzero(found.certain & shapely).flatten()[:STRONGEST]
        if len(own) >= FEWEST_FOR_A_TEMPLATE:
            best = found.peaks[own]
            template = averaged_template(working.image, best.row, best.column, scale.diameter)
        seen = found.peaks[found.peaks.score > found.noise_limit]
        amplitude = noise_amplitude(working.image, between(working.valid, seen.row, seen.column, radius))
        noise = _noise_sums(field, amplitude, math.ceil(NOISE_PIXELS / working.image.numel()))
        found = _matched(field, template, noise, scale, false_fraction)
    return found


def _centred(field: SearchField, found: _Found, scale: _Scale) -> tuple[Tensor, Tensor]:
    """Place the peaks by what their views have in common, learnt from those that are certain."""
    row, column = subpixel(found.strength, found.peaks)
    own = torch.nonzero(found.certain & (found.peaks.score > 0.7 * found.typical)).flatten()[:MOST_TO_LEARN_FROM]
    if len(own) < FEWEST_TO_LEARN_FROM:
        return row, column
    image, radius = field.working.image, LEARNT_RADIUS * scale.diameter
    places = between(field.working.valid, found.peaks.row[own], found.peaks.column[own], WINDOW_RADIUS * scale.diameter)
    noise = noise_image(noise_amplitude(image, places), tuple(image.shape), torch.Generator().manual_seed(0))
    # Half a diameter apart, windows of noise still teach a little more.
    step = max(1, round(scale.diameter / 2))
    grid = torch.meshgrid(*(torch.arange(step, n - step, step) for n in noise.shape), indexing="ij")
    empty = rings(noise, grid[0].flatten(), grid[1].flatten(), radius)
    reach = max(1, round(CENTRE_WITHIN * scale.diameter))
    # Once: what is learnt again from the centres that it gave drifts off with them.
    model = learn(rings(image, row[own], column[own], radius), empty, radius)
    return centred(image, found.peaks.row, found.peaks.column, model, reach, CENTRE_SPREAD * scale.diameter)


def _median(values: Tensor) -> float:
    return float(values.median()) if len(values) else 0.0


def _noise_sums(field: SearchField, amplitude: Tensor, count: int) -> list[LocalSums]:
    """Prepare noise images with the micrograph's mask for matching."""
    generator = torch.Generator().manual_seed(0)
    valid = field.working.valid
    return [
        local_sums(field.window, noise_image(amplitude, tuple(valid.shape), generator) * valid) for _ in range(count)
    ]
