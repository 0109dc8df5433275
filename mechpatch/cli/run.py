"""`mechpatch run`: experiments over all pairs, into a directory."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import (
    OUTPUT,
    RUNNING,
    Cache,
    GpusPerWorker,
    Incorrect,
    Json,
    Ray,
    Workers,
    cache_folder,
    flag,
    interruptible,
    option,
)
from mechpatch.cli.request import Request, of_request


@app.command()
@of_request
def run(
    asked: Request,
    out: Annotated[
        Path,
        option(
            "--out",
            panel=OUTPUT,
            metavar="DIR",
            help="Run directory; the same command goes on where it was stopped.",
        ),
    ],
    include_incorrect: Incorrect = False,
    inspect: Annotated[
        int,
        option(
            "--inspect",
            panel=OUTPUT,
            metavar="N",
            min=0,
            help="Look inside N typical pairs: ones that switch, and ones that fail to.",
        ),
    ] = 0,
    report: Annotated[bool, flag("--report", panel=OUTPUT, help="Write report.html too; --wandb does.")] = False,
    cache: Cache = None,
    ray: Ray = None,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    wandb: Annotated[
        bool, flag("--wandb", panel=OUTPUT, help="Log to Weights & Biases; offline unless WANDB_MODE=online.")
    ] = False,
    wandb_project: Annotated[
        str | None,
        option("--wandb-project", panel=OUTPUT, metavar="NAME", help="Project of --wandb.", show_default="mechpatch"),
    ] = None,
    mixed: Annotated[
        bool,
        flag(
            "--mixed",
            panel=RUNNING,
            help="Go on with a run that was begun with other threads, libraries or devices; recorded, and reported.",
        ),
    ] = False,
    product: Annotated[
        str,
        option(
            "--product",
            panel=RUNNING,
            metavar="NAME",
            help="Library of the engine's matrix products on a CPU: torch, onednn, or auto for the faster one.",
        ),
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Run experiments over all pairs, and leave records, figures and a summary in a directory.

    Example: mechpatch run position relay --out runs/first --limit 5
    """
    from mechpatch import workflow
    from mechpatch.console import announce, show_paths, show_summary
    from mechpatch.progress import progress
    from mechpatch.scale import Cluster
    from mechpatch.tracking import null_observer, wandb_observer

    folder = cache_folder(cache)
    observer = null_observer()
    if wandb:
        config = {
            "experiments": list(asked.spec.experiments),
            "directions": list(asked.spec.directions),
            "thoughts": asked.spec.thoughts,
            "model": asked.model.fingerprint,
        }
        observer = wandb_observer(wandb_project or "mechpatch", out.name, config, out.parent)
    cluster = None
    if ray is not None:
        cluster = Cluster(address=ray, workers=workers, gpus_per_worker=gpus_per_worker, cache=folder, mixed=mixed)
    with interruptible(out):
        finished = workflow.run_to_directory(
            asked.model,
            asked.spec,
            asked.pairs,
            out,
            cache=folder,
            command=sys.argv,
            include_incorrect=include_incorrect,
            observer=observer,
            progress=None if asked.quiet else progress,
            say=(lambda text: None) if asked.quiet else announce,
            inspected=inspect,
            report=report or wandb,
            mixed=mixed,
            product=product,
            run_batches=cluster,
        )
    observer.finish()
    if as_json:
        typer.echo(json.dumps(finished.as_json(), ensure_ascii=False))
    elif asked.quiet:
        typer.echo(finished.folder)
    else:
        show_summary(finished.summary)
        show_paths(finished.folder, finished.figures, finished.report)
