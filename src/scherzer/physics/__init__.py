"""Formulas of electron optics and radiation, without I/O or loops over a data set."""
