"""Solvent masks: one rule for every map."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from scherzer.fourier.filters import cosine_edge, lowpass
from scherzer.fourier.threshold import otsu_threshold

LOWPASS_A = 15.0  # the envelope of a protein is smooth at this resolution, noise is not yet
DILATE_A = 6.0  # keeps side chains that the low-pass pulled in
EDGE_PX = 7.0  # RELION's habit is 6 to 8; sharper edges correlate the halves
REFERENCE_LOWPASS_A = 8.0  # a reference's mask follows the density closely: what lies outside only adds noise
REFERENCE_DILATE = 1 / 6  # of the resolution
REFERENCE_EDGE_A = 5.0


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
    core = _dense(volume, pixel_size_A, diameter_A, max(LOWPASS_A, resolution_A))
    labels, count = ndimage.label(core)
    if count > 1:
        core = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return _softened(core, DILATE_A, EDGE_PX * pixel_size_A, pixel_size_A).to(volume.device)


def reference_mask(volume: Tensor, pixel_size_A: float, diameter_A: float, resolution_A: float) -> Tensor:
    """Make the tighter mask of a map that images are aligned to; it must be made of that map alone.

    Parts that are not connected all stay.

    Parameters
    ----------
    volume : Tensor
        ``(b, b, b)``, protein positive.
    pixel_size_A, diameter_A, resolution_A : float
        Of the map; of the particle; to which the map can be trusted.
    """
    core = _dense(volume, pixel_size_A, diameter_A, max(REFERENCE_LOWPASS_A, resolution_A))
    edge_A = max(REFERENCE_EDGE_A, 2 * pixel_size_A)
    return _softened(core, REFERENCE_DILATE * resolution_A, edge_A, pixel_size_A).to(volume.device)


def _dense(volume: Tensor, pixel_size_A: float, diameter_A: float, lowpass_A: float) -> NDArray[np.bool_]:
    """Voxels of the particle's sphere above the threshold between solvent and protein, ``(b, b, b)``."""
    box = volume.shape[-1]
    smooth = lowpass(volume, pixel_size_A, max(lowpass_A, 3 * pixel_size_A)).cpu().numpy()
    axis = (np.arange(box) - box // 2) * pixel_size_A
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    inside = radius <= 0.55 * diameter_A + DILATE_A
    dense: NDArray[np.bool_] = inside & (smooth > otsu_threshold(smooth[inside])[0])
    return dense


def _softened(core: NDArray[np.bool_], dilate_A: float, edge_A: float, pixel_size_A: float) -> Tensor:
    reach_A = dilate_A + edge_A
    margin = int(reach_A / pixel_size_A) + 1
    # Distances are dear: they are taken only where they count.
    found = ndimage.find_objects(core.astype(np.uint8))
    near = tuple(slice(max(0, part.start - margin), part.stop + margin) for part in (found[0] if found else ()))
    distance = torch.from_numpy(ndimage.distance_transform_edt(~core[near])) * pixel_size_A
    mask = torch.zeros(core.shape)
    mask[near] = cosine_edge(distance, dilate_A, reach_A).float()
    return mask
