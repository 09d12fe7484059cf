"""The methods paragraph, the parameters and versions, and the limits of what the report says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from scherzer.report.columns import A, column_of
from scherzer.report.data import SessionData
from scherzer.report.experiments import not_done
from scherzer.report.words import number_of, quantity

FEW_MICROGRAPHS = 5
_HIDDEN_SETTINGS = ("inputs", "software", "acquisition")


@dataclass(frozen=True)
class Parameter:
    """One setting as used."""

    section: str
    name: str
    value: str


@dataclass(frozen=True)
class MethodsSection:
    """Paragraph, acquisition, settings and versions."""

    paragraph: str
    acquisition: tuple[Parameter, ...]
    settings: tuple[Parameter, ...]
    software: tuple[tuple[str, str], ...]


def methods_section(data: SessionData) -> MethodsSection:
    """Return the methods of the stages that were run."""
    software = data.section("software") or data.settings.get("software") or {}
    acquisition = {**(data.settings.get("acquisition") or {}), **(data.section("session").get("acquisition") or {})}
    settings = {key: value for key, value in data.settings.items() if key not in _HIDDEN_SETTINGS}
    return MethodsSection(
        paragraph=" ".join(_sentences(data, acquisition, str(software.get("scherzer", "")))),
        acquisition=tuple(_parameters("acquisition", acquisition)),
        settings=tuple(entry for section, value in settings.items() for entry in _parameters(str(section), value)),
        software=tuple((str(name), str(version)) for name, version in software.items()),
    )


def limits(data: SessionData) -> tuple[str, ...]:
    """Return what this report cannot say, from what the session lacks."""
    found = [str(entry) for entry in data.results.get("limits") or []]
    found += _doubts_of_recording(data.section("session"))
    experiments = data.section("experiments")
    if experiments:
        found += not_done(experiments, ("E1", "E2", "E3", "E4", "E5", "E6", "E7"))
    else:
        found.append(
            f"No group was compared with another: {data.missing.get('study', 'results.json holds no experiments')}."
        )
    for label in ("good", "moderate", "bad"):
        count = sum(m.contrast == label and m.state == "accepted" for m in data.micrographs)
        if 0 < count < FEW_MICROGRAPHS:
            noun = "micrograph" if count == 1 else "micrographs"
            found.append(f"The class {label} has {count} {noun}; what is said of it rests on those alone.")
    if data.maps:
        symmetry = sorted({str(entry.record["symmetry"]) for entry in data.maps if entry.record.get("symmetry")})
        if symmetry and symmetry != ["C1"]:
            found.append(f"Symmetry {', '.join(symmetry)} was imposed as stated by the user, not tested.")
        found.append("The hand of a map cannot be told from untilted images; the pictures may show the mirror image.")
        found.append("Resolutions and defocus scale with the pixel size, which was taken as given and not calibrated.")
    if len({m.contrast for m in data.micrographs if m.contrast}) > 1:
        found.append(
            "Contrast, defocus and ice thickness change together in a screening session; equal counts remove the "
            "effect of the number of particles, not of the ice."
        )
    return tuple(found)


def _doubts_of_recording(session: Mapping[str, Any]) -> list[str]:
    """Return where the user, metadata and headers disagree, and what was made of the camera's pixels."""
    sources = (session.get("sources") or {}).get("sources") or []
    doubts = [f"Sources disagree: {source['words']}." for source in sources if not source.get("agree", True)]
    notes = (session.get("camera") or {}).get("notes") or []
    return doubts + [f"Of the camera: {note}." for note in notes]


