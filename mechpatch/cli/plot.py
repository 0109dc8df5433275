"""`mechpatch plot`: the figures of a finished run."""

from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import split


@app.command()
def plot(
    run_dir: Annotated[Path, typer.Argument(help="Directory of a finished run.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the figures.  [RUN_DIR/figures]")] = None,
    metric: Annotated[str, typer.Option(help="Further metrics to draw, columns of effects.parquet.")] = "",
    include_incorrect: Annotated[bool, typer.Option(help="Use pairs the model gets wrong, too.")] = False,
) -> None:
    """Draw the figures of a run, as PNG and SVG."""
    from mechpatch.console import show_paths
    from mechpatch.views.figures import plot_run

    show_paths(run_dir, plot_run(run_dir, out, include_incorrect, split(metric)))
