"""Motion, CTF and condition of micrographs beside the truth, published values and RELION, in one table.

Run from the project's root: ``python benchmarks/micrographs.py``; it takes about half an hour on two cores. Each part
can be run alone: ``micrographs_motion.py``, ``micrographs_ctf.py``, ``micrographs_condition.py``. What is asked for
stands in brackets.
"""

from __future__ import annotations

from functools import partial

import micrographs_condition
import micrographs_ctf
import micrographs_motion
from parts import in_folder, print_parts

PARTS = {
    "Motion": partial(in_folder, micrographs_motion.rows),
    "CTF": micrographs_ctf.rows,
    "Condition and ice": micrographs_condition.rows,
}

if __name__ == "__main__":
    print_parts(PARTS)
