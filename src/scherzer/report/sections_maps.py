"""The page's sections on particles and maps: 2D classes, maps, resolution, subsets, ResLog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scherzer.report import figures_classes, figures_fsc, figures_maps, figures_study
from scherzer.report.columns import A, Table, column_of, table_of
from scherzer.report.data import MapEntry, SessionData
from scherzer.report.experiments import ExperimentView, estimates, view_of
from scherzer.report.figures_classes import ClassTile
from scherzer.report.figures_maps import MapPictures
from scherzer.report.reslog_view import reslog_plot
from scherzer.report.settings import ReportSettings
from scherzer.report.style import subset_colours
from scherzer.report.tables import Missing
from scherzer.report.words import brief, number_of, plain_number, quantity, unknown

COMPARED = ("E2", "E3", "E4", "E5", "E6", "E7")
_SUBSET_COLUMNS = (
    "subset",
    "symmetry",
    "micrographs",
    "particles",
    "resolution_fsc143_A",
    "resolution_fsc05_A",
    "bfactor_A2",
    "start",
)


@dataclass(frozen=True)
class GallerySection:
    """The 2D classes of one group of micrographs; ``particles`` says what of them is kept."""

    heading: str
    summary: str
    particles: str
    tiles: tuple[ClassTile, ...] | Missing


@dataclass(frozen=True)
class MapView:
    """One map: its pictures, the lines beneath it in the comparison and what stands beside it alone."""

    subset: str
    lines: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    pictures: MapPictures | Missing


@dataclass(frozen=True)
class CurveView:
    """FSC and Guinier plot of one map."""

    subset: str
    fsc: str | Missing
    guinier: str | Missing


@dataclass(frozen=True)
class ResolutionSection:
    """Corrected FSC of all subsets together, then each with all its curves."""

    together: str
    curves: tuple[CurveView, ...]
    left_out: int


@dataclass(frozen=True)
class SubsetSection:
    """The subset table, the figure of the study and its experiments."""

    table: Table | None
    caption: str
    figure: str
    experiments: tuple[ExperimentView, ...]
    missing: str
    reslog: str | Missing
    reslog_facts: tuple[tuple[str, str], ...]


def classes_section(data: SessionData, settings: ReportSettings) -> tuple[GallerySection, ...] | Missing:
    """Return the 2D galleries."""
    if not data.galleries:
        return Missing(data.missing.get("class2d", "no 2D classes"))
    sections = []
    for gallery in data.galleries:
        tiles = figures_classes.tiles(gallery, settings.classes)
        if isinstance(tiles, Missing):
            sections.append(GallerySection(gallery.group, "", "", tiles))
            continue
        kept = sum(tile.kept for tile in tiles)
        hidden = len(gallery.classes) - len(tiles)
        summary = f"{kept} of {len(gallery.classes)} classes kept" + (
            f"; {hidden} not shown (empty or smallest)" if hidden else ""
        )
        sections.append(
            GallerySection(gallery.group, summary, "" if gallery.group else _particles_kept(data), tuple(tiles))
        )
    return tuple(sections)


def _particles_kept(data: SessionData) -> str:
    """Say how many particles are kept, of each contrast class too, and whether a person had a say in it."""
    facts = data.section("class2d")
    if not facts.get("particles"):
        return ""
    kept, whole = facts["kept"], facts["particles"]
    groups = [
        f"{name} {100 * group['kept'] / group['particles']:.0f} %"
        for name, group in facts.get("by_contrast", {}).items()
        if group["particles"]
    ]
    parts = [f"{plain_number(kept, 0)} of {plain_number(whole, 0)} particles are kept ({100 * kept / whole:.0f} %)"]
    if groups:
        parts.append(f"by contrast class: {', '.join(groups)}")
    if facts.get("by_hand"):
        parts.append(f"classes chosen by hand: {facts['by_hand']}")
    return "; ".join(parts) + "."


def maps_section(data: SessionData, settings: ReportSettings) -> tuple[MapView, ...] | Missing:
    """Return every map's pictures, the ab initio map last."""
    views = []
    colours = subset_colours([entry.subset for entry in data.maps])
    for entry in _for_pictures(data.maps)[: settings.maps]:
        path = entry.files.get("sharpened") or entry.files.get("map")
        pictures = figures_maps.map_pictures(path, entry.files.get("mask"), colours[entry.subset], settings.surface)
        sharpened = path is not None and path == entry.files.get("sharpened")
        views.append(MapView(entry.subset, short_lines(entry), map_facts(entry, pictures, sharpened), pictures))
    if data.abinitio is not None:
        pictures = figures_maps.map_pictures(data.abinitio, None, "#999999", settings.surface)
        views.append(MapView("ab initio", (), picture_facts(pictures), pictures))
    if not views:
        return Missing(data.missing.get("refine", "no map"))
    return tuple(views)


def _for_pictures(maps: Sequence[MapEntry]) -> list[MapEntry]:
    """Maps of selected particles before those of all picks, else in their order; those with no file are left out."""
    drawable = [entry for entry in maps if "map" in entry.files or "sharpened" in entry.files]
    return sorted(drawable or maps, key=lambda entry: "picked" in entry.subset)


