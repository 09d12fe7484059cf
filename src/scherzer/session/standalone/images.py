"""What particle images are like: normalised or not, protein white or dark."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.formats.mrc import read_stack_images
from scherzer.formats.star import StarTable
from scherzer.fourier.filters import cosine_edge
from scherzer.fourier.grids import centred_rfft2, real_radius
from scherzer.likelihood.band import make_band
from scherzer.particles.extraction import background_mask, normalise
from scherzer.physics.ctf import ctf
from scherzer.physics.optics import ctf_parameters_of
from scherzer.session.stages.particle_sets import Locate, Prepare, image_blocks, premultiplied

SAMPLE = 500  # particles looked at
# Outside of these, the background's mean and standard deviation are not those that extraction in RELION or here gives.
LARGEST_MEAN = 0.2
DEVIATIONS = (0.7, 1.4)
COARSEST_A, FINEST_A = 200.0, 25.0  # band in which a particle is a white blob
INVERTED_SIGMA = -5.0  # how far below 0 the mean agreement with a white blob must lie


@dataclass(frozen=True)
class ImageFindings:
    """What a sample of images shows.

    Attributes
    ----------
    normalised : bool
        Their backgrounds have mean 0 and standard deviation 1.
    blob_sigma : float
        Mean agreement with a white blob of the particle's size under the CTF, in its standard errors; negative for
        dark protein.
    """

    normalised: bool
    blob_sigma: float

    @property
    def inverted(self) -> bool:
        """Protein is dark."""
        return self.blob_sigma < INVERTED_SIGMA


def look_at(table: StarTable, locate: Locate, diameter_A: float) -> ImageFindings:
    """Look at images spread over a table.

    Raises
    ------
    BadInput
        If one cannot be read.
    """
    chosen = torch.linspace(0, len(table) - 1, min(SAMPLE, len(table))).long().unique().numpy()
    sample = table.with_rows(table.rows.iloc[chosen])
    pixel_size_A = float(table.optics["rlnImagePixelSize"].iloc[0])
    radius_px = diameter_A / 2 / pixel_size_A
    means, deviations, agreements = [], [], []
    for path, indices, places in image_blocks(sample.rows["rlnImageName"], locate):
        images = torch.from_numpy(read_stack_images(path, indices))
        outside = images[:, background_mask(images.shape[-1], radius_px, images.device)]
        means.append(outside.mean(1))
        deviations.append(outside.std(1))
        rows = sample.with_rows(sample.rows.iloc[places])
        agreements.append(_agreement_with_blob(rows, normalised_images(images, radius_px), pixel_size_A, radius_px))
    mean, deviation, agreement = (torch.cat(part) for part in (means, deviations, agreements))
    low, high = DEVIATIONS
    normalised = bool(mean.abs().median() < LARGEST_MEAN) and bool(low < deviation.median() < high)
    error = float(agreement.std()) / math.sqrt(max(1, len(agreement)))
    return ImageFindings(normalised, float(agreement.mean()) / error if error > 0 else 0.0)


def _agreement_with_blob(rows: StarTable, images: Tensor, pixel_size_A: float, radius_px: float) -> Tensor:
    """Correlate images with the projection of a ball under their CTF, ``(n,)``."""
    box = images.shape[-1]
    extent_A = box * pixel_size_A
    band = make_band(box, min(extent_A / FINEST_A, box / 2 - 1), max(1.0, extent_A / COARSEST_A))
    # Chords of a ball.
    ball = torch.sqrt((radius_px**2 - real_radius(box, 2) ** 2).clamp(min=0)) / radius_px
    ball = ball * cosine_edge(real_radius(box, 2), radius_px, radius_px + 2)
    transfer = ctf(ctf_parameters_of(rows.rows, rows.optics), band.kx / extent_A, band.ky / extent_A)
    if premultiplied(rows.optics):
        transfer = transfer.square()
    expected = transfer * band.take(centred_rfft2(ball))
    return (band.take(centred_rfft2(images)) * expected.conj()).real.sum(1) / expected.abs().square().sum(1).sqrt()


def normalised_images(images: Tensor, radius_px: float) -> Tensor:
    """Bring the background of images to mean 0 and standard deviation 1; ``radius_px`` is the particle's."""
    return normalise(images, background_mask(images.shape[-1], radius_px, images.device))


def preparation(normalised: bool, invert: bool, radius_px: float) -> Prepare:
    """Return what has to be done to images so that their background is normalised and protein white."""
    sign = -1.0 if invert else 1.0

    def prepare(images: Tensor) -> Tensor:
        return sign * (images if normalised else normalised_images(images, radius_px))

    return prepare
