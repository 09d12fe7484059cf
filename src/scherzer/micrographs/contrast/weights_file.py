"""Weights on disk: safetensors with a version, nothing of which is executed on reading."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scherzer.formats.errors import BadInput


def shipped(name: str) -> Path:
    """Return where weights that come with the package lie."""
    return Path(str(files("scherzer.micrographs.contrast") / "weights" / name))


def read_weights(path: Path, version: int, of: str) -> dict[str, Tensor]:
    """Read weights by name.

    Raises
    ------
    BadInput
        If the file is not there, is no safetensors file, or is of another version.
    """
    try:
        tensors = load_file(path)
    except Exception as error:
        raise BadInput(path, f"holds no weights of the {of}", "train it again") from error
    if int(tensors.get("version", torch.zeros(1))[0]) != version:
        raise BadInput(path, f"holds weights of another version of the {of}", "train it again")
    return tensors


def write_weights(path: Path, version: int, tensors: dict[str, Tensor]) -> None:
    """Write weights by name."""
    content = {"version": torch.tensor([version]), **tensors}
    save_file({name: value.contiguous() for name, value in content.items()}, path)
    path.chmod(0o644)  # safetensors leaves it to its owner alone


def part_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
