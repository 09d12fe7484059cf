"""What headers and metadata say of a session, beside what is used; a user's word goes before theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from scherzer.formats.eer import EerSettings
from scherzer.formats.errors import BadInput
from scherzer.formats.exposure_metadata import ExposureMetadata
from scherzer.formats.movies import Movie, open_exposure
from scherzer.formats.sidecars import find_sidecar, read_sidecar
from scherzer.session.acquisition import QUANTITIES, Acquisition

# Programs that do not know the pixel size write 0 or 1.
UNSET_PIXEL_SIZES_A = (0.0, 1.0)
# By how much two sources may differ: headers round; a dose is measured anew every session.
TOLERANCE = {"pixel_size_A": 0.01, "voltage_kV": 0.01, "dose_per_frame_e_per_A2": 0.1}
# Of so many exposures, evenly over the session, the values are taken that a user left out.
SAMPLED = 16


@dataclass(frozen=True)
class Description:
    """What the header of one exposure and the metadata beside it say; None is "not said" or not to be believed.

    Attributes
    ----------
    frames, height, width : int
        Of the exposure as it is read.
    header_pixel_size_A, header_dose_per_frame_e_per_A2 : float or None
        From the header.
    metadata_by, metadata_file, metadata_problem : str
        Who wrote the metadata, where it lies, and why it could not be read; empty where there is none.
    pixel_size_A, voltage_kV, dose_per_frame_e_per_A2, dose_e_per_A2 : float or None
        From the metadata, the pixel size at this width and the dose for these frames.
    target_underfocus_A, exposure_s, tilt_deg : float or None
        From the metadata.
    beam_shift : tuple of float or None
        From the metadata, in the instrument's units.
    """

    frames: int = 1
    height: int = 0
    width: int = 0
    header_pixel_size_A: float | None = None
    header_dose_per_frame_e_per_A2: float | None = None
    metadata_by: str = ""
    metadata_file: str = ""
    metadata_problem: str = ""
    pixel_size_A: float | None = None
    voltage_kV: float | None = None
    dose_per_frame_e_per_A2: float | None = None
    dose_e_per_A2: float | None = None
    target_underfocus_A: float | None = None
    exposure_s: float | None = None
    tilt_deg: float | None = None
    beam_shift: tuple[float, float] | None = None


def describe(movie: Movie) -> Description:
    """Return what the header of an exposure and the metadata beside it say; bad metadata costs itself only."""
    height, width = movie.shape
    header_A = _likely("pixel_size_A", None if movie.pixel_size_A in UNSET_PIXEL_SIZES_A else movie.pixel_size_A)
    header_dose = None
    if header_A is not None and movie.dose_per_frame_e_per_px is not None:
        header_dose = movie.dose_per_frame_e_per_px / (header_A * movie.upsampling) ** 2
    header = Description(movie.frame_count, height, width, header_A, _likely("dose_per_frame_e_per_A2", header_dose))
    sidecar = find_sidecar(movie.path)
    if sidecar is None:
        return header
    try:
        found = read_sidecar(sidecar, movie.path)
    except BadInput as error:
        return replace(header, metadata_file=str(sidecar), metadata_problem=error.problem)
    return _with_metadata(header, found, str(sidecar))


def _with_metadata(header: Description, found: ExposureMetadata, file: str) -> Description:
    dose_per_frame = None
    if found.dose_e_per_A2 is not None and header.frames > 1:
        dose_per_frame = found.dose_e_per_A2 / header.frames
    return replace(
        header,
        metadata_by=found.source,
        metadata_file=file,
        pixel_size_A=_likely("pixel_size_A", found.pixel_size_at(header.width)),
        voltage_kV=_likely("voltage_kV", found.voltage_kV),
        dose_per_frame_e_per_A2=_likely("dose_per_frame_e_per_A2", dose_per_frame),
        dose_e_per_A2=found.dose_e_per_A2,
        target_underfocus_A=found.target_underfocus_A,
        exposure_s=found.exposure_s,
        tilt_deg=found.tilt_deg,
        beam_shift=found.beam_shift,
    )


def _likely(name: str, value: float | None) -> float | None:
    """Return a value that an electron microscope can have."""
    quantity = QUANTITIES[name]
    return value if value is not None and quantity.low <= value <= quantity.high else None


@dataclass(frozen=True)
class Source:
    """One quantity as the sources have it.

    Attributes
    ----------
    name : str
        Field of `Acquisition`.
    used, metadata, headers : float or None
        What is used, and what most metadata files and headers say.
    metadata_by : str
        Who wrote the metadata.
    """

    name: str
    used: float | None
    metadata: float | None
    headers: float | None
    metadata_by: str = ""

    @property
    def offered(self) -> float | None:
        """What to take where the user says nothing."""
        return self.headers if self.metadata is None else self.metadata

    @property
    def agree(self) -> bool:
        """Whether all that is known is the same within the tolerance."""
        known = [value for value in (self.used, self.metadata, self.headers) if value is not None]
        return not known or max(known) <= (1 + TOLERANCE[self.name]) * min(known)

    def in_words(self) -> str:
        """Return the values side by side."""
        quantity = QUANTITIES[self.name]
        parts = [f"{quantity.meaning} {_brief(self.used)} {quantity.unit} used"]
        if self.metadata is not None:
            parts.append(f"{_brief(self.metadata)} in the {self.metadata_by}")
        if self.headers is not None:
            parts.append(f"{_brief(self.headers)} in the headers")
        return ", ".join(parts) + (" (a factor of 2: super-resolution or binning?)" if self._factor_of_two() else "")

    def metadata_in_words(self) -> str:
        """Return what the metadata say, for a list."""
        quantity = QUANTITIES[self.name]
        return f"{quantity.meaning} {_brief(self.metadata)} {quantity.unit}"

    def to_json(self) -> dict[str, Any]:
        """Return the source as ``import/sources.json`` has it."""
        return {**asdict(self), "unit": QUANTITIES[self.name].unit, "agree": self.agree, "words": self.in_words()}

    def _factor_of_two(self) -> bool:
        known = [value for value in (self.used, self.metadata, self.headers) if value is not None]
        ratio = max(known, default=1) / min(known, default=1)
        return self.name == "pixel_size_A" and any(abs(ratio / power - 1) < 0.02 for power in (2, 4))


def compare_sources(descriptions: Sequence[Description], acquisition: Acquisition) -> list[Source]:
    """Put side by side what is used and what the exposures of a session say."""
    writers = Counter(one.metadata_by for one in descriptions if one.metadata_by)
    writer = writers.most_common(1)[0][0] if writers else ""
    return [
        Source(
            "pixel_size_A",
            acquisition.pixel_size_A,
            commonest([one.pixel_size_A for one in descriptions]),
            commonest([one.header_pixel_size_A for one in descriptions]),
            writer,
        ),
        Source("voltage_kV", acquisition.voltage_kV, commonest([one.voltage_kV for one in descriptions]), None, writer),
        Source(
            "dose_per_frame_e_per_A2",
            acquisition.dose_per_frame_e_per_A2,
            _middle([one.dose_per_frame_e_per_A2 for one in descriptions]),
            _middle([one.header_dose_per_frame_e_per_A2 for one in descriptions]),
            writer,
        ),
    ]


def filled_in(acquisition: Acquisition, paths: Sequence[Path], eer: EerSettings) -> Acquisition:
    """Return the acquisition with what the user left out taken from metadata and, after them, from headers."""
    if all(getattr(acquisition, name) is not None for name in TOLERANCE):
        return acquisition
    descriptions = []
    for path in paths[:: 1 + (len(paths) - 1) // SAMPLED]:
        try:
            descriptions.append(describe(open_exposure(path, eer)))
        except BadInput:
            continue  # the import stage names this file and its reason
    offers = {source.name: source.offered for source in compare_sources(descriptions, acquisition)}
    missing: dict[str, Any] = {name: offer for name, offer in offers.items() if getattr(acquisition, name) is None}
    return replace(acquisition, **missing)


def commonest(values: Sequence[float | None]) -> float | None:
    """Return the commonest value, to four decimals, the earliest of those equally common; None where there are none."""
    counts = Counter(round(value, 4) for value in values if value is not None)
    return counts.most_common(1)[0][0] if counts else None


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 4) if known else None


def _brief(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"
