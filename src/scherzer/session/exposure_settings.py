"""How exposures are read and sorted, and what is made of the camera's pixels."""

from __future__ import annotations

from dataclasses import dataclass, field

from scherzer.formats.eer import EerSettings


@dataclass(frozen=True)
class ExposureSettings:
    """How exposures are read and sorted into optics groups.

    Attributes
    ----------
    eer : EerSettings
        How raw frames of electron-event movies become frames.
    group_by_beam_shift : bool
        Whether optics groups are made from the beam shifts in the metadata.
    least_images_per_group : int
        Positions of the beam-shift pattern with fewer exposures are joined to the next.
    """

    eer: EerSettings = field(default_factory=EerSettings)
    group_by_beam_shift: bool = True
    least_images_per_group: int = 3


@dataclass(frozen=True)
class CameraSettings:
    """How the camera's pixels are looked at before movies are aligned.

    Attributes
    ----------
    movies : int
        From how many movies, evenly over the session, the orientation of the gain reference and defects are found.
    find_defects : bool
        Whether pixels that count far too much or too little in all of them are replaced by their neighbours.
    """

    movies: int = 4
    find_defects: bool = True
