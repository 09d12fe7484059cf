"""What a simulated session is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scherzer.formats.errors import BadInput
from scherzer.physics.optics import Optics


@dataclass(frozen=True)
class SimulationSettings:
    """A microscope session.

    Attributes
    ----------
    micrographs : int
        Sound exposures; those with an artefact come on top.
    drifted, empty, crystalline, contaminated : int
        Exposures with one artefact each: drift within the frames that no correction can undo, ice without particles,
        crystalline ice, large ice contamination.
    height_px, width_px : int
        Size of the images.
    pixel_size_A, voltage_kV, cs_mm, amplitude_contrast : float
        Optics.
    dose_e_per_A2 : float
        Total exposure.
    frames : int
        Frames of a movie; 1 writes sums that are already aligned.
    defocus_low_um, defocus_high_um : float
        Range of the underfocus; it is covered evenly, in random order.
    astigmatism_A : float
        Standard deviation of the difference between the two defoci.
    ice_thin_A, ice_thick_A : float
        Range of the ice's thickness.
    particles_per_micrograph : int
        Wanted; fewer where they do not fit without touching.
    fragment_fraction : float
        Share of broken particles among them.
    model : Path or None
        PDB or mmCIF of the specimen; None for the built-in phantom.
    symmetry : str
        Point group of the phantom, and of the model where there is one.
    diameter_A : float
        Diameter of the phantom; of the particle where there is a model.
    b_factor_A2 : float
        Envelope of everything that blurs the images beside what is modelled.
    beam_semiangle_mrad : float
        Divergence of the illumination.
    energy_filter : bool
        With a filter, thick ice costs electrons; without, it costs contrast.
    drift_A : float
        Typical path of the specimen during an exposure.
    seed : int
        Everything random follows from it.
    """

    micrographs: int = 10
    drifted: int = 0
    empty: int = 0
    crystalline: int = 0
    contaminated: int = 0
    height_px: int = 1024
    width_px: int = 1024
    pixel_size_A: float = 1.6
    voltage_kV: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast: float = 0.07
    dose_e_per_A2: float = 40.0
    frames: int = 1
    defocus_low_um: float = 0.5
    defocus_high_um: float = 2.6
    astigmatism_A: float = 120.0
    ice_thin_A: float = 200.0
    ice_thick_A: float = 450.0
    particles_per_micrograph: int = 80
    fragment_fraction: float = 0.04
    model: Path | None = None
    symmetry: str = "O"
    diameter_A: float = 130.0
    b_factor_A2: float = 60.0
    beam_semiangle_mrad: float = 0.01
    energy_filter: bool = False
    drift_A: float = 20.0
    seed: int = 1

    def __post_init__(self) -> None:
        checks = {
            "frames": self.frames >= 1,
            "micrographs": self.micrographs >= 0,
            "pixel size": 0.3 <= self.pixel_size_A <= 10,
            "image size": min(self.height_px, self.width_px) >= 128,
            "defocus range": 0 <= self.defocus_low_um <= self.defocus_high_um <= 20,
            "ice thickness": 0 < self.ice_thin_A <= self.ice_thick_A,
            "dose": self.dose_e_per_A2 > 0,
            "voltage": 60 <= self.voltage_kV <= 1000,
            "diameter": self.diameter_A >= 20,
        }
        for name, sound in checks.items():
            if not sound:
                raise BadInput(
                    name, "is outside what can be simulated", "see the units in the help of scherzer simulate"
                )

    @property
    def optics(self) -> Optics:
        """The optics that all exposures share."""
        return Optics(self.pixel_size_A, self.voltage_kV, self.cs_mm, self.amplitude_contrast)

    @property
    def dose_per_frame_e_per_A2(self) -> float:
        """Exposure of one frame."""
        return self.dose_e_per_A2 / self.frames
