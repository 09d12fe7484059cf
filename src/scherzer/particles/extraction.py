"""Cut particles out of a micrograph and normalise them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.particles.box_size import box_size_px, resolution_held_A
from scherzer.particles.ctf_multiplication import multiplied_and_cropped
from scherzer.particles.duplicates import drop_duplicates
from scherzer.particles.extract_settings import ExtractSettings
from scherzer.particles.half_sets import assign_half_sets
from scherzer.physics.ctf import CtfParameters

__all__ = [
    "ExtractSettings",
    "ExtractedParticles",
    "Multiply",
    "assign_half_sets",
    "box_size_px",
    "drop_duplicates",
    "extract_particles",
    "normalise",
    "resolution_held_A",
]

# Particles handled at once; bounds the memory for large boxes.
BATCH = 64


@dataclass(frozen=True)
class ExtractedParticles:
    """Particles of one micrograph.

    Attributes
    ----------
    images : Tensor
        ``(m, b, b)`` float32: white protein, background mean 0 and standard deviation 1. The picked position, with its
        fraction of a pixel, lies exactly on pixel ``(b // 2, b // 2)``, so the origins to write are 0.
    kept : Tensor
        ``(n,)`` bool, which of the positions asked for these are (m of them); the rest is too near to the edge.
    """

    images: Tensor
    kept: Tensor


@dataclass(frozen=True)
class Multiply:
    """The CTF, ``(1,)``, of a micrograph whose images are multiplied by it, in a field of an even side."""

    ctf: CtfParameters
    field_px: int


def extract_particles(
    image: Tensor,
    x_px: Tensor,
    y_px: Tensor,
    pixel_size_A: float,
    diameter_A: float,
    raw_box_px: int,
    working_box_px: int,
    settings: ExtractSettings | None = None,
    multiply: Multiply | None = None,
) -> ExtractedParticles:
    """Cut out, invert, normalise, centre and Fourier-crop the particles of a micrograph.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``, raw: dark protein.
    x_px, y_px : Tensor
        ``(n,)`` columns and rows of the centres, pixels from 0, with fractions.
    pixel_size_A, diameter_A : float
        Of the micrograph; of the particle.
    raw_box_px, working_box_px : int
        Even sides from :func:`box_size_px`.
    settings : ExtractSettings, optional
        Background, dust and edges.
    multiply : Multiply, optional
        The CTF that images are multiplied by before they are cropped to the raw box.

    Returns
    -------
    ExtractedParticles
        With the mask of those kept.

    Raises
    ------
    ValueError
        If a box is odd or not positive, or the working box is larger than the raw one.

    Notes
    -----
    The fraction of a pixel is removed by a Fourier shift, which costs nothing beside the Fourier crop and adds no
    blur, rather than left to the origin columns.
    """
    settings = settings or ExtractSettings()
    if raw_box_px % 2 or working_box_px % 2 or not 0 < working_box_px <= raw_box_px:
        raise ValueError(
            f"boxes must be even and the working box not above the raw one: {raw_box_px}, {working_box_px}"
        )
    image, x, y = image.float(), x_px.to(image.device).double(), y_px.to(image.device).double()
    diameter_px = diameter_A / pixel_size_A
    kept = _inside(image.shape, x, y, raw_box_px, diameter_px, settings)
    field_px = raw_box_px if multiply is None else multiply.field_px
    radius_px = settings.background_diameters * diameter_px / 2
    background = background_mask(field_px, radius_px, image.device)
    working_background = background_mask(working_box_px, radius_px * working_box_px / raw_box_px, image.device)
    generator = torch.Generator().manual_seed(0)
    batches = []
    for rows, columns in zip(torch.split(y[kept], BATCH), torch.split(x[kept], BATCH), strict=True):
        if not len(rows):
            continue
        found = _cleaned(*_cut(image, rows, columns, field_px), background, settings, generator)
        if multiply is not None:
            found = multiplied_and_cropped(found, multiply.ctf, pixel_size_A, raw_box_px)
        found = _centre_and_crop(found, rows - rows.round(), columns - columns.round(), working_box_px)
        batches.append(normalise(found, working_background))
    images = torch.cat(batches) if batches else image.new_zeros(0, working_box_px, working_box_px)
    return ExtractedParticles(images, kept)


def background_mask(box_px: int, radius_px: float, device: torch.device) -> Tensor:
    """Mark the pixels of a box outside a radius; if the box is too small for it, outside of its inscribed circle.

    Returns
    -------
    Tensor
        ``(b, b)`` bool; at least the corners, a fifth of the box.
    """
    offset = torch.arange(box_px, device=device) - box_px // 2
    return torch.sqrt((offset[:, None] ** 2 + offset**2).float()) > min(radius_px, box_px / 2 - 1)


def normalise(images: Tensor, background: Tensor, usable: Tensor | None = None) -> Tensor:
    """Subtract the plane fitted to the background and divide by the background's standard deviation.

    Parameters
    ----------
    images : Tensor
        ``(n, b, b)``.
    background : Tensor
        ``(b, b)`` bool.
    usable : Tensor, optional
        ``(n, b, b)`` bool, pixels that hold data.

    Returns
    -------
    Tensor
        ``(n, b, b)``; an image whose background is constant is left at 0.
    """
    n, box, _ = images.shape
    axis = torch.linspace(-1, 1, box, device=images.device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    basis = torch.stack([torch.ones_like(x), x, y], dim=-1).reshape(-1, 3)
    weight = background.reshape(1, -1) if usable is None else (background & usable).reshape(n, -1)
    weight = weight.expand(n, -1).to(images.dtype)
    flat = images.reshape(n, -1)
    normal = torch.einsum("np,pi,pj->nij", weight, basis, basis)
    normal = normal + 1e-6 * box**2 * torch.eye(3, device=images.device)  # a background of few pixels stays solvable
    plane = torch.linalg.solve(normal, torch.einsum("np,pi->ni", weight * flat, basis))
    flat = flat - plane @ basis.T
    deviation = torch.sqrt((weight * flat**2).sum(1) / weight.sum(1).clamp(min=1))
    flat = torch.where(deviation[:, None] > 0, flat / deviation.clamp(min=1e-20)[:, None], 0.0)
    return flat.reshape(images.shape)


def _inside(
    shape: torch.Size, x: Tensor, y: Tensor, box_px: int, diameter_px: float, settings: ExtractSettings
) -> Tensor:
    """Mark the positions whose particle is inside the micrograph and whose box is so for the most part."""
    radius = diameter_px / 2

    def part_inside(centre: Tensor, length: int) -> Tensor:
        low, high = centre - box_px / 2, centre + box_px / 2
        return (high.clamp(max=length) - low.clamp(min=0)).clamp(min=0) / box_px

    clear = (x >= radius) & (y >= radius) & (x <= shape[1] - 1 - radius) & (y <= shape[0] - 1 - radius)
    return clear & (part_inside(x, shape[1]) * part_inside(y, shape[0]) >= 1 - settings.max_outside)


def _cut(image: Tensor, y: Tensor, x: Tensor, box_px: int) -> tuple[Tensor, Tensor]:
    """Return windows ``(n, b, b)`` about the nearest whole pixels, and which of their pixels are in the micrograph."""
    offset = torch.arange(box_px, device=image.device) - box_px // 2
    rows = y.round().long()[:, None] + offset
    columns = x.round().long()[:, None] + offset
    row_in, column_in = (rows >= 0) & (rows < image.shape[0]), (columns >= 0) & (columns < image.shape[1])
    rows, columns = rows.clamp(0, image.shape[0] - 1), columns.clamp(0, image.shape[1] - 1)
    return image[rows[:, :, None], columns[:, None, :]], row_in[:, :, None] & column_in[:, None, :]


def _cleaned(
    windows: Tensor, inside: Tensor, background: Tensor, settings: ExtractSettings, generator: torch.Generator
) -> Tensor:
    """Invert, normalise, and put noise in the place of dust and of what is outside."""
    images = normalise(-windows, background, inside)
    clean = inside & ~_dust(images, background, settings.dust_sigma)
    images = normalise(images, background, clean)  # dust had widened the standard deviation
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    return torch.where(clean, images, noise)


def _dust(images: Tensor, background: Tensor, sigma: float) -> Tensor:
    """Mark outliers of normalised images ``(n, b, b)``: background against background, particle against particle.

    Were both held against the background, a particle of high contrast would be taken for dust.
    """
    particle = images[:, ~background]
    centre, spread = particle.mean(1)[:, None, None], particle.std(1)[:, None, None].clamp(min=1.0)
    return torch.where(background, images.abs() > sigma, (images - centre).abs() > sigma * spread)


def _centre_and_crop(images: Tensor, move_y: Tensor, move_x: Tensor, box_px: int) -> Tensor:
    """Shift images ``(n, b, b)`` by minus a fraction of a pixel and crop them in Fourier space to a box."""
    raw = images.shape[-1]
    spectrum = torch.fft.rfft2(images)
    half = box_px // 2
    spectrum = torch.cat([spectrum[:, :half], spectrum[:, -half:]], dim=1)[:, :, : half + 1]
    ky = torch.fft.fftfreq(box_px, 1 / box_px, device=images.device) / raw
    kx = torch.arange(half + 1, device=images.device) / raw
    turn = ky[:, None] * move_y.float()[:, None, None] + kx * move_x.float()[:, None, None]
    spectrum = spectrum * torch.polar(torch.ones_like(turn), 2 * torch.pi * turn)
    cropped: Tensor = torch.fft.irfft2(spectrum, s=(box_px, box_px)) * (box_px / raw) ** 2
    return cropped