def short_lines(entry: MapEntry) -> tuple[str, ...]:
    """Return the lines beneath a map among others: resolution, B-factor, particles, and doubt of it."""
    record = entry.record
    lines = [brief(record.get("resolution_fsc143_A"), A, record.get("resolution_fsc143_A_reason"), 2)]
    if number_of(record.get("bfactor_A2")) is not None:
        lines.append(f"B-factor {brief(record.get('bfactor_A2'), f'{A}²', None, 0)}")
    if number_of(record.get("particles")) is not None:
        lines.append(f"{quantity(record['particles'])} particles")
    structure = record.get("structure")
    if structure and structure["verdict"] != "structure":
        lines.append(str(structure["verdict"]))
    return tuple(lines)


def map_facts(entry: MapEntry, pictures: MapPictures | Missing, sharpened: bool) -> tuple[tuple[str, str], ...]:
    """Return what stands beside a map's pictures: resolution, B-factor, particles, contour."""
    record = entry.record
    facts = [
        (
            "resolution, FSC 0.143",
            brief(record.get("resolution_fsc143_A"), A, record.get("resolution_fsc143_A_reason"), 2),
        )
    ]
    if record.get("structure"):
        verdict, _, reason = str(record["structure"]["sentence"]).partition(": ")
        facts.append(("a structure?", f"{'yes' if verdict == 'structure' else verdict}: {reason}"))
    facts.append(("B-factor", brief(record.get("bfactor_A2"), f"{A}²", record.get("bfactor_A2_reason"), 0)))
    shown = (key for key in ("particles", "micrographs", "symmetry", "start") if record.get(key) not in (None, ""))
    facts += [(column_of(key).heading, quantity(record[key])) for key in shown]
    facts.append(("map", "sharpened" if sharpened else "not sharpened"))
    return (*facts, *picture_facts(pictures))


def picture_facts(pictures: MapPictures | Missing) -> tuple[tuple[str, str], ...]:
    """Return contour and width of the pictures."""
    if isinstance(pictures, Missing):
        return ()
    level = plain_number(pictures.level)
    if pictures.level_sd is not None:
        level += f" ({plain_number(pictures.level_sd, 1)} sd of the solvent)"
    width = (("width of a picture", f"{plain_number(pictures.field_nm, 1)} nm"),) if pictures.field_nm else ()
    return (("contour", level), *width)


def resolution_section(data: SessionData, settings: ReportSettings) -> ResolutionSection | Missing:
    """Return FSC and Guinier plots."""
    if not data.maps:
        return Missing(data.missing.get("refine", "no map"))
    colours = subset_colours([entry.subset for entry in data.maps])
    read = [(entry, figures_fsc.read_curves(entry.files.get("fsc"))) for entry in data.maps]
    drawable = [
        (entry.subset, found) for entry, found in read if not isinstance(found, Missing) and "corrected" in found.curves
    ]
    together = figures_fsc.draw_fsc_together(drawable[:8], colours) if len(drawable) > 1 else ""
    views = []
    for entry, found in read[: settings.curves]:
        if isinstance(found, Missing):
            views.append(CurveView(entry.subset, found, found))
            continue
        colour = colours[entry.subset]
        fsc = figures_fsc.draw_fsc(found, colour, number_of(entry.record.get("resolution_fsc143_A")))
        views.append(CurveView(entry.subset, fsc, _guinier(entry, found.guinier, colour)))
    return ResolutionSection(together, tuple(views), max(0, len(read) - settings.curves))


def subset_section(data: SessionData) -> SubsetSection:
    """Return what the study found."""
    experiments: Mapping[str, Any] = data.section("experiments")
    compared = estimates(experiments, COMPARED)
    records = [entry.record for entry in data.maps]
    plot = reslog_plot(data.results)
    common = [key for key in ("symmetry", "start") if len({str(record.get(key)) for record in records}) == 1]
    shared = [f"{column_of(key).heading} {records[0][key]}" for key in common if records[0].get(key)]
    alike = f"; all with {', '.join(shared)}" if shared else ""
    keys = [key for key in COMPARED if key in experiments or key in ("E2", "E4", "E5", "E6")]
    return SubsetSection(
        table=table_of(records, [key for key in _SUBSET_COLUMNS if key not in common]) if records else None,
        caption=f"Every refined subset{alike}.",
        figure=figures_study.draw_estimates(compared) if compared else "",
        experiments=tuple(view_of(key, experiments.get(key)) for key in keys),
        missing="" if experiments else data.missing.get("study", "results.json holds no experiments"),
        reslog=plot if isinstance(plot, Missing) else figures_study.draw_reslog(plot.plot),
        reslog_facts=() if isinstance(plot, Missing) else plot.facts,
    )


def _guinier(entry: MapEntry, guinier: figures_fsc.Guinier | Missing, colour: str) -> str | Missing:
    if isinstance(guinier, Missing):
        return guinier
    bfactor = entry.record.get("bfactor_A2")
    text = (
        f"B = {quantity(bfactor, f'{A}²', decimals=0)}"
        if number_of(bfactor) is not None
        else unknown(entry.record.get("bfactor_A2_reason"))
    )
    return figures_fsc.draw_guinier(guinier, colour, text)
