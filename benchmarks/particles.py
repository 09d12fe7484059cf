"""Picking, extraction, 2D classification and the choice of classes, in one table; what is asked for stands in brackets.

    python benchmarks/particles.py

Each part can be run alone: ``particles_picking.py``, ``particles_class2d.py``, ``particles_fairness.py`` and
``class2d_relion.py``, which runs RELION where it is installed and takes some five minutes of one core.
"""

from __future__ import annotations

from functools import partial

import class2d_relion
import particles_class2d
import particles_fairness
import particles_picking
from parts import in_folder, print_parts

PARTS = {
    "Picking": particles_picking.rows,
    "2D classification and the choice of classes": particles_class2d.rows,
    "From picks to kept particles": partial(in_folder, particles_fairness.rows),
    "2D beside RELION": class2d_relion.rows,
}

if __name__ == "__main__":
    print_parts(PARTS)