def _sentences(data: SessionData, acquisition: Mapping[str, Any], version: str) -> Iterator[str]:
    """One or two sentences for each stage whose output is there, in the order of the stages."""
    if data.micrographs:
        yield _import_sentence(data, acquisition, version)
    if any(number_of(m.record.get("motion_total_A")) is not None for m in data.micrographs):
        dose = number_of(acquisition.get("dose_per_frame_e_per_A2"))
        weighting = (
            f"summed with exposure weighting at {dose:g} e/{A}² per frame (Grant & Grigorieff 2015)"
            if dose
            else "summed without exposure weighting, as no dose was given"
        )
        yield (
            "Movie frames were moved to their most probable positions, parts of the field apart where the specimen "
            f"bent notably, and {weighting}."
        )
    if "ctf" not in data.missing:
        yield (
            "Defocus and astigmatism were fitted to the rings of each power spectrum, with the spectral model and fit "
            "resolution of Rohou & Grigorieff (2015)."
        )
    if "contrast" not in data.missing:
        yield (
            "Exposures that drifted, were empty, iced or without rings were set aside; the others were classed by "
            "contrast as good, moderate or bad without regard to defocus."
        )
    if data.picks is not None:
        diameter = number_of(acquisition.get("diameter_A"))
        size = f" of {diameter:g} {A} diameter" if diameter else ""
        error = number_of((data.section("session").get("diameter") or {}).get("error_A"))
        if size and error:
            size += f" (measured, \u00b1 {error:g} {A})"
        yield (
            f"Particles{size} were picked without a reference, cut out, normalised and divided into two half-sets by "
            "micrograph, once for all later steps."
        )
    if data.galleries:
        yield "2D classes were made by maximum likelihood and kept or left by their resolution, population and shape."
    if data.maps:
        yield _refinement_sentence(data)
    if data.section("experiments"):
        yield (
            "Subsets were compared over repeated draws with the micrograph as the unit of resampling; every interval "
            "names its method."
        )


def _import_sentence(data: SessionData, acquisition: Mapping[str, Any], version: str) -> str:
    parts = []
    for key, text in (
        ("voltage_kV", "{} kV"),
        ("cs_mm", "spherical aberration {} mm"),
        ("amplitude_contrast", "amplitude contrast {}"),
        ("pixel_size_A", f"{{}} {A} per pixel"),
    ):
        value = number_of(acquisition.get(key))
        if value is not None:
            parts.append(text.format(f"{value:g}"))
    recorded = f" recorded at {', '.join(parts)}" if parts else ""
    return (
        f"{len(data.micrographs)} exposures{recorded} were processed with scherzer{' ' + version if version else ''}."
    )


def _refinement_sentence(data: SessionData) -> str:
    symmetry = sorted({str(entry.record["symmetry"]) for entry in data.maps if entry.record.get("symmetry")})
    starts = sorted({str(entry.record["start"]) for entry in data.maps if entry.record.get("start")})
    imposed = f" with symmetry {' and '.join(symmetry)}" if symmetry else ""
    begun = f", starting from {' or '.join(starts)}" if starts else ""
    return (
        f"Maps were refined{imposed}{begun}, the half-sets apart; the FSC was corrected for the mask by randomised "
        "phases (Chen et al. 2013), the resolution read at 0.143, and the B-factor fitted as by Rosenthal & Henderson "
        "(2003)."
    )


def _parameters(section: str, value: object) -> Iterator[Parameter]:
    if isinstance(value, Mapping):
        for name, entry in value.items():
            inner = isinstance(entry, Mapping)
            yield from (
                _parameters(f"{section}.{name}" if inner else section, entry)
                if inner
                else _one(section, str(name), entry)
            )
    else:
        yield from _one(section, section, value)


def _one(section: str, name: str, value: object) -> Iterator[Parameter]:
    if isinstance(value, list):
        text = ", ".join(quantity(entry) for entry in value) or "none"
    elif isinstance(value, str) and PurePath(value).is_absolute():
        # Only the file's name: a report travels, and folders of the machine it was made on mean nothing elsewhere.
        text = PurePath(value).name
    elif isinstance(value, float):
        text = f"{value:g} {column_of(name).unit}".strip()
    else:
        text = "not given" if value is None else quantity(value, column_of(name).unit)
    yield Parameter(section, name, text)
