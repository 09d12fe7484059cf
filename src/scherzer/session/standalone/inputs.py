"""Everything that a command over a table of particles is given, checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scherzer.formats.errors import BadInput
from scherzer.formats.star import StarTable
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.session.acquisition import Acquisition, check_ranges, stated
from scherzer.session.checks import checked_symmetry
from scherzer.session.keys import fingerprint
from scherzer.session.stages.particle_sets import Locate, extent_A, read_particles
from scherzer.session.standalone.half_sets import Grouping, grouping_of
from scherzer.session.standalone.images import look_at, preparation
from scherzer.session.standalone.particle_table import ignored_labels, read_particle_table
from scherzer.session.standalone.stacks import find_stacks


@dataclass(frozen=True)
class ParticleInput:
    """A table of particles that can be used.

    Attributes
    ----------
    path : Path
        The STAR file.
    table : StarTable
        Its n particles, each with its half-set; all else as in the file.
    files : dict of str to Path
        Where each stack lies.
    grouping : Grouping
        Micrographs and half-sets.
    symmetry : str
        Point group.
    diameter_A : float
        Of the particle.
    invert : bool
        Protein is dark in the images, as the user says.
    """

    path: Path
    table: StarTable
    files: dict[str, Path]
    grouping: Grouping
    symmetry: str
    diameter_A: float
    invert: bool

    @property
    def locate(self) -> Locate:
        """Takes a stack's name to its file."""
        return self.files.__getitem__

    @property
    def box_px(self) -> int:
        """Of the images."""
        return int(self.table.optics["rlnImageSize"].iloc[0])

    @property
    def pixel_size_A(self) -> float:
        """Of the images."""
        return float(self.table.optics["rlnImagePixelSize"].iloc[0])

    @property
    def extent_A(self) -> float:
        """Side of the images, A."""
        return extent_A(self.table)

    def described(self) -> dict[str, object]:
        """Return what tells this input from another."""
        return {
            "particles": fingerprint(self.path.absolute()),
            "stacks": [fingerprint(file) for file in sorted(set(self.files.values()))],
            "symmetry": self.symmetry,
            "diameter_A": self.diameter_A,
            "invert": self.invert,
        }


def particle_input(path: Path, symmetry: str | None, diameter_A: float | None, invert: bool = False) -> ParticleInput:
    """Read and check a table of particles and its stacks' headers.

    Raises
    ------
    BadInput
        Naming what is wrong with the table, a stack or an option.
    """
    group = checked_symmetry(symmetry or "C1")
    acquisition = Acquisition(diameter_A=diameter_A)
    check_ranges(acquisition)
    if diameter_A is None:
        raise BadInput("particle diameter", "not given", "give --diameter in A")
    table = read_particle_table(path)
    files = find_stacks(path, table)
    grouping = grouping_of(path, table)
    table = table.with_rows(table.rows.assign(rlnRandomSubset=grouping.half))
    found = ParticleInput(path, table, files, grouping, group, stated(acquisition, "diameter_A"), invert)
    if found.diameter_A >= found.extent_A:
        problem = f"{diameter_A:g} A is more than the images' {found.extent_A:.0f} A"
        raise BadInput("--diameter", problem, "give the particle's diameter, or extract a larger box")
    return found


def load(given: ParticleInput, box: int | None = None) -> tuple[ParticleSet, tuple[str, ...]]:
    """Load the particles of an input, normalised and with white protein.

    Parameters
    ----------
    given : ParticleInput
        n particles.
    box : int, optional
        Largest box to keep, px.

    Returns
    -------
    particles : ParticleSet
        As everything here takes them.
    notes : tuple of str
        What a person should know of them.
    """
    findings = look_at(given.table, given.locate, given.diameter_A)
    notes = [*given.grouping.notes]
    ignored = ignored_labels(given.table)
    if ignored:
        notes.append(f"ignored: {', '.join(ignored)}")
    if not findings.normalised:
        notes.append("the images are not normalised; done here, on the background around the particle")
    if findings.inverted != given.invert and (findings.inverted or findings.blob_sigma > 0):
        shade, advice = ("dark", "give --invert") if findings.inverted else ("white already", "leave out --invert")
        notes.append(f"protein looks {shade} ({findings.blob_sigma:.0f} standard errors): {advice}")
    prepare = preparation(findings.normalised, given.invert, given.diameter_A / 2 / given.pixel_size_A)
    read = partial(read_particles, given.table, given.locate, box=box, micrograph=given.grouping.micrograph)
    return read(prepare=prepare), tuple(notes)
