"""Recall, precision, centring and time of the picker; run ``python benchmarks/picking.py``.

Prints two tables: real apo-ferritin micrographs against a third party's picks (where the data are), and simulated
micrographs against their truth. The simulation and the pairing are those of the tests.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from scherzer.particles.picking import pick_blobs
from scherzer.physics.optics import Optics

TESTS = Path(__file__).resolve().parents[1] / "tests"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def real_table() -> None:
    agreement = load(TESTS / "agreement" / "test_picking_real.py")
    if not agreement.DATA.is_dir():
        print(f"real apo-ferritin: skipped, no data at {agreement.DATA}")
        return
    print(f"{'micrograph':18} {'recall':>7} {'precision':>9} {'picks':>6} {'CPU s':>6}")
    total = np.zeros(4)
    for path in sorted((agreement.DATA / "picks").glob("*.csv")):
        start = time.process_time()
        found, shape = agreement.picked(path.stem)
        seconds = time.process_time() - start
        counts = agreement.tally(found, np.loadtxt(path, delimiter=",", skiprows=1), shape)
        total += counts
        recall, precision = counts[0] / counts[1], counts[2] / counts[3]
        print(f"{path.stem:18} {recall:7.3f} {precision:9.3f} {len(found):6} {seconds:6.2f}")
    print(f"{'pooled':18} {total[0] / total[1]:7.3f} {total[2] / total[3]:9.3f}\n")


def simulated_table(repeats: int = 3) -> None:
    simulated = load(TESTS / "particles" / "test_picking.py")
    print(f"simulated, {repeats} micrographs each")
    print(f"{'particle':9} {'SNR':>5} {'um':>4} {'recall':>7} {'precision':>9} {'rms A':>6}")
    for inner in (0.0, 0.6):
        for snr in (0.03, 0.05, 0.1):
            for defocus_A in (6_000.0, 12_000.0, 25_000.0):
                rows = []
                for seed in range(repeats):
                    made = simulated.simulate_micrograph(seed, 50, snr=snr, defocus_A=defocus_A, inner=inner)
                    picks = pick_blobs(made.image, simulated.OPTICS, made.ctf, simulated.DIAMETER_A)
                    rows.append(simulated.compare(picks, made.truth, made.image.shape, tolerance_px=9, edge_px=20))
                mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
                print(
                    f"{'shell' if inner else 'ball':9} {snr:5.2f} {defocus_A / 1e4:4.1f} {mean['recall']:7.3f} "
                    f"{mean['precision']:9.3f} {mean['rms_px'] * simulated.OPTICS.pixel_size_A:6.1f}"
                )
    noise = [simulated.simulate_micrograph(seed, 0) for seed in range(10)]
    counts = [len(pick_blobs(made.image, simulated.OPTICS, made.ctf, simulated.DIAMETER_A)) for made in noise]
    print(f"picks in ten micrographs of noise: {counts}\n")


def large_micrograph() -> None:
    optics = Optics(pixel_size_A=1.0, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1)
    image = torch.randn(4096, 4096, generator=torch.Generator().manual_seed(0))
    parameters = optics.ctf_parameters(15_000.0, 15_000.0)
    pick_blobs(image, optics, parameters, 130.0)
    start = time.process_time()
    pick_blobs(image, optics, parameters, 130.0)
    print(f"4096 x 4096 at 1 A/px, one thread: {time.process_time() - start:.2f} CPU s")


if __name__ == "__main__":
    torch.set_num_threads(1)
    real_table()
    simulated_table()
    large_micrograph()
