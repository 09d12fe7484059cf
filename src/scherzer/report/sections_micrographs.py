"""The page's sections on micrographs: defocus by class, curation, gallery, CTF fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scherzer.report import figures_ctf, figures_defocus, figures_micrographs
from scherzer.report.columns import UM, A, Table, table_of
from scherzer.report.data import Micrograph, SessionData
from scherzer.report.experiments import ExperimentView, view_of, without
from scherzer.report.figures_micrographs import MicrographPicture, kind_of_reason
from scherzer.report.settings import ReportSettings
from scherzer.report.tables import Missing
from scherzer.report.verdict_view import underfocus_range
from scherzer.report.words import number_of, plain_number

NAMED_REJECTS = 60
_LABELS = ("good", "moderate", "bad", None)


@dataclass(frozen=True)
class DefocusSection:
    """E1: figure, table by class and what the study says."""

    figure: str | Missing
    table: Table | None
    experiment: ExperimentView
    recommended: bool = False


@dataclass(frozen=True)
class CurationSection:
    """Counts by state and by reason, the exposures turned down by name, and the table of them all."""

    states: Table
    reasons: Table | None
    named: Table | None
    unnamed: int
    everything: Table
    missing: str


@dataclass(frozen=True)
class GalleryTile:
    """One micrograph of the gallery."""

    name: str
    caption: str
    label: str
    reason: str
    why: str
    picture: MicrographPicture | Missing


@dataclass(frozen=True)
class CtfTile:
    """One CTF fit."""

    name: str
    caption: str
    spectrum: str | Missing
    profile: str | Missing


@dataclass(frozen=True)
class CtfSection:
    """Overview of all fits and some of them in full."""

    overview: str | Missing
    fits: tuple[CtfTile, ...] | Missing


def defocus_section(data: SessionData) -> DefocusSection:
    """Return E1."""
    found = data.section("experiments").get("E1")
    experiment = view_of("E1", without(found, ("groups",)))
    groups = figures_defocus.defocus_by_class(data.micrographs)
    if not any(len(group.underfocus_um) for group in groups):
        reason = data.missing.get("ctf") or data.missing.get("import") or "no accepted micrograph has a fitted CTF"
        return DefocusSection(Missing(reason), None, experiment)
    recommended = underfocus_range(data.section("verdict"))
    figure = figures_defocus.draw_defocus(groups, recommended)
    records = [_with_median(group.summary(), found) for group in groups]
    keys = ("contrast class", "micrographs", "underfocus_median_um", "smallest_um", "largest_um")
    return DefocusSection(figure, table_of(records, keys), experiment, recommended is not None)


def _with_median(summary: dict[str, Any], experiment: object) -> dict[str, Any]:
    """Return the row of a class with the study's median, which has an interval, where there is one."""
    groups = experiment.get("groups") if isinstance(experiment, Mapping) else None
    group = groups.get(summary["contrast class"]) if isinstance(groups, Mapping) else None
    median = group.get("underfocus_median_um") if isinstance(group, Mapping) else None
    return {**summary, "underfocus_median_um": median} if median is not None else summary


def curation_section(data: SessionData) -> CurationSection:
    """Return the curation table: counts, reasons, names."""
    records = [_flat(m) for m in data.micrographs]
    labels = [
        label for label in _LABELS if any(m.contrast == label and m.state == "accepted" for m in data.micrographs)
    ]
    states: list[dict[str, Any]] = []
    for label in labels:
        count = sum(m.contrast == label and m.state == "accepted" for m in data.micrographs)
        states.append({"state": "accepted", "contrast class": label or "not classed", "micrographs": count})
    for state in ("rejected", "failed"):
        count = sum(m.state == state for m in data.micrographs)
        if count:
            states.append({"state": state, "contrast class": "", "micrographs": count})
    down = [record for record in records if record["state"] != "accepted"]
    counts = Counter((str(r["state"]), kind_of_reason(str(r.get("reason") or ""))) for r in down)
    by_reason = [
        {"state": s, "reason": r, "micrographs": n} for (s, r), n in sorted(counts.items(), key=lambda i: (-i[1], i[0]))
    ]
    return CurationSection(
        states=table_of(states, ("state", "contrast class", "micrographs")),
        reasons=table_of(by_reason, ("state", "reason", "micrographs")) if by_reason else None,
        named=table_of(down[:NAMED_REJECTS], ("name", "state", "reason")) if down else None,
        unnamed=max(0, len(down) - NAMED_REJECTS),
        everything=table_of(records, _columns_present(records)),
        missing="" if records else data.missing.get("import", "the session holds no micrographs"),
    )


