"""Micrographs whose visibility is known, made quickly for training the contrast classifier.

They are what :mod:`scherzer.simulate` makes, without what the classifier never sees: sampled at 2 A whatever the
microscope's pixel (a micrograph cut to that Nyquist frequency is the same image), periodic at the edges, all particles
in the middle of the film, and with Gaussian counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from contrast_ice import (
    APERTURE_MEAN_FREE_PATH_A,
    INELASTIC_MEAN_FREE_PATH_A,
    slab_amplitudes,
    thickness_map,
    water_noise_density,
)
from contrast_shapes import BANK_PIXEL_A, ParticleBank
from torch import Tensor

from scherzer.micrographs.contrast.visibility import detectability
from scherzer.physics.ctf import ctf, electron_wavelength_A
from scherzer.physics.dose import dose_weights
from scherzer.physics.envelopes import b_factor_envelope, interaction_rad_per_V_A
from scherzer.physics.optics import Optics
from scherzer.physics.scattering import ice_potential_V
from scherzer.simulate.faults.ice_grains import frost, ice_balls

PIXEL_A = 2.0
SIDE_PX = 576
FROST_PER_UM2 = 8.0
# A counting camera of no particular make: detective quantum efficiency at zero frequency and at Nyquist.
DQE_ZERO, DQE_NYQUIST = 0.87, 0.42


@dataclass(frozen=True)
class Scene:
    """Everything that decides how visible the particles of one micrograph are, and what hides it.

    Attributes
    ----------
    optics : Optics
        At the microscope's own pixel size.
    dose_e_per_A2, defocus_A, astigmatism_A, angle_rad, thickness_A, b_factor_A2 : float
        Exposure and specimen.
    energy_filter : bool
        Filter electrons that lost energy.
    spacing : float
        Smallest distance of particles, in diameters.
    coverage : float
        Particles, as a share of what would fill the area.
    noise_colour : float
        Excess of the detector's noise at low frequency.
    clutter_per_um2 : float
        Small bodies that are not particles.
    contaminated : bool
        Large grains of ice.
    """

    optics: Optics
    dose_e_per_A2: float
    defocus_A: float
    astigmatism_A: float
    angle_rad: float
    thickness_A: float
    b_factor_A2: float
    energy_filter: bool
    spacing: float
    coverage: float
    noise_colour: float
    clutter_per_um2: float
    contaminated: bool


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw a session's and a micrograph's settings, wide enough to hold most that is recorded."""
    voltage = float(rng.choice([200.0, 300.0], p=[0.35, 0.65]))
    optics = Optics(
        pixel_size_A=float(rng.uniform(0.7, 1.7)),
        voltage_kV=voltage,
        cs_mm=float(rng.choice([0.001, 1.4, 2.7])),
        amplitude_contrast=float(rng.choice([0.07, 0.1])),
    )
    return Scene(
        optics=optics,
        dose_e_per_A2=float(np.exp(rng.uniform(np.log(15), np.log(100)))),
        defocus_A=float(rng.uniform(2500, 30000)),
        astigmatism_A=float(abs(rng.normal(0, 250))),
        angle_rad=float(rng.uniform(0, np.pi)),
        thickness_A=float(np.exp(rng.uniform(np.log(120), np.log(900)))),
        b_factor_A2=float(rng.uniform(40, 250)),
        energy_filter=bool(rng.random() < 0.4),
        spacing=float(rng.uniform(0.55, 1.1)),
        coverage=float(0.05 + 0.95 * rng.random() ** 1.7),
        noise_colour=float(rng.uniform(-0.1, 0.3)),
        clutter_per_um2=float(rng.exponential(400)) if rng.random() < 0.4 else 0.0,
        contaminated=bool(rng.random() < 0.15),
    )


