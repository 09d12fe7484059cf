"""Figures, tables, the self-contained page and the machine-readable results."""
