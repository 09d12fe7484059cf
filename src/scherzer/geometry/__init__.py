"""Rotations, orientation grids and point groups."""
