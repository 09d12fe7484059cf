"""Worlds with a known answer: what a study of so many micrographs would see, before any is collected.

A world draws micrographs of each contrast group, gives each a quality, and predicts the FSC of any subset from the
ResLog model, SSNR(k) = N n_sym S q exp(-B k^2 / 2), with N of each half-set, q the mean quality of the subset's
particles. It serves two ends: planning (how often would a difference be found?) and proof (do the intervals cover?).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scherzer.study.endpoints import first_crossing_A
from scherzer.study.refined import Indices, RefinedSubset, Refiner, subset_key


@dataclass(frozen=True)
class GroupWorld:
    """One contrast group of a world.

    Attributes
    ----------
    micrographs : int
    picks_per_micrograph : float
        Mean of a Poisson count.
    ln_quality : float
        Mean ln quality of its micrographs.
    underfocus_um : tuple of float
        Mean and standard deviation.
    kept : float
        Share of picks kept by 2D selection.
    """

    micrographs: int
    picks_per_micrograph: float = 120.0
    ln_quality: float = 0.0
    underfocus_um: tuple[float, float] = (1.8, 0.2)
    kept: float = 0.8


@dataclass(frozen=True)
class WorldSettings:
    """A world.

    Attributes
    ----------
    groups : dict of str to GroupWorld
    micrograph_sd : float
        Standard deviation of ln quality between micrographs of a group.
    particle_sd : float
        Standard deviation of quality between particles of a micrograph, relative to its mean.
    bfactor_A2 : float
    symmetry_order : int
    strength : float
        S: SSNR per asymmetric unit at zero frequency; 0 is a world without structure.
    junk : float
        Quality of a pick that 2D selection would drop, relative to a kept one.
    pixel_size_A, box : float, int
        Shells run to Nyquist in box / 2 steps.
    fsc_error : float
        Standard deviation of a shell's FSC at zero signal.
    start_resolution_A : float
        Half-maps agree up to here whatever the particles.
    """

    groups: dict[str, GroupWorld] = field(default_factory=lambda: {"good": GroupWorld(12), "moderate": GroupWorld(12)})
    micrograph_sd: float = 0.3
    particle_sd: float = 1.0
    bfactor_A2: float = 150.0
    symmetry_order: int = 24
    strength: float = 2e-3
    junk: float = 0.1
    pixel_size_A: float = 1.5
    box: int = 128
    fsc_error: float = 0.02
    start_resolution_A: float = 20.0


@dataclass(frozen=True)
class World:
    """Tables and refiner of one world, in the form that `run_study` takes."""

    micrographs: pd.DataFrame
    picked: pd.DataFrame
    selected: NDArray[np.bool_]
    quality: NDArray[np.float64]
    refiner: Refiner


def _halves_by_micrograph(counts: NDArray[np.int64]) -> Indices:
    """Half-set of each micrograph, the larger ones dealt first to the emptier half."""
    half, filled = np.zeros(len(counts), dtype=np.int64), [0, 0]
    for row in np.argsort(-counts, kind="stable"):
        emptier = int(filled[1] < filled[0])
        half[row], filled[emptier] = emptier + 1, filled[emptier] + int(counts[row])
    return half


def make_world(settings: WorldSettings, seed: int) -> World:
    """Draw a world.

    Half-sets are dealt by micrograph within each group, balanced by particle count.
    """
    rng = np.random.default_rng(seed)
    names, classes, defocus, halves, counts, kept, levels = [], [], [], [], [], [], []
    for group, one in settings.groups.items():
        picks = np.maximum(1, rng.poisson(one.picks_per_micrograph, one.micrographs)).astype(np.int64)
        names += [f"{group}_{row:04d}.mrc" for row in range(one.micrographs)]
        classes += [group] * one.micrographs
        defocus.append(1e4 * np.maximum(0.1, rng.normal(*one.underfocus_um, one.micrographs)))
        halves.append(_halves_by_micrograph(picks))
        counts.append(picks)
        kept += [one.kept] * int(picks.sum())
        levels.append(one.ln_quality + settings.micrograph_sd * rng.standard_normal(one.micrographs))
    picks, level = np.concatenate(counts), np.concatenate(levels)
    of_micrograph = np.repeat(np.arange(len(picks)), picks)
    selected = rng.random(len(of_micrograph)) < np.array(kept)
    own = np.maximum(0.0, 1.0 + settings.particle_sd * rng.standard_normal(len(of_micrograph)))
    quality = np.exp(level[of_micrograph]) * own * np.where(selected, 1.0, settings.junk)
    half = np.concatenate(halves)[of_micrograph]
    micrographs = pd.DataFrame(
        {
            "rlnMicrographName": names,
            "sczState": "accepted",
            "sczReason": "",
            "rlnDefocusU": np.concatenate(defocus),
            "rlnDefocusV": np.concatenate(defocus),
            "rlnCtfMaxResolution": 4.5,
            "sczContrastClass": classes,
        }
    )
    picked = pd.DataFrame({"rlnMicrographName": np.array(names)[of_micrograph], "rlnRandomSubset": half})
    return World(micrographs, picked, selected, quality, _refiner(settings, seed, quality, half, of_micrograph))


def _refiner(
    settings: WorldSettings, seed: int, quality: NDArray[np.float64], half: Indices, of_micrograph: Indices
) -> Refiner:
    frequency = np.arange(1, settings.box // 2 + 1) / (settings.box * settings.pixel_size_A)
    falloff = np.exp(-settings.bfactor_A2 * frequency**2 / 2)
    shared = frequency <= 1.0 / settings.start_resolution_A

    def refine(indices: Indices) -> RefinedSubset:
        rng = np.random.default_rng([seed, int(subset_key(indices), 16)])
        signal = [
            settings.strength * settings.symmetry_order * falloff * float(quality[indices][half[indices] == h].sum())
            for h in (1, 2)
        ]
        fsc = np.sqrt(signal[0] / (1 + signal[0]) * signal[1] / (1 + signal[1]))
        # Shells hold more independent points further out, and the error shrinks as 1 - FSC^2.
        error = settings.fsc_error * (1 - fsc**2) * np.sqrt(len(frequency) / (2 * np.arange(1, len(frequency) + 1)))
        fsc = np.clip(fsc + error * rng.standard_normal(len(fsc)), -1.0, 1.0)
        fsc = np.where(shared, np.maximum(fsc, 0.9), fsc)
        return RefinedSubset(
            resolution_fsc143_A=first_crossing_A(frequency, fsc, 0.143),
            resolution_fsc05_A=first_crossing_A(frequency, fsc, 0.5),
            bfactor_A2=settings.bfactor_A2 if settings.strength > 0 else None,
            frequency_per_A=frequency,
            fsc=fsc,
            particles=len(indices),
            micrographs=len(np.unique(of_micrograph[indices])),
            mean_score=float(quality[indices].mean()),
        )

    return refine
