"""The settings of one optics group, and the one place where CTF columns become tensors and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from scherzer.physics.ctf import CtfParameters, electron_wavelength_A

MM_TO_A = 1e7


@dataclass(frozen=True)
class Optics:
    """How one group of images was recorded.

    Attributes
    ----------
    pixel_size_A : float
        Pixel size of the images at hand (not of the super-resolution movie).
    voltage_kV, cs_mm, amplitude_contrast : float
        Acceleration voltage, spherical aberration, fraction of amplitude contrast.
    """

    pixel_size_A: float
    voltage_kV: float
    cs_mm: float
    amplitude_contrast: float

    def ctf_parameters(
        self, defocus_u_A: float, defocus_v_A: float, defocus_angle_rad: float = 0.0, phase_shift_rad: float = 0.0
    ) -> CtfParameters:
        """Return the CTF parameters of one image recorded with these optics; tensors of shape ``(1,)``."""
        return CtfParameters(
            defocus_u_A=torch.tensor([float(defocus_u_A)]),
            defocus_v_A=torch.tensor([float(defocus_v_A)]),
            defocus_angle_rad=torch.tensor([float(defocus_angle_rad)]),
            phase_shift_rad=torch.tensor([float(phase_shift_rad)]),
            wavelength_A=electron_wavelength_A(self.voltage_kV).reshape(1),
            cs_A=torch.tensor([self.cs_mm * MM_TO_A]),
            amplitude_contrast=torch.tensor([self.amplitude_contrast]),
        )


def optics_of_groups(optics: pd.DataFrame) -> dict[int, Optics]:
    """Return the optics of every group of a STAR table's optics block, at the micrograph's pixel size."""
    return {
        int(group["rlnOpticsGroup"]): Optics(
            pixel_size_A=float(group["rlnMicrographPixelSize"]),
            voltage_kV=float(group["rlnVoltage"]),
            cs_mm=float(group["rlnSphericalAberration"]),
            amplitude_contrast=float(group["rlnAmplitudeContrast"]),
        )
        for group in optics.to_dict("records")
    }


def ctf_parameters_of(rows: pd.DataFrame, optics: pd.DataFrame) -> CtfParameters:
    """Read the CTF parameters of n micrographs or particles from their STAR rows and optics block.

    Returns
    -------
    CtfParameters
        Tensors of shape ``(n,)``, angstrom and radian.
    """
    by_group = optics.set_index("rlnOpticsGroup").loc[rows["rlnOpticsGroup"]]

    def column(values: pd.Series, scale: float = 1.0) -> torch.Tensor:
        return torch.from_numpy(values.to_numpy(dtype=np.float64) * scale).float()

    phase = rows["rlnPhaseShift"] if "rlnPhaseShift" in rows else pd.Series(np.zeros(len(rows)))
    return CtfParameters(
        defocus_u_A=column(rows["rlnDefocusU"]),
        defocus_v_A=column(rows["rlnDefocusV"]),
        defocus_angle_rad=column(rows["rlnDefocusAngle"], np.pi / 180),
        phase_shift_rad=column(phase, np.pi / 180),
        wavelength_A=electron_wavelength_A(column(by_group["rlnVoltage"])),
        cs_A=column(by_group["rlnSphericalAberration"], MM_TO_A),
        amplitude_contrast=column(by_group["rlnAmplitudeContrast"]),
    )
