"""Solvent masks: one rule for every map."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from scherzer.fourier.filters import cosine_edge, lowpass
from scherzer.fourier.threshold import otsu_threshold

LOWPASS_A = 15.0  # the envelope of a protein is smooth at this resolution, noise is not yet
DILATE_A = 6.0  # keeps side chains that the low-pass pulled in
EDGE_PX = 7.0  # RELION's habit is 6 to 8; sharper edges correlate the halves


def solvent_mask(volume: Tensor, pixel_size_A: float, diameter_A: float, resolution_A: float = 0.0) -> Tensor:
    """Make a soft mask around the largest connected density of a map.

    The threshold is Otsu's between solvent and protein within the particle's sphere of the low-passed map.

    Parameters
    ----------
    volume : Tensor
        ``(b, b, b)``, protein positive.
    pixel_size_A, diameter_A : float
        Of the map; of the particle.
    resolution_A : float
        To which the map can be trusted. A mask that follows finer detail than that would follow noise, and make maps
        agree that share it.

    Returns
    -------
    Tensor
        ``(b, b, b)``, 0 to 1.
    """
    box = volume.shape[-1]
    smooth = lowpass(volume, pixel_size_A, max(LOWPASS_A, 3 * pixel_size_A, resolution_A)).cpu().numpy()
    axis = (np.arange(box) - box // 2) * pixel_size_A
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    inside = radius <= 0.55 * diameter_A + DILATE_A
    core = inside & (smooth > otsu_threshold(smooth[inside])[0])
    labels, count = ndimage.label(core)
    if count > 1:
        core = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    distance = ndimage.distance_transform_edt(~core)
    mask = cosine_edge(torch.from_numpy(distance), DILATE_A / pixel_size_A, DILATE_A / pixel_size_A + EDGE_PX)
    return mask.float().to(volume.device)
