"""The one form in which 2D classification, ab initio and refinement take particles."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from scherzer.fourier.crop import resize_rfft
from scherzer.fourier.grids import centred_rfft2
from scherzer.physics.ctf import CtfParameters


@dataclass(frozen=True)
class ParticleSet:
    """Particle images in Fourier space with what is known of each.

    Attributes
    ----------
    transforms : Tensor
        ``(n, b, b // 2 + 1)`` complex64, centred transforms of the normalised images (protein white).
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
    """

    transforms: Tensor
    ctf: CtfParameters
    pixel_size_A: float
    micrograph: Tensor
    half: Tensor
    optics_group: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    scale: Tensor = field(default_factory=lambda: torch.zeros(0))

    def __post_init__(self) -> None:
        if len(self.optics_group) != len(self.half):
            object.__setattr__(self, "optics_group", torch.zeros_like(self.half))
        if len(self.scale) != len(self.half):
            object.__setattr__(self, "scale", torch.ones_like(self.half, dtype=torch.float32))

    @classmethod
    def from_images(
        cls, images: Tensor, ctf: CtfParameters, pixel_size_A: float, micrograph: Tensor, half: Tensor
    ) -> ParticleSet:
        """Transform ``(n, b, b)`` images, b even."""
        return cls(centred_rfft2(images), ctf, pixel_size_A, micrograph, half)

    def __len__(self) -> int:
        return len(self.transforms)

    def __getitem__(self, index: Tensor) -> ParticleSet:
        return ParticleSet(
            self.transforms[index],
            self.ctf[index],
            self.pixel_size_A,
            self.micrograph[index],
            self.half[index],
            self.optics_group[index],
            self.scale[index],
        )

    @property
    def box(self) -> int:
        """Box of the images, px."""
        return self.transforms.shape[-2]

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
        transforms = resize_rfft(self.transforms, box, 2) * (box / self.box)
        return replace(self, transforms=transforms, pixel_size_A=self.extent_A / box)

    def to(self, device: torch.device | str) -> ParticleSet:
        """Return the particles on a device."""
        return ParticleSet(
            self.transforms.to(device),
            self.ctf.to(device),
            self.pixel_size_A,
            self.micrograph.to(device),
            self.half.to(device),
            self.optics_group.to(device),
            self.scale.to(device),
        )
