"""Small exposures on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scherzer.formats.mrc import write_mrc


def write_micrograph(path: Path, seed: int = 0, side: tuple[int, int] = (96, 128), pixel_size_A: float = 1.5) -> Path:
    image = np.random.default_rng(seed).normal(size=side).astype(np.float32)
    write_mrc(path, image, pixel_size_A, "image")
    return path


@pytest.fixture
def exposures(tmp_path: Path) -> Path:
    """Return a folder of three sound micrographs."""
    folder = tmp_path / "data"
    for seed in range(3):
        write_micrograph(folder / f"mic_{seed}.mrc", seed)
    return folder


@pytest.fixture
def mixed(exposures: Path) -> Path:
    """Add to them a text file, a truncated one, an empty one, one of another size and one of another magnification."""
    (exposures / "text.mrc").write_text("not an image\n" * 200)
    whole = (exposures / "mic_0.mrc").read_bytes()
    (exposures / "cut.mrc").write_bytes(whole[: len(whole) // 2])
    write_mrc(exposures / "zero.mrc", np.zeros((96, 128), np.float32), 1.5, "image")
    write_micrograph(exposures / "square.mrc", 9, side=(100, 100))
    write_micrograph(exposures / "zoomed.mrc", 8, pixel_size_A=2.5)
    return exposures
