"""Homogeneous refinement of two independent half-sets from one start map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from scherzer.likelihood.particle_set import ParticleSet
from scherzer.maps.fsc import FscCurves, fsc_curves
from scherzer.maps.masks import solvent_mask
from scherzer.maps.refinement_round import State, Task, first_state, make_task, next_state
from scherzer.maps.refinement_state import key_of, load_state, save_state
from scherzer.maps.settings import RefineSettings
from scherzer.maps.sharpening import Guinier, guinier, sharpen
from scherzer.maps.tie import FREEDOMS

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Refinement:
    """A refined map with its evidence.

    Attributes
    ----------
    volume : Tensor
        ``(b, b, b)`` mean of the half-maps.
    half_maps : Tensor
        ``(2, b, b, b)``, unmasked and unfiltered.
    sharpened, mask : Tensor
        ``(b, b, b)``.
    pixel_size_A : float
        Of the maps.
    fsc : FscCurves
        Of the half-maps.
    resolution_fsc143_A, resolution_fsc05_A : float or None
        Where the corrected curve crosses.
    guinier : Guinier
        With the B-factor.
    rotations : Tensor
        ``(n, 3, 3)`` image frame to volume frame.
    shift_A : Tensor
        ``(n, 2)`` where the particle lies from the centre of its image, x and y; RELION's origin is its negative.
    score : Tensor
        ``(n,)`` log likelihood gain over "no particle".
    history_A : list of float or None
        Resolution that each round allowed the next one's band, before the limit of the settings.
    tied : str
        Along what the half-maps were kept on one another, in words; empty where the symmetry fixes them.
    """

    volume: Tensor
    half_maps: Tensor
    sharpened: Tensor
    mask: Tensor
    pixel_size_A: float
    fsc: FscCurves
    resolution_fsc143_A: float | None
    resolution_fsc05_A: float | None
    guinier: Guinier
    rotations: Tensor
    shift_A: Tensor
    score: Tensor
    history_A: list[float | None]
    tied: str = ""


def refine(
    particles: ParticleSet,
    start: Tensor,
    start_pixel_size_A: float,
    symmetry: str,
    diameter_A: float,
    settings: RefineSettings | None = None,
    mask: Tensor | None = None,
    progress: Progress | None = None,
    state_file: Path | None = None,
) -> Refinement:
    """Refine a map from particles.

    The two half-sets share the start map up to ``settings.start_resolution_A`` and nothing else.

    Parameters
    ----------
    particles : ParticleSet
        n particles, both halves present.
    start : Tensor
        ``(s, s, s)`` start map, protein positive, any grey scale.
    start_pixel_size_A : float
        Of the start map.
    symmetry : str
        Point group in RELION's setting.
    diameter_A : float
        Of the particle.
    settings : RefineSettings, optional
        Rounds, limits, seed.
    mask : Tensor, optional
        ``(b, b, b)`` fixed mask for the FSC; without it one is made from the result.
    progress : callable, optional
        Called with the finished fraction and a few words.
    state_file : Path, optional
        Where the state is kept after each round; one of the same particles and settings is gone on from. Removed in
        the end.

    Raises
    ------
    ValueError
        If the symmetry is unknown or a half-set is empty.
    """
    settings = settings or RefineSettings()
    task = make_task(particles, symmetry, diameter_A, settings)
    key = key_of(task, start, start_pixel_size_A) if state_file else ""
    kept = load_state(state_file, key, task.device) if state_file else None
    state, history = kept or (first_state(task, start, start_pixel_size_A), [])
    for number in range(len(history), settings.iterations):
        state = next_state(task, state, number)
        history.append(state.resolution_A)
        if state_file:
            save_state(state_file, key, state, history)
        if progress:
            progress((number + 1) / settings.iterations, f"round {number + 1}, {state.resolution_A:.1f} A")
    result = _finish(task, particles.half, state, mask, history)
    if state_file:
        state_file.unlink(missing_ok=True)
    return result


def _finish(task: Task, half: Tensor, state: State, mask: Tensor | None, history: list[float | None]) -> Refinement:
    """Measure the maps of the last round."""
    pixel_size_A, settings = task.halves[0].pixel_size_A, task.settings
    half_maps = torch.stack(state.volumes)
    mean = half_maps.mean(0)
    if mask is None:
        mask = solvent_mask(mean * task.sphere(len(mean)), pixel_size_A, task.diameter_A, state.reached_A)
    curves = fsc_curves(half_maps[0], half_maps[1], mask, pixel_size_A, settings.seed)
    at143, at05 = curves.resolution_A(0.143), curves.resolution_A(0.5)
    slope = guinier(mean * mask, pixel_size_A, curves.corrected, at143)
    poses = [found.best() for found in state.found]
    back = torch.argsort(torch.cat([torch.nonzero(half == number)[:, 0] for number in (1, 2)]))
    return Refinement(
        volume=mean,
        half_maps=half_maps,
        sharpened=sharpen(mean, pixel_size_A, slope.bfactor_A2, curves.corrected, at143) * mask,
        mask=mask,
        pixel_size_A=pixel_size_A,
        fsc=curves,
        resolution_fsc143_A=at143,
        resolution_fsc05_A=at05,
        guinier=slope,
        rotations=torch.cat([p.rotations for p in poses])[back],
        shift_A=torch.cat([p.shift_px for p in poses])[back] * pixel_size_A,
        score=torch.cat([p.score for p in poses])[back],
        history_A=history,
        tied=FREEDOMS[task.freedom],
    )
