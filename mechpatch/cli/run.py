"""`mechpatch run`: experiments over all pairs, into a directory."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import Cache, interruptible
from mechpatch.cli.request import Request, of_request


@app.command()
@of_request
def run(
    asked: Request,
    out: Annotated[Path, typer.Option(help="Run directory; the same command goes on where it was stopped.")],
    include_incorrect: Annotated[bool, typer.Option(help="Let pairs the model gets wrong into the means.")] = False,
    inspect: Annotated[int, typer.Option(min=0, help="Look inside the N pairs with the largest effect.")] = 0,
    report: Annotated[bool, typer.Option("--report", help="Write report.html too; --wandb does.")] = False,
    cache: Cache = Path("cache"),
    wandb: Annotated[
        bool, typer.Option("--wandb", help="Log to Weights & Biases; offline unless WANDB_MODE=online.")
    ] = False,
    wandb_project: Annotated[str, typer.Option(help="Project of --wandb.")] = "mechpatch",
) -> None:
    """Run experiments over all pairs."""
    from mechpatch import workflow
    from mechpatch.console import progress, show_paths, show_summary
    from mechpatch.tracking import null_observer, wandb_observer

    observer = null_observer()
    if wandb:
        config = {
            "experiments": list(asked.spec.experiments),
            "directions": list(asked.spec.directions),
            "thoughts": asked.spec.thoughts,
            "model": asked.model.fingerprint,
        }
        observer = wandb_observer(wandb_project, out.name, config, out.parent)
    with interruptible(out):
        finished = workflow.run_to_directory(
            *asked,
            out,
            cache=cache,
            command=sys.argv,
            include_incorrect=include_incorrect,
            observer=observer,
            progress=progress,
            inspected=inspect,
            report=report or wandb,
        )
    observer.finish()
    show_summary(finished.summary)
    show_paths(finished.folder, finished.figures, finished.report)
