"""Figures, tables and the self-contained page of a session."""

from __future__ import annotations

from scherzer.report.page import build_report

__all__ = ["build_report"]
