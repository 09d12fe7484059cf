"""The one form in which 2D classification, ab initio and refinement take particles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from scherzer.fourier.crop import resize_rfft
from scherzer.fourier.grids import centred_rfft2
from scherzer.physics.ctf import CtfParameters
from scherzer.physics.premultiplied import whitening

BLOCK = 512  # images read, or converted, at a time


@dataclass(frozen=True)
class ParticleSet:
    """Particle images in Fourier space with what is known of each.

    A part of a set holds no copy of its images but their numbers; :meth:`spectra` fetches them.

    Attributes
    ----------
    transforms : Tensor
        ``(N, b, b // 2 + 1)`` complex64, centred transforms of normalised images (protein white), or half as large
        ``(N, b, b // 2 + 1, 2)`` float16 of them over b: see :meth:`compact`.
    ctf : CtfParameters
        Of the n particles.
    pixel_size_A : float
        Of the ``(b, b)`` images.
    micrograph : Tensor
        ``(n,)`` int64, which micrograph a particle lies on.
    half : Tensor
        ``(n,)`` int64, 1 or 2: the half-set, fixed once for the whole study.
    optics_group : Tensor
        ``(n,)`` int64 from 0: particles of one group share a noise spectrum. All 0 where it is not given.
    scale : Tensor
        ``(n,)`` grey scale of the particle, relative to the mean. All 1 where it is not given.
    row : Tensor or None
        ``(n,)`` int64, which of the N images are those of this set; None where all are, in their order.
    premultiplied : bool
        The images had been multiplied by their CTF; their transforms are whitened, see
        :mod:`scherzer.physics.premultiplied`.
    """

    transforms: Tensor
    ctf: CtfParameters
    pixel_size_A: float
    micrograph: Tensor
    half: Tensor
    optics_group: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    scale: Tensor = field(default_factory=lambda: torch.zeros(0))
    row: Tensor | None = None
    premultiplied: bool = False

    def __post_init__(self) -> None:
        if len(self.optics_group) != len(self.half):
            object.__setattr__(self, "optics_group", torch.zeros_like(self.half))
        if len(self.scale) != len(self.half):
            object.__setattr__(self, "scale", torch.ones_like(self.half, dtype=torch.float32))

    @classmethod
    def from_images(
        cls,
        images: Tensor,
        ctf: CtfParameters,
        pixel_size_A: float,
        micrograph: Tensor,
        half: Tensor,
        premultiplied: bool = False,
    ) -> ParticleSet:
        """Transform ``(n, b, b)`` images, b even, and whiten those that were multiplied by their CTF."""
        transforms = centred_rfft2(images)
        if premultiplied:
            box = images.shape[-1]
            ky = torch.fft.fftfreq(box, pixel_size_A, device=images.device)[:, None]
            kx = torch.fft.rfftfreq(box, pixel_size_A, device=images.device)
            transforms = transforms * whitening(ctf, kx, ky, box * pixel_size_A)
        return cls(transforms, ctf, pixel_size_A, micrograph, half, premultiplied=premultiplied)

    def __len__(self) -> int:
        return len(self.half)

    def __getitem__(self, index: Tensor) -> ParticleSet:
        rows = torch.arange(len(self), device=self.device) if self.row is None else self.row
        return ParticleSet(
            self.transforms,
            self.ctf[index],
            self.pixel_size_A,
            self.micrograph[index],
            self.half[index],
            self.optics_group[index],
            self.scale[index],
            rows[index],
            self.premultiplied,
        )

    def spectra(self) -> Tensor:
        """Fetch the transforms of the particles, ``(n, b, b // 2 + 1)`` complex64."""
        found = self.transforms if self.row is None else self.transforms[self.row]
        return found if found.is_complex() else torch.view_as_complex(found.float()).mul_(self.box)

    def blocks(self) -> Iterator[ParticleSet]:
        """Cut the set into parts, each of which fits into memory as complex numbers."""
        for rows in torch.arange(len(self), device=self.device).split(BLOCK):
            yield self[rows]

    @property
    def device(self) -> torch.device:
        """Where everything lies."""
        return self.transforms.device

    @property
    def box(self) -> int:
        """Box of the images, px."""
        return self.transforms.shape[1]

    @property
    def extent_A(self) -> float:
        """Side of the images, A."""
        return self.box * self.pixel_size_A

    def resized(self, box: int) -> ParticleSet:
        """Return the particles Fourier-cropped or padded to another even box of the same extent.

        Transforms are scaled so that white noise keeps its standard deviation per pixel.
        """
        if box == self.box:
            return self
        half = not self.transforms.is_complex()
        return replace(self, transforms=self._stored(box, half), row=None, pixel_size_A=self.extent_A / box)

    def compact(self) -> ParticleSet:
        """Return the particles with their images in float16, whose rounding is a ten-millionth of the noise power."""
        return replace(self, transforms=self._stored(self.box, half=True), row=None)

    def _stored(self, box: int, half: bool) -> Tensor:
        """Images of this set alone, in a box and precision."""
        shape = (len(self), box, box // 2 + 1)
        if half:
            stored = torch.empty((*shape, 2), dtype=torch.float16, device=self.device)
        else:
            stored = torch.empty(shape, dtype=torch.complex64, device=self.device)
        done = 0
        for part in self.blocks():
            found = resize_rfft(part.spectra(), box, 2) * (box / self.box)
            stored[done : done + len(part)] = torch.view_as_real(found / box) if half else found
            done += len(part)
        return stored

    def to(self, device: torch.device | str) -> ParticleSet:
        """Return the particles on a device."""
        return ParticleSet(
            (self.transforms if self.row is None else self.transforms[self.row]).to(device),
            self.ctf.to(device),
            self.pixel_size_A,
            self.micrograph.to(device),
            self.half.to(device),
            self.optics_group.to(device),
            self.scale.to(device),
            premultiplied=self.premultiplied,
        )
