"""``scherzer simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from scherzer.cli import options
from scherzer.cli.screen import Screen, plain_errors


def simulate(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="Name of a preset, or a YAML file.")] = "small",
    out: options.Out = Path("simulated"),
    micrographs: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many exposures.")] = None,
    model: Annotated[Path | None, typer.Option(metavar="FILE", help="PDB or mmCIF of the specimen.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Everything random follows from it.")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any setting, such as exposure.frames=30.")
    ] = None,
    workers: options.Workers = None,
    presets: Annotated[bool, typer.Option("--presets", help="List the presets and stop.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the preset, to start another from, and stop.")] = False,
) -> None:
    """Write a session whose truth is known (truth/*.star).

    Example: scherzer simulate apof-10146 --micrographs 5 --set exposure.dose_e_per_A2=50 --out sim
    """
    with plain_errors():
        import yaml

        from scherzer.formats.errors import BadInput
        from scherzer.session.demo import prepare_simulated
        from scherzer.simulate.presets import preset_names, preset_text, read_preset

        if presets:
            for name in preset_names():
                print(f"{name:16s} {' '.join(read_preset(name).source.split())}")
            return
        if show:
            print(preset_text(preset), end="")
            return
        changes: dict[str, Any] = {"micrographs": micrographs, "specimen.model": model, "seed": seed}
        changes = {name: value for name, value in changes.items() if value is not None}
        for entry in change or ():
            name, equals, value = entry.partition("=")
            if not equals:
                raise BadInput("--set", f"{entry!r} sets nothing", "give NAME=VALUE, such as exposure.frames=30")
            changes[name] = yaml.safe_load(value)
        settings = read_preset(preset, changes)
        screen = Screen()
        with screen.bar("simulate") as progress:
            session, _ = prepare_simulated(out, settings, workers, progress)
        print(f"Simulated. To the verdict: scherzer run --out {session.root}")
