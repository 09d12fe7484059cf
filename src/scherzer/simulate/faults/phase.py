"""The image of large bodies without the amplitude contrast that the transfer function gives to all."""

from __future__ import annotations

import math

import numpy as np

from scherzer.physics.ctf import CtfParameters
from scherzer.simulate.faults.maps import Float32Array, Nodes


def phase_only(nodes: Nodes, potential_V_A: Float32Array, parameters: CtfParameters) -> Float32Array:
    """Change a potential so that its image has no amplitude contrast.

    A transfer function's amplitude contrast is an average that suits particles. Steps of the film, ice that lies on it
    and carbon cost electrons by their thickness, which is accounted for where electrons are counted; they would be
    counted twice. Multiplying the potential's transform by ``sin(chi + p) / sin(chi + p + w)``, with the defocus phase
    ``chi``, the phase plate's ``p`` and the amplitude contrast's ``w``, takes it out up to the first maximum of the
    transfer, beyond which it does not show.

    Parameters
    ----------
    nodes : Nodes
        Over the field.
    potential_V_A : ndarray
        ``(H, W)``, V A.
    parameters : CtfParameters
        Of the exposure, ``(1,)``.

    Returns
    -------
    ndarray
        ``(H, W)``.
    """
    absorbed = math.asin(float(parameters.amplitude_contrast))
    if absorbed <= 0:
        return potential_V_A
    coarse = nodes.values(potential_V_A)
    spacing_A = nodes.step * nodes.pixel_size_A
    k2 = np.fft.fftfreq(coarse.shape[0], spacing_A)[:, None] ** 2 + np.fft.rfftfreq(coarse.shape[1], spacing_A) ** 2
    defocus_A = float(parameters.defocus_u_A + parameters.defocus_v_A) / 2
    through = np.pi * float(parameters.wavelength_A) * defocus_A * k2 + float(parameters.phase_shift_rad)
    low = through + absorbed < np.pi / 2
    change = np.where(low, np.sin(through) / np.sin(np.where(low, through + absorbed, 1.0)) - 1, 0.0)
    return potential_V_A + nodes.pixels(np.fft.irfft2(np.fft.rfft2(coarse) * change, s=coarse.shape))
