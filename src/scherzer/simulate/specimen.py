"""The specimen: its atoms, ready to be projected in any orientation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from scherzer.formats.models import Atoms, read_atoms
from scherzer.physics.common_factors import common_factors
from scherzer.physics.potential import potential_volume
from scherzer.physics.scattering import Scatterers, scatterers
from scherzer.physics.splatting import fine_box, kernel_correction, splat, to_coarse_rfft
from scherzer.simulate.flexibility import draw_deformations, polynomial_terms
from scherzer.simulate.membrane_phantom import membrane_atoms
from scherzer.simulate.phantom import phantom_atoms
from scherzer.simulate.settings import SpecimenSettings

# Room around the atoms for the tails of their potential, A.
MARGIN_A = 12.0
# Ways in which a particle breaks: every second one is cut in two, the others lose a lobe.
FRAGMENT_KINDS = 8
HALF_KEEPS = (0.35, 0.65)
LOBE_LOST_KEEPS = (0.65, 0.85)


@dataclass(frozen=True, eq=False)
class Specimen:
    """A particle; equal only to itself.

    Attributes
    ----------
    atoms : Atoms
        The whole particle.
    scatterers : Scatterers
        The atoms that are projected, centred.
    radius_A : float
        Distance of the outermost atom from the centre.
    flexibility_A : float
        Root mean square displacement of the atoms from particle to particle.
    contrast : float
        Factor of the potential above ice.
    """

    atoms: Atoms
    scatterers: Scatterers
    radius_A: float
    flexibility_A: float = 0.0
    contrast: float = 1.0

    def box_px(self, pixel_size_A: float, room_A: float = 0.0) -> int:
        """Even box, fast to transform, that holds the particle in every orientation with some room on every side."""
        reach_A = self.radius_A + 3 * self.flexibility_A + MARGIN_A + room_A
        return 2 * int(next_fast_len(int(np.ceil(reach_A / pixel_size_A)), real=True))

    def fragment(self, kind: int = 0) -> Specimen:
        """Return a broken particle.

        Parameters
        ----------
        kind : int
            From 0 to :data:`FRAGMENT_KINDS` - 1: even ones are cut by a plane, odd ones have lost a lobe at the rim.
        """
        return _fragment(self, kind)

    def draw_deformations(self, rng: np.random.Generator, count: int) -> Tensor | None:
        """Draw the shapes of flexible particles for :func:`project`; None where the particle is rigid."""
        if self.flexibility_A == 0:
            return None
        return draw_deformations(rng, count, self.scatterers.positions_A, self.flexibility_A)

    def map(self, pixel_size_A: float) -> Tensor:
        """Return the potential above ice, V, as ``(b, b, b)`` in a box twice the particle's radius and margins."""
        return self.contrast * potential_volume(self.atoms, self.box_px(pixel_size_A), pixel_size_A)


def load_specimen(settings: SpecimenSettings) -> Specimen:
    """Read the model, or build the phantom where there is none.

    Raises
    ------
    BadInput
        If the model cannot be read, or no such phantom can be built.
    """
    if settings.model is not None:
        atoms = read_atoms(settings.model, settings.chains, settings.assembly)
    elif settings.phantom == "membrane":
        atoms = membrane_atoms(settings.symmetry, settings.diameter_A)
    else:
        atoms = phantom_atoms(settings.symmetry, settings.diameter_A)
    return specimen_of(atoms, settings.flexibility_A, settings.contrast)


def specimen_of(atoms: Atoms, flexibility_A: float = 0.0, contrast: float = 1.0) -> Specimen:
    """Make a specimen of atoms; its centre is their centre of mass."""
    particle = scatterers(atoms)
    return Specimen(atoms, particle, float(particle.positions_A.norm(dim=1).max()), flexibility_A, contrast)


@lru_cache(maxsize=4 * FRAGMENT_KINDS)
def _fragment(specimen: Specimen, kind: int) -> Specimen:
    rng = np.random.default_rng(kind)
    direction = torch.from_numpy(rng.normal(size=3)).float()
    direction /= direction.norm()
    positions_A = specimen.scatterers.positions_A
    if kind % 2:
        share, order = rng.uniform(*LOBE_LOST_KEEPS), -(positions_A - 0.9 * specimen.radius_A * direction).norm(dim=1)
    else:
        share, order = rng.uniform(*HALF_KEEPS), positions_A @ direction
    chosen = torch.argsort(order, stable=True)[: max(1, round(share * len(order)))].sort().values
    return replace(specimen, scatterers=specimen.scatterers.only(chosen))


def project(
    specimen: Specimen,
    rotations: Tensor,
    offsets_px: Tensor,
    box: int,
    pixel_size_A: float,
    deformations: Tensor | None = None,
) -> Tensor:
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
    deformations : Tensor, optional
        ``(n, 10, 3)`` from :meth:`Specimen.draw_deformations`.

    Returns
    -------
    Tensor
        ``(n, box, box // 2 + 1)`` transforms (origin at pixel 0, so the inverse transform is the image, centred on
        ``box // 2``) of the projected potential in V A.
    """
    particle, fine = specimen.scatterers, fine_box(box)
    weights, curves = _common(particle, box, pixel_size_A)
    curves = specimen.contrast * curves
    # The rotation's columns are the image's axes in the specimen, so a scalar product gives image coordinates.
    axes = rotations[:, :, :2] * (fine / box / pixel_size_A)
    if deformations is None:
        terms, maps = particle.positions_A, axes
    else:
        terms, maps = polynomial_terms(particle.positions_A), deformations @ axes
    centres = (offsets_px + box // 2) * (fine / box)
    transforms = torch.zeros((len(rotations), box, box // 2 + 1), dtype=torch.complex64)
    for number, (to_image, centre) in enumerate(zip(maps, centres, strict=True)):
        grids = splat(terms @ to_image + centre, weights, fine)
        transforms[number] = (to_coarse_rfft(grids, box, 2) * curves).sum(0)
    return transforms


@lru_cache(maxsize=4 * FRAGMENT_KINDS)
def _common(particle: Scatterers, box: int, pixel_size_A: float) -> tuple[Tensor, Tensor]:
    """Return the atoms' weights ``(p, c)`` and what to multiply the transforms of their c grids with."""
    factors = common_factors(particle, 0.5 / pixel_size_A)
    weights = factors.weights(particle)
    k = torch.fft.fftfreq(box, pixel_size_A)
    radius = torch.hypot(k[:, None], k[: box // 2 + 1])
    curves = torch.stack([factors.at(radius, number) for number in range(weights.shape[1])])
    return weights, curves * (kernel_correction(box, fine_box(box), 2) / pixel_size_A**2)
