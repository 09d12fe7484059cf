"""What a simulated session is made of; a preset is this in YAML."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from scherzer.formats.errors import BadInput
from scherzer.physics.optics import Optics

Range = tuple[float, float]

# Every number with its unit and what can be simulated. A range is checked at both ends.
LIMITS: dict[str, tuple[float, float, str]] = {
    "micrographs": (1, 100_000, "number"),
    "diameter_A": (20, 3000, "A"),
    "flexibility_A": (0, 20, "A"),
    "contrast": (0.1, 1.5, "a factor"),
    "height_px": (128, 16384, "px"),
    "width_px": (128, 16384, "px"),
    "pixel_size_A": (0.3, 10, "A"),
    "voltage_kV": (60, 1000, "kV"),
    "cs_mm": (0, 10, "mm"),
    "amplitude_contrast": (0, 0.5, "a fraction"),
    "phase_shift_deg": (0, 180, "degrees"),
    "beam_semiangle_mrad": (0, 5, "mrad"),
    "focal_spread_A": (0, 1000, "A"),
    "beam_tilt_mrad": (-20, 20, "mrad"),
    "b_factor_A2": (0, 1000, "A2"),
    "defocus_um": (0, 20, "um of underfocus"),
    "astigmatism_A": (0, 10_000, "A"),
    "illumination_slope": (0, 0.5, "a fraction of the mean"),
    "thickness_A": (20, 10_000, "A"),
    "wedge": (0, 1, "a fraction of the thickness"),
    "meniscus": (0, 1, "a fraction of the thickness"),
    "water_motion_A2_per_e": (0, 100, "A2 for each e/A2"),
    "frost_per_um2": (0, 1000, "1/um2"),
    "per_micrograph": (0, 100_000, "number"),
    "closest_diameters": (0, 100, "diameters"),
    "broken": (0, 1, "a fraction"),
    "adsorbed": (0, 1, "a fraction"),
    "preferred_tilt_deg": (0, 180, "degrees"),
    "preference": (0, 1, "a fraction"),
    "preference_spread_deg": (1, 180, "degrees"),
    "dose_e_per_A2": (0.001, 10_000, "e/A2"),
    "frames": (1, 10_000, "number"),
    "raw_frames_per_frame": (1, 1000, "number"),
    "drift_A": (0, 1000, "A"),
    "dose_rate_e_per_px_s": (0.01, 1000, "e/px/s"),
    "gain_spread": (0, 0.5, "a fraction"),
    "hot_px": (0, 100_000, "number"),
    "dead_px": (0, 100_000, "number"),
    **dict.fromkeys(
        (
            "drift",
            "empty",
            "vacuum",
            "crystalline",
            "ice_balls",
            "carbon_edge",
            "aggregation",
            "thick_ice",
            "wrong_focus",
        ),
        (0, 1, "a fraction of the micrographs"),
    ),
}
UNITS = {name: unit for name, (_, _, unit) in LIMITS.items()}


class _Limited:
    """Settings whose numbers are held against `LIMITS`."""

    def __post_init__(self) -> None:
        for entry in fields(self):  # type: ignore[arg-type]
            _check(entry.name, getattr(self, entry.name))


@dataclass(frozen=True)
class SpecimenSettings(_Limited):
    """The particle.

    Attributes
    ----------
    model : Path or None
        PDB or mmCIF; None for a phantom.
    chains : tuple of str
        Chains to take from the model, by their author's names; all when empty.
    assembly : bool
        Build the first biological assembly of the model.
    phantom : {"globular", "membrane"}
        What is made up where there is no model: a soluble protein, or a gap junction channel in its detergent micelles.
    symmetry : str
        Point group of the phantom, and of the model where there is one.
    diameter_A : float
        Diameter of the phantom; of the particle where there is a model.
    flexibility_A : float
        Root mean square displacement of the atoms by smooth random deformations, one a particle.
    contrast : float
        Projected potential above ice, relative to that of neutral, unbound atoms. The default was measured: with it
        simulated apo-ferritin stands out as real apo-ferritin does (EMPIAR-10146; docs/realism.md). Bound atoms have
        less (ice: 4.5 V from neutral atoms, 3.5 +- 1.2 V measured by Harscher and Lichte 1998, ICEM-14, 553), and so
        have particles that lose mass in the beam.
    """

    model: Path | None = None
    chains: tuple[str, ...] = ()
    assembly: bool = True
    phantom: Literal["globular", "membrane"] = "globular"
    symmetry: str = "O"
    diameter_A: float = 130.0
    flexibility_A: float = 0.0
    contrast: float = 0.7


@dataclass(frozen=True)
class MicroscopeSettings(_Limited):
    """Field and optics.

    Attributes
    ----------
    height_px, width_px : int
        Size of the images.
    pixel_size_A, voltage_kV, cs_mm, amplitude_contrast : float
        As the user of a real session states them. Cs of 0.001 mm stands for an image corrector.
    phase_shift_deg : float
        Of a phase plate.
    beam_semiangle_mrad : float
        Divergence of the illumination: spatial coherence.
    focal_spread_A : float
        Standard deviation of focus from spread of energy and instabilities: temporal coherence.
    beam_tilt_mrad : pair of float
        Along x and y; the coma it causes.
    b_factor_A2 : float
        Envelope of everything that blurs the images beside what is modelled.
    energy_filter : bool
        With a filter, thick ice costs electrons; without, it costs contrast.
    defocus_um : pair of float
        Range of the underfocus; it is covered evenly, in random order.
    astigmatism_A : float
        Standard deviation of the difference between the two defoci.
    illumination_slope : float
        Typical change of the illumination from one side of the image to the other, relative to its mean.
    """

    height_px: int = 1024
    width_px: int = 1024
    pixel_size_A: float = 1.6
    voltage_kV: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast: float = 0.07
    phase_shift_deg: float = 0.0
    beam_semiangle_mrad: float = 0.01
    focal_spread_A: float = 70.0
    beam_tilt_mrad: Range = (0.0, 0.0)
    b_factor_A2: float = 60.0
    energy_filter: bool = False
    defocus_um: Range = (0.5, 2.6)
    astigmatism_A: float = 120.0
    illumination_slope: float = 0.017

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_order("defocus_um", self.defocus_um)

    @property
    def optics(self) -> Optics:
        """The optics that all exposures share."""
        return Optics(self.pixel_size_A, self.voltage_kV, self.cs_mm, self.amplitude_contrast)


@dataclass(frozen=True)
class IceSettings(_Limited):
    """The film.

    Attributes
    ----------
    thickness_A : pair of float
        Range of the mean thickness; it is covered evenly, in random order.
    wedge, meniscus : float
        Largest change of thickness from side to side, and from the middle to the corners.
    water_motion_A2_per_e : float
        Mean squared displacement of a water molecule for each e/A^2 (McMullan et al. 2015, Ultramicroscopy 158, 26,
        at 300 kV): how fast the structure of the ice is forgotten while it is imaged.
    frost_per_um2 : float
        Small grains of ice that lie on any film.
    """

    thickness_A: Range = (200.0, 450.0)
    wedge: float = 0.08
    meniscus: float = 0.10
    water_motion_A2_per_e: float = 1.1
    frost_per_um2: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_order("thickness_A", self.thickness_A)


@dataclass(frozen=True)
class ParticleSettings(_Limited):
    """How particles lie in the ice.

    Attributes
    ----------
    per_micrograph : int
        Mean number; fewer where they do not fit.
    closest_diameters : float
        Smallest distance between centres.
    broken : float
        Share of broken particles.
    adsorbed : float
        Share that lies against one of the two surfaces of the film; the others lie at any height.
    preferred_tilt_deg : float
        Tilt (RELION's second angle) that adsorbed particles prefer.
    preference : float
        Share of the adsorbed particles that show it; the others lie in any orientation.
    preference_spread_deg : float
        Standard deviation about the preferred tilt.
    """

    per_micrograph: int = 80
    closest_diameters: float = 0.95
    broken: float = 0.04
    adsorbed: float = 0.0
    preferred_tilt_deg: float = 0.0
    preference: float = 0.0
    preference_spread_deg: float = 15.0


@dataclass(frozen=True)
class ExposureSettings(_Limited):
    """Dose, movement and what is written.

    Attributes
    ----------
    dose_e_per_A2 : float
        Total exposure.
    frames : int
        Frames of the exposure.
    output : {"movies", "sums"}
        Movies, or one image that sums the frames.
    aligned : bool
        Sum frames after their movement was corrected; False leaves it in the sum. Movies always show it.
    format : {"tiff", "mrc", "eer"}
        Of movies.
    raw_frames_per_frame : int
        Frames of an EER file for each of ``frames``.
    drift_A : float
        Typical path of the specimen during an exposure.
    """

    dose_e_per_A2: float = 40.0
    frames: int = 1
    output: Literal["movies", "sums"] = "sums"
    aligned: bool = True
    format: Literal["tiff", "mrc", "eer"] = "tiff"
    raw_frames_per_frame: int = 8
    drift_A: float = 20.0

    @property
    def dose_per_frame_e_per_A2(self) -> float:
        """Exposure of one frame."""
        return self.dose_e_per_A2 / self.frames


@dataclass(frozen=True)
class DetectorSettings(_Limited):
    """The camera.

    Attributes
    ----------
    name : str
        One of `scherzer.simulate.detector.DETECTORS`.
    dose_rate_e_per_px_s : float
        Decides how many electrons are lost because they arrive together.
    gain_spread : float
        Standard deviation of the pixels' gain; movies then come with a gain reference and are not corrected.
    hot_px, dead_px : int
        Defects of the camera.
    """

    name: str = "K2"
    dose_rate_e_per_px_s: float = 2.0
    gain_spread: float = 0.0
    hot_px: int = 0
    dead_px: int = 0


@dataclass(frozen=True)
class FaultSettings(_Limited):
    """What goes wrong, each in a share of the micrographs.

    Attributes
    ----------
    drift : float
        A fast drift of 180 to 340 A: the fewer the frames, the more of it stays in each.
    empty : float
        Vitreous ice without particles.
    vacuum : float
        A hole whose film has broken.
    crystalline : float
        Ice in crystals.
    ice_balls : float
        Large contamination by ice.
    carbon_edge : float
        The hole's edge and its carbon in the field.
    aggregation : float
        Particles in clumps.
    thick_ice : float
        Two to three times the session's largest thickness.
    wrong_focus : float
        Far outside the defocus range.
    """

    drift: float = 0.0
    empty: float = 0.0
    vacuum: float = 0.0
    crystalline: float = 0.0
    ice_balls: float = 0.0
    carbon_edge: float = 0.0
    aggregation: float = 0.0
    thick_ice: float = 0.0
    wrong_focus: float = 0.0


@dataclass(frozen=True)
class SimulationSettings(_Limited):
    """A microscope session.

    Attributes
    ----------
    source : str
        What the session imitates, with its citation.
    micrographs : int
        Exposures, those with faults included.
    seed : int
        Everything random follows from it.
    """

    source: str = ""
    micrographs: int = 10
    seed: int = 1
    specimen: SpecimenSettings = field(default_factory=SpecimenSettings)
    microscope: MicroscopeSettings = field(default_factory=MicroscopeSettings)
    ice: IceSettings = field(default_factory=IceSettings)
    particles: ParticleSettings = field(default_factory=ParticleSettings)
    exposure: ExposureSettings = field(default_factory=ExposureSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    faults: FaultSettings = field(default_factory=FaultSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        exposure = self.exposure
        # A raw frame of an event camera holds one electron a pixel; further ones would be lost.
        mean = exposure.dose_per_frame_e_per_A2 * self.microscope.pixel_size_A**2
        least = math.ceil(mean + 6 * math.sqrt(mean))
        if (exposure.output, exposure.format) == ("movies", "eer") and exposure.raw_frames_per_frame < least:
            raise BadInput(
                "exposure.raw_frames_per_frame",
                f"{exposure.raw_frames_per_frame} cannot hold {mean:.3g} electrons a pixel",
                f"give at least {least}, or more frames",
            )


def _check(name: str, value: Any) -> None:
    if name not in LIMITS:
        return
    low, high, unit = LIMITS[name]
    for number in value if isinstance(value, tuple) else (value,):
        if not low <= number <= high:  # also false for what is not a number
            raise BadInput(name, f"{number:g} cannot be simulated", f"give it in {unit}, from {low:g} to {high:g}")


def _check_order(name: str, value: Range) -> None:
    if value[0] > value[1]:
        raise BadInput(name, f"{value[0]:g} to {value[1]:g} is not a range", f"give low and high, in {UNITS[name]}")