@dataclass(frozen=True)
class Imaging:
    """Transfer and noise of a scene on a grid of frequencies.

    Attributes
    ----------
    transfer : Tensor
        Projected potential to relative intensity, protein dark, 1/(V A).
    protein_survival : Tensor
        What radiation leaves of the protein's signal.
    ice_density : Tensor
        Noise of the ice's structure, A^2 of relative intensity.
    shot_density_A2 : float
        Noise of the counts.
    """

    transfer: Tensor
    protein_survival: Tensor
    ice_density: Tensor
    shot_density_A2: float


def imaging(scene: Scene, kx: Tensor, ky: Tensor) -> Imaging:
    """Evaluate a scene's transfer and noise; see :mod:`scherzer.simulate.image_formation`."""
    optics = scene.optics
    half = scene.astigmatism_A / 2
    parameters = optics.ctf_parameters(scene.defocus_A + half, scene.defocus_A - half, scene.angle_rad)
    quarter = replace(parameters, phase_shift_rad=parameters.phase_shift_rad + torch.pi / 2)
    kx, ky = torch.broadcast_tensors(kx, ky)
    k2 = kx**2 + ky**2
    k = k2.sqrt()
    sharp = 1.0 if scene.energy_filter else float(np.exp(-scene.thickness_A / INELASTIC_MEAN_FREE_PATH_A))
    lost_A = INELASTIC_MEAN_FREE_PATH_A if scene.energy_filter else APERTURE_MEAN_FREE_PATH_A
    electrons = scene.dose_e_per_A2 * float(np.exp(-scene.thickness_A / lost_A)) * DQE_ZERO
    factor = sharp * 2 * interaction_rad_per_V_A(optics.voltage_kV)
    damping = factor * b_factor_envelope(k2, scene.b_factor_A2) * signal_transfer(k, optics.pixel_size_A)
    sine, cosine = slab_amplitudes(k2, float(electron_wavelength_A(optics.voltage_kV)), scene.thickness_A)
    through, beside = ctf(parameters, kx, ky)[0], ctf(quarter, kx, ky)[0]
    film = (sine * through) ** 2 + (cosine * beside) ** 2
    table = torch.linspace(0, float(k.max()), 512)
    steps = (torch.arange(8) + 0.5) / 8 * scene.dose_e_per_A2
    survival = dose_weights(table, steps, optics.voltage_kV).mean(0)
    position = k * (511 / float(k.max()))
    return Imaging(
        transfer=-damping * through,
        protein_survival=survival[position.round().long()],
        ice_density=damping**2 * film * water_noise_density(k, scene.thickness_A),
        shot_density_A2=1 / electrons,
    )


def signal_transfer(k: Tensor, pixel_size_A: float) -> Tensor:
    """Root of the DQE relative to that at zero; Nyquist is that of the microscope's pixel."""
    relative = (2 * pixel_size_A * k).clamp(max=1.4)
    return torch.sqrt(1 - (1 - DQE_NYQUIST / DQE_ZERO) * relative**1.5).clamp(min=0.05)


def visibility(scene: Scene, bank: ParticleBank) -> float:
    """Detectability index of the scene's particles; see :mod:`scherzer.micrographs.contrast.visibility`."""
    box = bank.views.shape[-1]
    k = torch.fft.fftfreq(box, BANK_PIXEL_A)
    found = imaging(scene, k[None, :], k[:, None])
    noise = found.ice_density + found.shot_density_A2
    radius = torch.hypot(k[:, None], k[None, :])
    cell = 1 / (box * BANK_PIXEL_A) ** 2
    return detectability(bank.power(), found.transfer * found.protein_survival, noise, radius, cell)


