"""Particles to map: ab initio, refinement, masks, FSC, sharpening."""
