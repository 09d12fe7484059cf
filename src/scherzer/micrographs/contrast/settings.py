"""Which weights the contrast classifier works with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from scherzer.formats.errors import BadInput
from scherzer.micrographs.contrast.weights_file import shipped

SHIPPED = shipped("contrast.safetensors")


@dataclass(frozen=True)
class ContrastSettings:
    """How micrographs are sorted by contrast.

    Attributes
    ----------
    weights : str or None
        Path of weights that ``scherzer contrast train`` wrote; the shipped ones when None.
    """

    weights: str | None = None


def sha256_of(weights: Path) -> str:
    """Return the digest of a file of weights, by which results tell them from others.

    Raises
    ------
    BadInput
        If it cannot be read.
    """
    try:
        return hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError:
        problem = "cannot be read" if weights.exists() else "no such file"
        raise BadInput(weights, problem, "give the contrast.safetensors of 'scherzer contrast train'") from None