def expose(scene: Scene, bank: ParticleBank, rng: np.random.Generator) -> Tensor:
    """Make the micrograph of a scene: relative intensities, ``(576, 576)`` at 2 A."""
    ky = torch.fft.fftfreq(SIDE_PX, PIXEL_A)[:, None]
    kx = torch.arange(SIDE_PX // 2 + 1)[None, :] / (SIDE_PX * PIXEL_A)
    found = imaging(scene, kx, ky)
    protein = _fine(_protein(scene, bank, rng))
    grains_A = torch.from_numpy(frost(rng, (SIDE_PX, SIDE_PX), PIXEL_A, FROST_PER_UM2)[0])
    if scene.contaminated:
        grains_A += torch.from_numpy(ice_balls(rng, (SIDE_PX, SIDE_PX), PIXEL_A)[0])
    field = protein * found.protein_survival + torch.fft.rfft2(grains_A * ice_potential_V())
    picture = field * found.transfer + _white(rng) * (found.ice_density.sqrt() / PIXEL_A)
    k2 = kx**2 + ky**2
    colour = torch.sqrt(1 + scene.noise_colour * torch.exp(-k2 * 30.0**2))
    picture = picture + _white(rng) * colour * (found.shot_density_A2**0.5 / PIXEL_A)
    film_A = torch.from_numpy(thickness_map(rng, SIDE_PX, SIDE_PX, scene.thickness_A)) + grains_A
    lost_A = INELASTIC_MEAN_FREE_PATH_A if scene.energy_filter else APERTURE_MEAN_FREE_PATH_A
    bright = torch.exp(-(film_A - scene.thickness_A) / lost_A)
    return bright * (1 + torch.fft.irfft2(picture, s=(SIDE_PX, SIDE_PX)))


def _white(rng: np.random.Generator) -> Tensor:
    return torch.fft.rfft2(torch.from_numpy(rng.standard_normal((SIDE_PX, SIDE_PX), dtype=np.float32)))


def _protein(scene: Scene, bank: ParticleBank, rng: np.random.Generator) -> Tensor:
    """Projected potential at the bank's pixel, periodic, ``(288, 288)``."""
    side = round(SIDE_PX * PIXEL_A / BANK_PIXEL_A)
    field = np.zeros((side, side), np.float32)
    area_A2 = (SIDE_PX * PIXEL_A) ** 2
    wanted = round(scene.coverage * area_A2 / bank.diameter_A**2)
    centres = _apart(rng, wanted, side, scene.spacing * bank.diameter_A / BANK_PIXEL_A)
    views = bank.views.numpy()
    for centre in centres:
        _add(field, _turned(views[rng.integers(len(views))], rng), centre)
    for _ in range(rng.poisson(scene.clutter_per_um2 * area_A2 * 1e-8)):
        size = int(rng.integers(6, 14))
        axis = np.arange(size) - size / 2 + 0.5
        blob = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * (size / 5) ** 2)).astype(np.float32)
        _add(field, blob * np.float32(2.5 * size * 0.5 * BANK_PIXEL_A), rng.integers(0, side, 2))
    return torch.from_numpy(field)


def _turned(view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    view = np.rot90(view, rng.integers(4))
    return view[::-1] if rng.random() < 0.5 else view


def _add(field: np.ndarray, patch: np.ndarray, centre: np.ndarray) -> None:
    rows = (np.arange(patch.shape[0]) + centre[0] - patch.shape[0] // 2) % len(field)
    columns = (np.arange(patch.shape[1]) + centre[1] - patch.shape[1] // 2) % len(field)
    field[np.ix_(rows, columns)] += patch


def _apart(rng: np.random.Generator, wanted: int, side: int, closest: float) -> list[np.ndarray]:
    kept: list[np.ndarray] = []
    for _ in range(12 * wanted):
        if len(kept) == wanted:
            break
        point = rng.integers(0, side, 2)
        if kept:
            gap = np.abs(np.array(kept) - point)
            gap = np.minimum(gap, side - gap)
            if np.hypot(gap[:, 0], gap[:, 1]).min() < closest:
                continue
        kept.append(point)
    return kept


def _fine(coarse: Tensor) -> Tensor:
    """Transform of the field at 2 A from the field at the bank's pixel."""
    side = coarse.shape[-1]
    transform = torch.fft.rfft2(coarse)
    half = side // 2
    fine = torch.zeros(SIDE_PX, SIDE_PX // 2 + 1, dtype=transform.dtype)
    fine[:half, :half] = transform[:half, :half]
    fine[-half + 1 :, :half] = transform[-half + 1 :, :half]
    return fine * (SIDE_PX / side) ** 2
