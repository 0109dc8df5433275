"""`mechpatch demo`: everything on the built-in model."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.catalogue import DIRECTIONS, NULLS, is_null
from mechpatch.cli import early
from mechpatch.cli.app import app
from mechpatch.cli.options import (
    ASKED,
    OUTPUT,
    Cache,
    Device,
    Quiet,
    cache_folder,
    hush,
    interruptible,
    load,
    option,
)
from mechpatch.data import DEMO
from mechpatch.experiments.spec import Spec
from mechpatch.kinds import SHORT
from mechpatch.source import ModelSource
from mechpatch.storage.folders import require_run_or_empty

INSPECTED = 2  # pairs


@app.command()
def demo(
    out: Annotated[Path, option("--out", panel=OUTPUT, metavar="DIR", help="Run directory.")] = Path("runs/demo"),
    limit: Annotated[
        int | None,
        option("--limit", panel=ASKED, metavar="N", help="Run the first N pairs only.", show_default="all"),
    ] = None,
    cache: Cache = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Run everything on the built-in model: screen its pairs, run the experiments, draw, and read the result.

    Example: mechpatch demo --limit 8
    """
    early.judge_machine("float32", device)
    early.judge_limit(limit)
    require_run_or_empty(out)
    folder = cache_folder(cache)
    if quiet:
        hush()

    import torch

    from mechpatch import workflow
    from mechpatch.console import announce, show_paths, show_screening, show_summary
    from mechpatch.progress import progress

    torch.set_num_threads(1)  # the model is so small that threads cost more than they give
    loaded = load(ModelSource(base=DEMO), "float32", device, quiet=quiet)
    spec = Spec(
        experiments=SHORT["all"],
        directions=tuple(DIRECTIONS),
        nulls=tuple(filter(is_null, NULLS)),
        batch_size=36,
    )
    pair_file = workflow.read_pairs("demo", loaded, spec, limit=limit)
    if not quiet:
        show_screening(pair_file)
    with interruptible(out):
        finished = workflow.run_to_directory(
            loaded,
            spec,
            pair_file,
            out,
            cache=folder,
            command=sys.argv,
            progress=None if quiet else progress,
            say=(lambda text: None) if quiet else announce,
            inspected=INSPECTED,
            report=True,
        )
    if quiet:
        typer.echo(finished.folder)
        return
    show_summary(finished.summary)
    show_paths(finished.folder, finished.figures, finished.report)
