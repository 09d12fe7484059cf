"""A refinement's maps and curves on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scherzer.formats.fsc_xml import write_fsc_xml
from scherzer.formats.mrc import write_mrc
from scherzer.fourier.crop import resize_volume
from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.maps.refinement import Refinement
from scherzer.session.star_blocks import write_blocks

# Role of a file in results.json and on disk.
MAP_FILES = {
    "map": "map.mrc",
    "half1": "half1.mrc",
    "half2": "half2.mrc",
    "mask": "mask.mrc",
    "sharpened": "sharpened.mrc",
    "fsc": "fsc.star",
    "fsc_xml": "fsc.xml",
}


def write_map_files(folder: Path, refined: Refinement, box_px: int, model: Tensor | None = None) -> None:
    """Write maps, mask, curves and Guinier plot of a refinement.

    Parameters
    ----------
    folder : Path
        Of this map.
    refined : Refinement
        What to write.
    box_px : int
        Of the maps, even. Other programs take particles and maps together if both have the same box and pixel size.
    model : Tensor, optional
        ``(b, b, b)`` map, aligned with this one, against which the refined map is compared too.
    """
    volumes = {
        "map": refined.volume,
        "half1": refined.half_maps[0],
        "half2": refined.half_maps[1],
        "mask": refined.mask,
        "sharpened": refined.sharpened,
    }
    pixel_size_A = refined.pixel_size_A * len(refined.volume) / box_px
    for role, volume in volumes.items():
        resampled = resize_volume(volume, box_px)
        if role == "mask":
            resampled = resampled.clamp(0, 1)
        write_mrc(folder / MAP_FILES[role], resampled.cpu().numpy(), pixel_size_A, "volume")
    write_blocks(curve_blocks(refined, model), folder / MAP_FILES["fsc"])
    fsc = refined.fsc
    title = "scherzer: masked half-maps, corrected by phase randomisation"
    write_fsc_xml(folder / MAP_FILES["fsc_xml"], title, fsc.frequency_per_A.tolist(), fsc.corrected.tolist())


def curve_blocks(refined: Refinement, model: Tensor | None) -> dict[str, Any]:
    """Return the curves in the blocks and under the labels of RELION's ``postprocess.star``."""
    fsc = refined.fsc
    columns = {
        "rlnSpectralIndex": torch.arange(len(fsc.corrected)),
        "rlnResolution": fsc.frequency_per_A,
        "rlnFourierShellCorrelationCorrected": fsc.corrected,
        "rlnFourierShellCorrelationUnmaskedMaps": fsc.unmasked,
        "rlnFourierShellCorrelationMaskedMaps": fsc.masked,
        "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps": fsc.randomised,
    }
    if model is not None:
        against = fourier_shell_correlation(refined.volume * refined.mask, model * refined.mask)
        columns["sczFourierShellCorrelationModelMap"] = against
    general = {
        "rlnFinalResolution": _number(refined.resolution_fsc143_A),
        "rlnBfactorUsedForSharpening": _number(refined.guinier.bfactor_A2),
    }
    return {
        "general": general,
        "fsc": pd.DataFrame({label: values.cpu().numpy() for label, values in columns.items()}),
        "guinier": _guinier_table(refined),
    }


def _guinier_table(refined: Refinement) -> pd.DataFrame:
    plot = refined.guinier
    square = plot.inverse_square_per_A2.cpu().numpy()
    inside = np.zeros(len(square), dtype=int)
    if plot.window_A is not None:
        coarse_A, fine_A = plot.window_A
        inside = ((square >= coarse_A**-2) & (square <= fine_A**-2)).astype(int)
    return pd.DataFrame(
        {
            "rlnResolutionSquared": square,
            "rlnLogAmplitudesWeighted": plot.log_amplitude.cpu().numpy(),
            "sczInGuinierFit": inside,
        }
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
