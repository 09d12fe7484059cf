"""Find round particles of a known diameter, without references and without a threshold to set."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.particles.blob_templates import averaged_template, template_bank
from scherzer.particles.false_alarms import null_scores, score_threshold
from scherzer.particles.matching import LocalSums, Peaks, find_peaks, local_sums, match, subpixel
from scherzer.particles.working_image import WorkingImage, prepare_working_image
from scherzer.physics.ctf import CtfParameters
from scherzer.physics.optics import Optics

# Working pixels per diameter: enough to place a centre to a tenth of a pixel, few enough to be quick.
PIXELS_PER_DIAMETER = 20
# Radius of the matching window in diameters: the particle and the fringe around it, not the neighbour.
WINDOW_RADIUS = 0.6
# The template averaged from this micrograph settles after two rounds.
TEMPLATE_ROUNDS = 2
STRONGEST = 60
FEWEST_FOR_A_TEMPLATE = 12


@dataclass(frozen=True)
class PickSettings:
    """How particles are picked.

    Attributes
    ----------
    min_distance_diameters : float
        Least distance between two picks, in diameters.
    false_fraction : float
        Share of picks that may be expected from noise; sets the threshold by way of randomised images.
    max_energy_ratio : float
        Picks with more energy than this times the median pick are taken for contamination.
    """

    min_distance_diameters: float = 0.6
    false_fraction: float = 0.02
    max_energy_ratio: float = 3.0


@dataclass(frozen=True)
class Picks:
    """Particles found in one micrograph, best first; every tensor is ``(n,)``.

    Attributes
    ----------
    x_px, y_px : Tensor
        Column and row of the centre in the micrograph, pixels from 0, with fractions.
    score : Tensor
        Normalised cross-correlation with this micrograph's mean particle, 0 to 1: shape.
    energy : Tensor
        Variance in the window over that of the median pick: strength.
    """

    x_px: Tensor
    y_px: Tensor
    score: Tensor
    energy: Tensor

    def __len__(self) -> int:
        return len(self.x_px)


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
        Those within the micrograph whose window is at least 60 % inside it; empty if nothing beats noise.

    Raises
    ------
    ValueError
        If the diameter is not positive, or is under five pixels or more than half of the image.

    Notes
    -----
    Balls and shells of about the diameter, as the optics would show them, compete by the correlation of their best
    matches; the mean of the winner's picks, averaged over angles, is the template of the next round. The threshold is
    where the same template finds few peaks in images with the same spectrum and random phases.
    """
    settings = settings or PickSettings()
    _check_diameter(image, optics.pixel_size_A, diameter_A)
    image = image.to(torch.float32)
    working = prepare_working_image(image, optics.pixel_size_A, ctf, diameter_A, diameter_A / PIXELS_PER_DIAMETER)
    diameter_px = diameter_A / working.pixel_size_A
    distance_px = settings.min_distance_diameters * diameter_px
    sums = local_sums(working.image, working.valid, WINDOW_RADIUS * diameter_px)
    template, score, peaks = _settle_template(working, sums, diameter_px, distance_px)

    threshold = score_threshold(peaks.score, null_scores(working, template, sums, distance_px), settings.false_fraction)
    peaks = peaks[peaks.score > threshold]
    energy = (sums.energy / sums.count)[peaks.row, peaks.column]
    energy = energy / energy.median() if len(peaks) else energy
    believable = energy < settings.max_energy_ratio
    row, column = subpixel(score, peaks)
    return Picks(
        (column * working.scale_x)[believable],
        (row * working.scale_y)[believable],
        peaks.score[believable],
        energy[believable],
    )


def _settle_template(
    working: WorkingImage, sums: LocalSums, diameter_px: float, distance_px: float
) -> tuple[Tensor, Tensor, Peaks]:
    """Choose the best of the bank, then replace it by the average of what it finds; template, score map, peaks."""
    template, score, peaks = max(
        (
            (template, score, find_peaks(score, distance_px, floor=0.0))
            for template in template_bank(working.transfer, tuple(working.image.shape), diameter_px)
            for score in [match(sums, template)]
        ),
        key=lambda candidate: float(candidate[2].score[:STRONGEST].mean()) if len(candidate[2]) else -1.0,
    )
    for _ in range(TEMPLATE_ROUNDS):
        strongest = peaks[:STRONGEST]
        if len(strongest) < FEWEST_FOR_A_TEMPLATE:
            break
        template = averaged_template(working.image, strongest.row, strongest.column, diameter_px)
        score = match(sums, template)
        peaks = find_peaks(score, distance_px, floor=0.0)
    return template, score, peaks


def _check_diameter(image: Tensor, pixel_size_A: float, diameter_A: float) -> None:
    diameter_px = diameter_A / pixel_size_A
    if not 5 <= diameter_px <= min(image.shape) / 2:
        raise ValueError(
            f"a particle diameter of {diameter_A:g} A is {diameter_px:.1f} pixels; it must be at least 5 pixels and at "
            f"most half of the micrograph ({min(image.shape)} pixels)"
        )
