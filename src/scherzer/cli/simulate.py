"""``scherzer simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scherzer.cli import options
from scherzer.cli.screen import Screen, plain_errors


def simulate(
    out: options.Out = Path("simulated"),
    micrographs: Annotated[int, typer.Option(min=1, metavar="N", help="Sound exposures.")] = 10,
    frames: Annotated[int, typer.Option(min=1, metavar="N", help="Frames of a movie; 1: sums.")] = 1,
    size: Annotated[int, typer.Option(min=128, metavar="PX", help="Side of the images.")] = 1024,
    pixel_size: Annotated[float, typer.Option(metavar="A", help="Pixel size.")] = 1.6,
    defocus: Annotated[tuple[float, float], typer.Option(metavar="LOW HIGH", help="Underfocus, um.")] = (0.5, 2.6),
    dose: Annotated[float, typer.Option(metavar="E/A2", help="Exposure in all.")] = 40.0,
    particles: Annotated[int, typer.Option(min=0, metavar="N", help="Particles in a micrograph.")] = 80,
    model: Annotated[Path | None, typer.Option(metavar="FILE", help="PDB or mmCIF. Default: a phantom.")] = None,
    symmetry: Annotated[str, typer.Option(metavar="GROUP", help="Point group of the phantom.")] = "O",
    diameter: Annotated[float, typer.Option(metavar="A", help="Diameter of the phantom.")] = 130.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Everything random follows from it.")] = 1,
) -> None:
    """Write exposures whose truth is known (truth/*.star).

    Example: scherzer simulate --micrographs 20 --frames 8 --defocus 0.8 2.4 --out sim
    """
    with plain_errors():
        from scherzer.session.demo import prepare_simulated
        from scherzer.simulate.settings import SimulationSettings

        settings = SimulationSettings(
            micrographs=micrographs,
            frames=frames,
            height_px=size,
            width_px=size,
            pixel_size_A=pixel_size,
            defocus_low_um=defocus[0],
            defocus_high_um=defocus[1],
            dose_e_per_A2=dose,
            particles_per_micrograph=particles,
            model=model,
            symmetry=symmetry,
            diameter_A=diameter,
            seed=seed,
        )
        screen = Screen()
        with screen.bar("simulate") as progress:
            session, _ = prepare_simulated(out, settings, None, progress)
        print(f"Simulated. To the verdict: scherzer run --out {session.root}")
