"""A refinement's state between rounds, kept in a file so that an interrupted one goes on where it was."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scherzer.formats.atomic import atomic_path
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.maps.pose_search import WeightedPoses
from scherzer.maps.refinement_round import State, Task

_POSES = tuple(field.name for field in fields(WeightedPoses))


def key_of(task: Task, start: Tensor, start_pixel_size_A: float) -> str:
    """Return a key of everything that a refinement's result depends on; of the images, their lowest frequencies."""
    digest = hashlib.sha256(repr((task.settings, task.diameter_A, start_pixel_size_A, task.extent_A)).encode())
    for tensor in (task.group, start, *(t for part in task.halves for t in _tensors(part))):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tensors(part: ParticleSet) -> Iterator[Tensor]:
    yield from (block.spectra()[:, :2] for block in part.blocks())
    ctf = [getattr(part.ctf, field.name) for field in fields(part.ctf)]
    yield from (value for value in ctf if isinstance(value, Tensor))
    yield from (part.micrograph, part.optics_group, part.scale)


def save_state(path: Path, key: str, state: State, history: list[float | None]) -> None:
    """Write what the next round needs, in one move."""
    content = {
        "key": key,
        "history_A": history,
        "volumes": state.volumes,
        "noise": state.noise,
        "found": [[getattr(found, name) for name in _POSES] for found in state.found],
        "scale": state.scale,
        "resolution_A": state.resolution_A,
        "reached_A": state.reached_A,
    }
    with atomic_path(path) as beside:
        torch.save(content, beside)


def load_state(path: Path, key: str, device: torch.device) -> tuple[State, list[float | None]] | None:
    """Read what :func:`save_state` wrote; None where there is nothing, nothing readable, or another refinement's."""
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        return None
    if not isinstance(content, dict) or content.get("key") != key:
        return None
    found = [WeightedPoses(*tensors) for tensors in content["found"]]
    plain = [content[name] for name in ("scale", "resolution_A", "reached_A")]
    state = State(content["volumes"], content["noise"], found, *plain)
    return state, content["history_A"]
