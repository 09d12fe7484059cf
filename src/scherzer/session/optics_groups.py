"""Optics groups: exposures recorded in the same way, by voltage and by the position of the beam-shift pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from scherzer.micrographs.beam_shift import group_beam_shifts
from scherzer.physics.optics import Optics
from scherzer.session.sources import TOLERANCE, Description, commonest

NO_SHIFT = -1


@dataclass(frozen=True)
class OpticsGroups:
    """The groups of a session.

    Attributes
    ----------
    numbers : list of int
        Of each exposure's group, from 1.
    optics : DataFrame
        RELION's optics block, a row a group.
    positions : int
        Positions of the beam-shift pattern; 1 where there is none.
    """

    numbers: list[int]
    optics: pd.DataFrame
    positions: int


def optics_groups(
    descriptions: Sequence[Description], optics: Optics, by_beam_shift: bool, least_images: int
) -> OpticsGroups:
    """Sort exposures into optics groups.

    All have the session's pixel size, for only one can go through one classification. The voltage is that of each
    exposure's metadata where the session's voltage is what most of them say; where a user said otherwise, it is the
    user's.

    Parameters
    ----------
    descriptions : sequence of Description
        Of every exposure.
    optics : Optics
        Of the session.
    by_beam_shift : bool
        Whether to look for a beam-shift pattern.
    least_images : int
        Fewer exposures at one position are joined to the next.
    """
    voltages = _voltages(descriptions, optics.voltage_kV)
    shifted = [index for index, one in enumerate(descriptions) if by_beam_shift and one.beam_shift is not None]
    found = group_beam_shifts([descriptions[index].beam_shift or (0.0, 0.0) for index in shifted], least_images)
    places = [NO_SHIFT] * len(descriptions)
    if found.count > 1:
        for index, label in zip(shifted, found.labels.tolist(), strict=True):
            places[index] = label
    kinds = list(zip(voltages, places, strict=True))
    order = {kind: number for number, kind in enumerate(dict.fromkeys(kinds), start=1)}
    block = pd.DataFrame(
        [
            {
                "rlnOpticsGroupName": f"opticsGroup{number}",
                "rlnOpticsGroup": number,
                "rlnVoltage": voltage_kV,
                "rlnSphericalAberration": optics.cs_mm,
                "rlnAmplitudeContrast": optics.amplitude_contrast,
                "rlnMicrographOriginalPixelSize": optics.pixel_size_A,
                "rlnMicrographPixelSize": optics.pixel_size_A,
            }
            for (voltage_kV, _), number in order.items()
        ]
    )
    return OpticsGroups([order[kind] for kind in kinds], block, found.positions)


def _voltages(descriptions: Sequence[Description], voltage_kV: float) -> list[float]:
    said = commonest([one.voltage_kV for one in descriptions])
    if said is None or abs(said / voltage_kV - 1) > TOLERANCE["voltage_kV"]:
        return [voltage_kV] * len(descriptions)
    own = [voltage_kV if one.voltage_kV is None else one.voltage_kV for one in descriptions]
    return [voltage_kV if abs(value / voltage_kV - 1) <= TOLERANCE["voltage_kV"] else value for value in own]
