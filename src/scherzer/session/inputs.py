"""From what a user types to the list of exposures, and what their headers say."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scherzer.formats.errors import BadInput
from scherzer.formats.movies import EXPOSURE_SUFFIXES, exposure_stem, is_exposure, open_exposure
from scherzer.session.acquisition import QUANTITIES

# Programs that do not know the pixel size write 0 or 1.
UNSET_PIXEL_SIZES_A = (0.0, 1.0)


def exposure_paths(inputs: Sequence[str], root: Path | None = None) -> list[Path]:
    """Return the exposures meant by files, folders and quoted patterns: absolute, each once, in the order given.

    Parameters
    ----------
    inputs : sequence of str
        As typed, or as ``session.yaml`` has them.
    root : Path, optional
        To which relative ones are meant; the working folder when not given.

    Raises
    ------
    BadInput
        If one of them means nothing.
    """
    paths: dict[Path, None] = {}
    for entry in inputs:
        # Symbolic links are kept as they are: the name a user sees is the name of the link.
        for path in _expanded(entry, root or Path()):
            paths[Path(os.path.abspath(path))] = None
    if not paths:
        raise BadInput("INPUT", "no exposures given", "name files, folders or quoted patterns such as 'movies/*.tiff'")
    return list(paths)


def _expanded(entry: str, root: Path) -> list[Path]:
    path = root / Path(entry).expanduser()
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if is_exposure(file))
        if not found:
            raise BadInput(entry, "no exposures in this folder", f"they must end in {', '.join(EXPOSURE_SUFFIXES)}")
        return found
    if path.exists():
        return [path]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    if not matches:
        raise BadInput(entry, "no such file or folder, and no file matches it", "check the name")
    return matches


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each exposure: its file name without ending, lengthened by its folders where two are alike."""
    names = ["_".join(exposure_stem(path).split()) for path in paths]
    for depth in range(1, max(len(path.parts) for path in paths)):
        counts = Counter(names)
        if len(counts) == len(names):
            break
        names = [
            name if counts[name] == 1 else "_".join([*path.parts[-1 - depth : -1], path.name.replace(".", "_")])
            for path, name in zip(paths, names, strict=True)
        ]
    return names


def header_pixel_size_A(paths: Sequence[Path]) -> float | None:
    """Return the pixel size that most headers agree on, None where they say nothing believable."""
    found: Counter[float] = Counter()
    for path in paths:
        try:
            value = open_exposure(path).pixel_size_A
        except BadInput:
            continue  # the import stage names this file and its reason
        if believable_pixel_size(value):
            found[round(float(value or 0), 4)] += 1
    return found.most_common(1)[0][0] if found else None


def believable_pixel_size(value: float | None) -> bool:
    """Return whether a header's pixel size can be an electron microscope's."""
    quantity = QUANTITIES["pixel_size_A"]
    return value is not None and value not in UNSET_PIXEL_SIZES_A and quantity.low <= value <= quantity.high
