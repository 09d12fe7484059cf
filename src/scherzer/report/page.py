"""The self-contained page: gather, draw, fill the template, write."""

from __future__ import annotations

from pathlib import Path

import jinja2

from scherzer import __version__
from scherzer.formats.atomic import write_text
from scherzer.report.data import SessionData, gather
from scherzer.report.methods import limits, methods_section
from scherzer.report.sections_maps import classes_section, maps_section, resolution_section, subset_section
from scherzer.report.sections_micrographs import ctf_section, curation_section, defocus_section, gallery_section
from scherzer.report.settings import ReportSettings
from scherzer.report.tables import Missing
from scherzer.report.verdict_view import tiles, verdict_view
from scherzer.report.words import typeset

FILE_NAME = "report.html"


def build_report(session_root: Path, settings: ReportSettings | None = None) -> Path:
    """Write the report of a session from what its folder holds.

    Parameters
    ----------
    session_root : Path
        A session's folder. Stages that have not been run are named in the report with that reason.
    settings : ReportSettings, optional
        How much is shown.

    Returns
    -------
    Path
        ``report.html`` in that folder: one file that needs nothing else and is the same for the same session.
    """
    target = session_root / FILE_NAME
    write_text(target, render_page(gather(session_root), settings or ReportSettings()))
    return target


def render_page(data: SessionData, settings: ReportSettings) -> str:
    """Return the page of a session as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("scherzer.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["typeset"] = typeset
    environment.tests["missing"] = lambda value: isinstance(value, Missing)
    session = data.section("session")
    return environment.get_template("report.html.j2").render(
        title=str(session.get("name") or data.root.resolve().name),
        version=str(data.section("software").get("scherzer") or __version__),
        verdict=verdict_view(data),
        tiles=tiles(data),
        defocus=defocus_section(data),
        curation=curation_section(data),
        gallery=gallery_section(data, settings),
        ctf=ctf_section(data, settings),
        classes=classes_section(data, settings),
        maps=maps_section(data, settings),
        resolution=resolution_section(data, settings),
        subsets=subset_section(data),
        methods=methods_section(data),
        limits=limits(data),
        has_kept_picks=data.kept is not None,
    )
