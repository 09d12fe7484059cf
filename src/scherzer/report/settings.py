"""How much of a session the report shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from scherzer.report.render import RenderSettings


@dataclass(frozen=True)
class ReportSettings:
    """How many examples of each kind are shown; together they keep the page under 10 MB.

    Attributes
    ----------
    micrographs_per_class, rejected_micrographs : int
        In the gallery.
    ctf_fits : int
        Shown in full.
    classes : int
        2D averages of one group.
    maps, curves : int
        Maps drawn, and maps whose FSC and Guinier plot are drawn alone.
    surface : RenderSettings
        Of the maps' pictures.
    """

    micrographs_per_class: int = 3
    rejected_micrographs: int = 3
    ctf_fits: int = 6
    classes: int = 60
    maps: int = 6
    curves: int = 6
    surface: RenderSettings = field(default_factory=RenderSettings)
