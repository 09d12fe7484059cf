"""Micrographs classed by contrast: the network and its physical rival."""
