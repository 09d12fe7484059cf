"""How a session was recorded: the numbers a user gives, their units and the range in which each makes sense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scherzer.formats.errors import BadInput
from scherzer.physics.optics import Optics


@dataclass(frozen=True)
class Acquisition:
    """What the user states about a session; None is "not said".

    Attributes
    ----------
    pixel_size_A : float or None
        Pixel size of the input images; read from metadata beside them or from their headers when None.
    voltage_kV, cs_mm : float or None
        Acceleration voltage, read from metadata when None, and spherical aberration.
    amplitude_contrast : float
        Fraction of amplitude contrast.
    dose_per_frame_e_per_A2 : float or None
        Exposure of one movie frame, read from metadata when None; where it is not known, movies are summed without dose
        weighting.
    gain : str or None
        Path of the gain reference by which movie frames are multiplied.
    gain_rotation, gain_flip : int or None
        How it has to be turned, as RELION's ``--gain_rot`` (0 to 3) and ``--gain_flip`` (0 to 2); found from the movies
        when neither is given.
    defects : str or None
        Path of a list or map of pixels that do not work.
    symmetry : str
        Point group: C1, Cn, Dn, T, O or I.
    diameter_A : float or None
        Largest diameter of the particle; measured in the micrographs when None.
    initial_map : str or None
        Path of a map from which refinement starts instead of from an ab initio map.
    """

    pixel_size_A: float | None = None
    voltage_kV: float | None = None
    cs_mm: float | None = None
    amplitude_contrast: float = 0.1
    dose_per_frame_e_per_A2: float | None = None
    gain: str | None = None
    gain_rotation: Literal[0, 1, 2, 3] | None = None
    gain_flip: Literal[0, 1, 2] | None = None
    defects: str | None = None
    symmetry: str = "C1"
    diameter_A: float | None = None
    initial_map: str | None = None


@dataclass(frozen=True)
class Quantity:
    """One number of the acquisition: its option, unit, meaning and the range outside which it must be a slip."""

    option: str
    unit: str
    meaning: str
    low: float
    high: float


# The ranges hold every microscope and specimen in use; a value outside is nearly always given in another unit.
QUANTITIES = {
    "pixel_size_A": Quantity("--pixel-size", "A", "pixel size", 0.1, 20.0),
    "voltage_kV": Quantity("--voltage", "kV", "acceleration voltage", 60.0, 1250.0),
    "cs_mm": Quantity("--cs", "mm", "spherical aberration", 0.0, 10.0),
    "amplitude_contrast": Quantity("--amplitude-contrast", "a fraction", "amplitude contrast", 0.0, 0.5),
    "dose_per_frame_e_per_A2": Quantity("--dose-per-frame", "e/A2", "exposure per frame", 0.01, 50.0),
    "diameter_A": Quantity("--diameter", "A", "particle diameter", 20.0, 3000.0),
}


def check_ranges(acquisition: Acquisition) -> None:
    """Refuse numbers that no microscope or specimen has.

    Raises
    ------
    BadInput
        Naming the option, its unit and the range.
    """
    for name, quantity in QUANTITIES.items():
        value = getattr(acquisition, name)
        if value is not None and not quantity.low <= value <= quantity.high:
            raise BadInput(
                quantity.option,
                f"{value:g} {quantity.unit} is not a likely {quantity.meaning}",
                f"give it in {quantity.unit}, between {quantity.low:g} and {quantity.high:g}",
            )


def stated(acquisition: Acquisition, name: str) -> float:
    """Return a number of the acquisition that a stage cannot do without.

    Raises
    ------
    BadInput
        If neither the user nor metadata nor headers gave it.
    """
    value = getattr(acquisition, name)
    if value is None:
        quantity = QUANTITIES[name]
        places = {"pixel_size_A": " and is not in the image headers", "voltage_kV": " and is in no metadata"}
        where = places.get(name, "")
        raise BadInput(
            quantity.meaning,
            f"not given{where}",
            f"give {quantity.option} in {quantity.unit} (or {name} in session.yaml)",
        )
    return float(value)


def optics_of(acquisition: Acquisition) -> Optics:
    """Return the optics of the session's micrographs.

    Raises
    ------
    BadInput
        If pixel size, voltage or spherical aberration are not known.
    """
    return Optics(
        pixel_size_A=stated(acquisition, "pixel_size_A"),
        voltage_kV=stated(acquisition, "voltage_kV"),
        cs_mm=stated(acquisition, "cs_mm"),
        amplitude_contrast=acquisition.amplitude_contrast,
    )
