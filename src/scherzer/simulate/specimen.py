"""The specimen: its atoms, ready to be projected in any orientation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from scherzer.formats.models import Atoms, read_atoms
from scherzer.physics.scattering import ScatteringGroup, potential_volume, scattering_groups
from scherzer.physics.splatting import fine_box, splat, to_coarse_rfft
from scherzer.simulate.phantom import phantom_atoms
from scherzer.simulate.settings import SpecimenSettings

# Room around the atoms for the tails of their potential, A.
MARGIN_A = 12.0
# Particles projected at once; bounds the memory of large models.
BATCH = 16


@dataclass(frozen=True)
class Specimen:
    """A particle.

    Attributes
    ----------
    atoms : Atoms
        The whole particle.
    groups : list of ScatteringGroup
        Its atoms by form factor, centred.
    radius_A : float
        Distance of the outermost atom from the centre.
    """

    atoms: Atoms
    groups: list[ScatteringGroup]
    radius_A: float

    def box_px(self, pixel_size_A: float) -> int:
        """Even box that holds the particle in every orientation."""
        return 2 * int(np.ceil((self.radius_A + MARGIN_A) / pixel_size_A))

    def fragment(self) -> Specimen:
        """Return a broken particle: what lies on one side of a slanted plane."""
        direction = torch.tensor([0.48, 0.60, 0.64])
        groups = []
        for group in self.groups:
            chosen = group.positions_A @ direction > 0.15 * self.radius_A
            groups.append(replace(group, positions_A=group.positions_A[chosen], occupancies=group.occupancies[chosen]))
        return replace(self, groups=groups)

    def map(self, pixel_size_A: float) -> Tensor:
        """Return the potential above ice, V, as ``(b, b, b)`` in a box twice the particle's radius and margins."""
        return potential_volume(self.atoms, self.box_px(pixel_size_A), pixel_size_A)


def load_specimen(settings: SpecimenSettings) -> Specimen:
    """Read the model, or build the phantom where there is none.

    Raises
    ------
    BadInput
        If the model cannot be read.
    """
    if settings.model is not None:
        atoms = read_atoms(settings.model)
    else:
        atoms = phantom_atoms(settings.symmetry, settings.diameter_A)
    groups = scattering_groups(atoms)
    radius_A = max(float(group.positions_A.norm(dim=1).max()) for group in groups)
    return Specimen(atoms, groups, radius_A)


def project(specimen: Specimen, rotations: Tensor, offsets_px: Tensor, box: int, pixel_size_A: float) -> Tensor:
    """Project the potential along the beam.

    Parameters
    ----------
    specimen : Specimen
        What is projected.
    rotations : Tensor
        ``(n, 3, 3)``, image frame to specimen frame (:func:`scherzer.geometry.rotations.from_euler`, RELION's angles).
    offsets_px : Tensor
        ``(n, 2)``, x and y of the particle's centre from the pixel ``box // 2``.
    box : int
        Even.
    pixel_size_A : float
        Pixel size.

    Returns
    -------
    Tensor
        ``(n, box, box // 2 + 1)`` transforms (origin at pixel 0, so the inverse transform is the image, centred on
        ``box // 2``) of the projected potential in V A.
    """
    transforms = [
        _project_batch(specimen, rotations[start : start + BATCH], offsets_px[start : start + BATCH], box, pixel_size_A)
        for start in range(0, len(rotations), BATCH)
    ]
    return torch.cat(transforms) if transforms else torch.zeros((0, box, box // 2 + 1), dtype=torch.complex64)


def _project_batch(specimen: Specimen, rotations: Tensor, offsets_px: Tensor, box: int, pixel_size_A: float) -> Tensor:
    fine = fine_box(box)
    scale = fine / box
    k = torch.fft.fftfreq(box, pixel_size_A)
    half = torch.arange(box // 2 + 1) / (box * pixel_size_A)
    k2 = k[:, None] ** 2 + half**2
    total = torch.zeros((len(rotations), box, box // 2 + 1), dtype=torch.complex64)
    centre = (offsets_px + box // 2) * scale
    for group in specimen.groups:
        # The rotation's columns are the image's axes in the specimen, so a scalar product gives image coordinates.
        points = torch.einsum("pi,nij->npj", group.positions_A, rotations[:, :, :2]) * (scale / pixel_size_A)
        grid = splat(points + centre[:, None], group.occupancies, fine)
        total += to_coarse_rfft(grid, box, 2) * group.form_factor_V_A3(k2)
    return total / pixel_size_A**2
