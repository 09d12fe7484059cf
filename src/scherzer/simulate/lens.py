"""What the microscope makes of a projected potential: contrast transfer, envelopes, coma."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scherzer.physics.ctf import CtfParameters, coma_phase_rad, ctf_phase_rad
from scherzer.physics.envelopes import (
    b_factor_envelope,
    interaction_rad_per_V_A,
    spatial_coherence_envelope,
    temporal_coherence_envelope,
)
from scherzer.simulate.field import Array, ComplexArray, FieldGrid
from scherzer.simulate.settings import MicroscopeSettings

# Frequencies that the envelopes damp below this do not count for how far signal is delocalised.
SURVIVES = 0.05


@dataclass(frozen=True)
class Lens:
    """The optics of one exposure.

    Attributes
    ----------
    microscope : MicroscopeSettings
        Voltage, envelopes, beam tilt.
    parameters : CtfParameters
        Of the middle of the film, ``(1,)``.
    """

    microscope: MicroscopeSettings
    parameters: CtfParameters

    @property
    def wavelength_A(self) -> float:
        """Electron wavelength."""
        return float(self.parameters.wavelength_A)

    def envelope(self, k: Tensor) -> Tensor:
        """Damping of a spatial frequency (1/A) by coherence and everything else that blurs; the mean defocus counts."""
        k2 = k**2
        defocus_A = float(self.parameters.defocus_u_A + self.parameters.defocus_v_A) / 2
        cs_A = float(self.parameters.cs_A)
        semiangle_rad = self.microscope.beam_semiangle_mrad * 1e-3
        return (
            b_factor_envelope(k2, self.microscope.b_factor_A2)
            * spatial_coherence_envelope(k2, defocus_A, cs_A, self.wavelength_A, semiangle_rad)
            * temporal_coherence_envelope(k2, self.wavelength_A, self.microscope.focal_spread_A)
        )

    def contrast_per_V_A(self, k: Tensor) -> Tensor:
        """Relative intensity for each V A of projected potential, without the CTF; protein is dark."""
        return -2 * interaction_rad_per_V_A(self.microscope.voltage_kV) * self.envelope(k)

    def reach_A(self) -> float:
        """Largest distance by which signal that survives is delocalised.

        The gradient of the phase moves frequency k by ``lambda k (defocus - Cs lambda^2 k^2)``.
        """
        k = torch.linspace(0, 0.5 / self.microscope.pixel_size_A, 500)
        k = k[self.envelope(k) >= SURVIVES]
        defocus_A = float(torch.maximum(self.parameters.defocus_u_A.abs(), self.parameters.defocus_v_A.abs()))
        gradient_A = self.wavelength_A * k * (defocus_A - float(self.parameters.cs_A) * self.wavelength_A**2 * k**2)
        return float(gradient_A.abs().max())

    def sine_cosine(self, grid: FieldGrid, rows: slice) -> tuple[Array, Array]:
        """Sine and cosine of the phase of the film's middle, for some rows of a transform; the sine is the CTF."""
        kx, ky = torch.from_numpy(grid.kx)[None], torch.from_numpy(grid.ky[rows])[:, None]
        phase = ctf_phase_rad(self.parameters, kx, ky)[0].numpy()
        return np.sin(phase), np.cos(phase)

    def coma(self, grid: FieldGrid, rows: slice) -> ComplexArray | None:
        """Factor of some rows of a transform by which a tilted beam moves them; None for a beam that is not tilted."""
        tilt_x, tilt_y = (tilt * 1e-3 for tilt in self.microscope.beam_tilt_mrad)
        if tilt_x == tilt_y == 0:
            return None
        kx, ky = torch.from_numpy(grid.kx)[None], torch.from_numpy(grid.ky[rows])[:, None]
        phase = coma_phase_rad(kx, ky, float(self.parameters.cs_A), self.wavelength_A, (tilt_x, tilt_y))
        return np.asarray(torch.polar(torch.ones_like(phase), -phase).numpy())


def table(curve: Tensor) -> NDArray[np.float32]:
    """Return a curve over `FieldGrid.radii` for looking up."""
    return curve.to(torch.float32).numpy()
