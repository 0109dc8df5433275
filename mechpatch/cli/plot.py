"""`mechpatch plot`: the figures of a finished run."""

from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import EXPERIMENT, OUTPUT, Incorrect, option, split
from mechpatch.errors import SpecError
from mechpatch.names import not_known
from mechpatch.storage.folders import require_run
from mechpatch.storage.remote import is_url, local_run


@app.command()
def plot(
    run: Annotated[
        str, typer.Argument(metavar="RUN_DIR", help="Directory of a finished run, or a URL such as s3://runs/a.")
    ],
    out: Annotated[
        Path | None,
        option("--out", panel=OUTPUT, metavar="DIR", help="Folder for the figures.", show_default="RUN_DIR/figures"),
    ] = None,
    metric: Annotated[
        str,
        option(
            "--metric",
            panel=EXPERIMENT,
            metavar="LIST",
            help="Further metrics to draw, columns of effects.parquet with commas between.",
            show_default="none",
        ),
    ] = "",
    column: Annotated[
        str,
        option("--column", panel=OUTPUT, metavar="WIDTH", help="Width of a figure: single (3.4 inches) or double (7)."),
    ] = "double",
    include_incorrect: Incorrect = False,
) -> None:
    """Draw the figures of a run, as PNG, SVG and PDF.

    Example: mechpatch plot runs/demo --metric answer_logit_diff
    """
    if is_url(run) and out is None:
        raise SpecError(f"{run}: lies elsewhere, so say with --out where its figures shall be")
    run_dir = local_run(run)
    require_run(run_dir)

    from mechpatch.console import show_paths
    from mechpatch.stats.finished import FinishedRun
    from mechpatch.views.figures.files import plot_run
    from mechpatch.views.figures.theme import COLUMNS

    if column not in COLUMNS:
        raise SpecError(not_known("--column", [column], list(COLUMNS)))
    FinishedRun(run_dir).require_format()
    show_paths(run_dir, plot_run(run_dir, out, include_incorrect, split(metric), column))
