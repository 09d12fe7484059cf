"""The numbers of a refinement, as the study takes them and as they lie on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scherzer.formats.atomic import write_text
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.maps.judgement import Judgement
from scherzer.maps.refinement import Refinement
from scherzer.study.refined import RefinedSubset

NUMBERS_FILE = "numbers.json"


def numbers_of(
    refined: Refinement,
    particles: ParticleSet,
    files: Mapping[str, str],
    box_px: int,
    judgement: Judgement | None = None,
) -> RefinedSubset:
    """Return what the study and the results say of a refinement whose maps are written in a box."""
    return RefinedSubset(
        resolution_fsc143_A=refined.resolution_fsc143_A,
        resolution_fsc05_A=refined.resolution_fsc05_A,
        bfactor_A2=refined.guinier.bfactor_A2,
        frequency_per_A=refined.fsc.frequency_per_A.cpu().numpy().astype(np.float64),
        fsc=refined.fsc.corrected.cpu().numpy().astype(np.float64),
        particles=len(particles),
        micrographs=len(particles.micrograph.unique()),
        mean_score=float(refined.score.mean()),
        files=dict(files),
        tied=refined.tied,
        box_px=box_px,
        pixel_size_A=particles.extent_A / box_px,
        structure=None if judgement is None else judgement.to_json(),
    )


def no_refinement(particles: ParticleSet) -> RefinedSubset:
    """Return the numbers of particles that cannot be refined: none is known, and nothing correlates."""
    shells = particles.box // 2 + 1
    return RefinedSubset(
        resolution_fsc143_A=None,
        resolution_fsc05_A=None,
        bfactor_A2=None,
        frequency_per_A=np.arange(shells) / particles.extent_A,
        fsc=np.zeros(shells),
        particles=len(particles),
        micrographs=len(particles.micrograph.unique()),
        mean_score=0.0,
    )


def write_numbers(numbers: RefinedSubset, path: Path) -> None:
    """Write numbers atomically; floats survive exactly."""
    write_text(path, json.dumps(numbers.to_json(), indent=1))


def read_numbers(path: Path) -> RefinedSubset | None:
    """Read numbers; None where there are none that can be read."""
    try:
        return RefinedSubset.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return None
