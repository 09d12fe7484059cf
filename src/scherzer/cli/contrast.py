"""``scherzer contrast``: of a session; how well it does on given labels; its training on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from scherzer.cli import options
from scherzer.cli.screen import Screen, plain_errors

OF_SESSION = "SESSION"


class _SessionFirst(TyperGroup):
    """A group in which a word that is no command is the folder of a session."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] == "--help") and args[0] != OF_SESSION
        return super().parse_args(ctx, args if named or not args else [OF_SESSION, *args])


contrast = typer.Typer(cls=_SessionFirst, no_args_is_help=True, add_completion=False)

LabelsFile = Annotated[
    Path, typer.Argument(metavar="LABELS.csv", help="Columns micrograph, label (good, moderate, bad); see above.")
]
Weights = Annotated[Path | None, typer.Option(metavar="FILE", help="Of contrast train. Default: the shipped ones.")]


@contrast.callback(subcommand_metavar="SESSION | evaluate LABELS.csv | train LABELS.csv")
def _contrast() -> None:
    """Sort micrographs by contrast; test or train what sorts.

    Example: scherzer contrast apo; scherzer contrast evaluate labels.csv
    """


@contrast.command(OF_SESSION)
def of_session(session: options.SessionFolder, weights: Weights = None, workers: options.Workers = None) -> None:
    """Sort a session's micrographs; reject those beyond use.

    Example: scherzer contrast apo
    """
    with plain_errors():
        from scherzer.session.chain import run_one
        from scherzer.session.prepare import reopen
        from scherzer.session.stages.contrast import classifier_of

        if weights is not None:
            classifier_of(str(weights))  # before the session is told to keep them
        run_one("contrast", *reopen(session, {"contrast_weights": weights}), workers, Screen())


@contrast.command()
def evaluate(
    labels: LabelsFile,
    weights: Weights = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write evaluation.json, reliability.png.")] = None,
    pixel_size: options.PixelSize = None,
    voltage: options.Voltage = None,
    cs: options.Cs = None,
    amplitude_contrast: options.AmplitudeContrast = None,
    workers: options.Workers = None,
) -> None:
    """Score network and physical rival on your labels.

    More columns as wanted: session, specimen, pixel_size_A, voltage_kV, cs_mm, ice_thickness_A.
    Intervals are drawn over sessions.

    Example: scherzer contrast evaluate labels.csv --voltage 300 --cs 2.7 --out scores
    """
    with plain_errors():
        from scherzer.cli.contrast_tables import show_evaluation
        from scherzer.micrographs.contrast.settings import SHIPPED
        from scherzer.report.figures_reliability import draw_reliability
        from scherzer.session.standalone.contrast_evaluate import Evaluation, run_evaluation
        from scherzer.session.standalone.contrast_labels import read_labels
        from scherzer.session.workers import Workers

        read = read_labels(labels, options.stated_acquisition(pixel_size, voltage, cs, amplitude_contrast))
        screen = Screen()
        with Workers(workers) as pool, screen.bar("evaluate") as progress:
            found = run_evaluation(Evaluation(read, weights or SHIPPED, out), pool, progress, draw_reliability)
        show_evaluation(found, screen.console)


@contrast.command()
def train(
    labels: LabelsFile,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where weights and model card go.")],
    pixel_size: options.PixelSize = None,
    voltage: options.Voltage = None,
    cs: options.Cs = None,
    amplitude_contrast: options.AmplitudeContrast = None,
    workers: options.Workers = None,
) -> None:
    """Fit the classifier to 30 or more labels of yours.

    How far it is changed, cross-validation decides; sessions are not cut. More columns as for evaluate.

    Example: scherzer contrast train labels.csv --out mine; scherzer contrast apo --weights mine/contrast.safetensors
    """
    with plain_errors():
        from scherzer.cli.contrast_tables import show_card
        from scherzer.micrographs.contrast.fine_tuning import TuningSettings
        from scherzer.session.standalone.contrast_labels import read_labels
        from scherzer.session.standalone.contrast_train import train as fit
        from scherzer.session.workers import Workers

        read = read_labels(labels, options.stated_acquisition(pixel_size, voltage, cs, amplitude_contrast))
        screen = Screen()
        with Workers(workers) as pool, screen.bar("train") as progress:
            card = fit(read, out, TuningSettings(), pool, progress)
        show_card(card, out, screen.console)