def gallery_section(data: SessionData, settings: ReportSettings) -> tuple[GalleryTile, ...] | Missing:
    """Return a few micrographs of each class with their picks, and rejected ones."""
    chosen = figures_micrographs.choose_examples(
        data.micrographs, settings.micrographs_per_class, settings.rejected_micrographs
    )
    if not chosen:
        return Missing(data.missing.get("import", "no micrograph's image was found"))
    acquisition = _acquisition(data)
    diameter_A, pixel_size_A = (number_of(acquisition.get(key)) for key in ("diameter_A", "pixel_size_A"))
    return tuple(
        GalleryTile(
            name=m.name,
            caption=_gallery_caption(m),
            label=(m.contrast or "not classed") if m.state == "accepted" else m.state,
            reason=str(m.record.get("note" if m.state == "accepted" else "reason") or ""),
            why=_contrast(m, "why") or "",
            picture=figures_micrographs.picture(m, data.picks, data.kept, diameter_A, pixel_size_A),
        )
        for m in chosen
    )


def ctf_section(data: SessionData, settings: ReportSettings) -> CtfSection:
    """Return the CTF fits."""
    fitted = [m for m in data.micrographs if m.state == "accepted" and m.defocus_um is not None]
    if not fitted:
        return CtfSection(Missing(data.missing.get("ctf", "no accepted micrograph has a fitted CTF")), ())
    shown = figures_ctf.representatives(data.micrographs, settings.ctf_fits)
    fits = tuple(_ctf_tile(m) for m in shown) or Missing("the CTF stage kept no picture and no profile of any fit")
    return CtfSection(figures_ctf.draw_overview(fitted, _LABELS), fits)


def _ctf_tile(micrograph: Micrograph) -> CtfTile:
    fit_A = number_of(micrograph.record.get("ctf_fit_resolution_A"))
    profile = figures_ctf.read_profile(micrograph.ctf_profile)
    drawn = profile if isinstance(profile, Missing) else figures_ctf.draw_profile(profile, fit_A, micrograph.contrast)
    return CtfTile(micrograph.name, _ctf_caption(micrograph), figures_ctf.spectrum_picture(micrograph.ctf_image), drawn)


def _ctf_caption(micrograph: Micrograph) -> str:
    record = micrograph.record
    u, v = (number_of(record.get(key)) for key in ("defocus_u_A", "defocus_v_A"))
    parts = []
    if u is not None and v is not None:
        parts.append(f"{plain_number((u + v) / 2e4, 2)} {UM}, astigmatism {plain_number(abs(u - v) / 10, 0)} nm")
    for key, text, unit, decimals in (("ctf_fit_resolution_A", "fit to", f" {A}", 1), ("ctf_score", "score", "", 3)):
        value = number_of(record.get(key))
        if value is not None:
            parts.append(f"{text} {plain_number(value, decimals)}{unit}")
    return ", ".join(parts)


def _gallery_caption(micrograph: Micrograph) -> str:
    parts = []
    if micrograph.defocus_um is not None:
        parts.append(f"{plain_number(micrograph.defocus_um, 2)} {UM}")
    for key, text in (("picks", "picks"), ("particles_kept", "kept")):
        value = number_of(micrograph.record.get(key))
        if value is not None:
            parts.append(f"{plain_number(value)} {text}")
    return ", ".join(parts)


def _flat(micrograph: Micrograph) -> dict[str, Any]:
    """Return a micrograph's record with its contrast as plain columns."""
    record = {**micrograph.record, "name": micrograph.name, "state": micrograph.state}
    record.pop("contrast", None)
    record["contrast class"] = micrograph.contrast or ("" if micrograph.state != "accepted" else "not classed")
    for key in ("probability_good", "d_prime"):
        record[key] = _contrast(micrograph, key)
    record["contrast_why"] = _contrast(micrograph, "why")
    return record


def _contrast(micrograph: Micrograph, key: str) -> Any:
    """Return a field of what the classifier says; None where it says nothing."""
    contrast = micrograph.record.get("contrast")
    return contrast.get(key) if isinstance(contrast, Mapping) else None


def _columns_present(records: list[dict[str, Any]]) -> list[str]:
    wanted = (
        "name",
        "state",
        "contrast class",
        "probability_good",
        "d_prime",
        "defocus_u_A",
        "defocus_v_A",
        "defocus_angle_deg",
        "defocus_error_A",
        "ctf_fit_resolution_A",
        "ctf_score",
        "ctf_confidence",
        "film_tilt_deg",
        "film_tilt_error_deg",
        "motion_total_A",
        "ice_ring",
        "ice_thickness_A",
        "ice_thickness_relative",
        "picks",
        "particles_kept",
        "motion_note",
        "note",
        "contrast_why",
    )
    return [key for key in wanted if any(record.get(key) not in (None, "") for record in records)]


def _acquisition(data: SessionData) -> Mapping[str, Any]:
    """Return the acquisition as ``results.json`` has it, else as ``session.yaml`` has it."""
    stated = data.settings.get("acquisition") or {}
    return {**stated, **(data.section("session").get("acquisition") or {})}
