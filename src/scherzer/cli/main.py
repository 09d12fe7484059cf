"""The command ``scherzer``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from scherzer import __version__
from scherzer.cli.contrast import contrast
from scherzer.cli.demo import demo
from scherzer.cli.import_ import import_
from scherzer.cli.report import report
from scherzer.cli.run import run
from scherzer.cli.simulate import simulate
from scherzer.cli.stages import STAGES


class _InOrder(TyperGroup):
    """Commands in the order of the work; typer lists those with commands of their own last."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = [name for name in super().list_commands(ctx) if name != "contrast"]
        names.insert(names.index("ctf") + 1, "contrast")
        return names


app = typer.Typer(
    name="scherzer",
    cls=_InOrder,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"max_content_width": 100},
)
app.command("run")(run)
app.command("demo")(demo)
app.command("simulate")(simulate)
app.command("import")(import_)
for stage in STAGES:
    app.command(stage.__name__)(stage)
app.add_typer(contrast, name="contrast")
app.command("report")(report)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"scherzer {__version__}")
        raise typer.Exit


@app.callback()
def scherzer(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Is this cryo-EM grid worth a full collection, and at which defocus?"""


def main() -> None:
    """Run the command line."""
    app()
