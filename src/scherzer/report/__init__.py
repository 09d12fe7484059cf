"""Figures, tables and the self-contained page of a session."""

from __future__ import annotations

from scherzer.report.page import build_report
from scherzer.report.settings import ReportSettings

__all__ = ["ReportSettings", "build_report"]
