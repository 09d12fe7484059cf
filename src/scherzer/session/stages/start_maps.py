"""The maps from which a refinement can start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import read_mrc
from scherzer.session.complete import has_run
from scherzer.session.folder import Session
from scherzer.session.keys import fingerprint
from scherzer.session.settings import SessionSettings

ABINITIO_MAP = "abinitio/map.mrc"


@dataclass(frozen=True)
class StartMap:
    """A map on disk.

    Attributes
    ----------
    name : str
        Folder of the refinement that starts from it.
    words : str
        For the report.
    path : Path
        MRC volume.
    is_model : bool
        The user gave it, so that it is worth comparing with.
    """

    name: str
    words: str
    path: Path
    is_model: bool

    def read(self) -> tuple[Tensor, float]:
        """Read the volume ``(s, s, s)``, s even, and its voxel size, A.

        Raises
        ------
        BadInput
            If it cannot be read, has no voxel size or shows nothing.
        """
        content = read_mrc(self.path)
        if content.pixel_size_A is None or content.data.ndim != 3:
            raise BadInput(self.path, "is not a map with a voxel size", "give an MRC volume with its voxel size set")
        volume = torch.from_numpy(content.data)
        if float(volume.max()) == float(volume.min()):
            raise BadInput(self.path, "holds one value everywhere", "give a map of a particle")
        if volume.shape[-1] % 2:
            volume = pad(volume, (1, 0) * 3)  # keeps the centre pixel, n // 2, where it is
        return volume, content.pixel_size_A

    def key(self) -> list[object]:
        """Return what tells this start from another; a map made in this session is told by its stage."""
        return [self.name, fingerprint(self.path) if self.is_model else ""]


def start_maps(session: Session, settings: SessionSettings) -> list[StartMap]:
    """Return the start maps, the one on which the session's results rest first.

    Raises
    ------
    BadInput
        If there is none.
    """
    found = []
    given = settings.acquisition.initial_map
    if given is not None:
        found.append(StartMap("all", f"the given map {Path(given).name}", Path(given), is_model=True))
    if has_run(session, "abinitio"):
        own = session.absolute(ABINITIO_MAP)
        name = "all_from_abinitio" if found else "all"
        found.append(StartMap(name, "ab initio map of the selected particles", own, is_model=False))
    if not found:
        raise BadInput("refine", "there is no start map", "see why ab initio made none, or give --initial-map")
    return found
