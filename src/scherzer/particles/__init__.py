"""Micrograph to particles: picking, extraction, 2D classification, class selection."""
