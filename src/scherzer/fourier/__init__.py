"""Grids, cropping, shells, filters, slices and shifts in Fourier space."""
