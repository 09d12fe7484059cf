"""Refinements of subsets for the study: one start, one mask, none repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from scherzer.formats.atomic import write_text
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.maps.refinement import refine
from scherzer.maps.settings import RefineSettings
from scherzer.session.stages.map_files import MAP_FILES, write_map_files
from scherzer.session.stages.refined import no_refinement, numbers_of
from scherzer.study.refined import Indices, RefinedSubset, subset_key


@dataclass(frozen=True)
class SubsetRefiner:
    """Refines rows of the extracted particles.

    Attributes
    ----------
    particles : ParticleSet
        All extracted particles.
    start : Tensor or None
        ``(s, s, s)`` map from which every subset starts; None where no map was reached, so that nothing can be refined.
    start_pixel_size_A : float
        Of it.
    mask : Tensor or None
        ``(b, b, b)``, one for all subsets, or a difference between masks would pass for one between maps.
    symmetry, diameter_A, settings
        As for the map of all particles.
    folders : mapping of str to Path
        Where the maps of a subset are kept, by `subset_key`; those of other subsets are not kept.
    root : Path
        Of the session.
    """

    particles: ParticleSet
    start: Tensor | None
    start_pixel_size_A: float
    mask: Tensor | None
    symmetry: str
    diameter_A: float
    settings: RefineSettings
    folders: Mapping[str, Path]
    root: Path

    def __call__(self, indices: Indices) -> RefinedSubset:
        """Refine a subset; one that lies in one half-set only has no map."""
        subset = self.particles[torch.from_numpy(indices)]
        if self.start is None or len(subset.half.unique()) < 2:
            return no_refinement(subset)
        refined = refine(
            subset, self.start, self.start_pixel_size_A, self.symmetry, self.diameter_A, self.settings, self.mask
        )
        folder, box_px = self.folders.get(subset_key(indices)), len(refined.volume)
        if folder is None:
            return numbers_of(refined, subset, {}, box_px)
        write_map_files(folder, refined, box_px)
        files = {role: str((folder / name).relative_to(self.root)) for role, name in MAP_FILES.items()}
        return numbers_of(refined, subset, files, box_px)


class RefinementCache(MutableMapping[str, RefinedSubset]):
    """Finished refinements of subsets on disk, valid for one key.

    Parameters
    ----------
    folder : Path
        Where they lie.
    key : str
        Of all that the refinements have in common.
    root : Path
        Of the session, to which their files are relative.
    """

    def __init__(self, folder: Path, key: str, root: Path) -> None:
        self._folder, self._key, self._root = folder, key, root

    def __getitem__(self, subset: str) -> RefinedSubset:
        try:
            record = json.loads(self._path(subset).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise KeyError(subset) from None
        if record.get("key") != self._key:
            raise KeyError(subset)
        numbers = RefinedSubset.from_json(record["numbers"])
        if not all((self._root / name).is_file() for name in numbers.files.values()):
            raise KeyError(subset)
        return numbers

    def __setitem__(self, subset: str, numbers: RefinedSubset) -> None:
        write_text(self._path(subset), json.dumps({"key": self._key, "numbers": numbers.to_json()}))

    def __delitem__(self, subset: str) -> None:
        self._path(subset).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in sorted(self._folder.glob("*.json")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, subset: str) -> Path:
        return self._folder / f"{subset}.json"
