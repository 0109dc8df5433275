"""`mechpatch demo`: everything on the built-in model."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import Cache, Device, interruptible, load

INSPECTED = 2  # pairs


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Run directory.")] = Path("runs/demo"),
    limit: Annotated[int | None, typer.Option(help="Run the first N pairs only.")] = None,
    cache: Cache = Path("cache"),
    device: Device = "cpu",
) -> None:
    """Run everything on the built-in model: screen its pairs, run the experiments, draw, and read the result."""
    import torch

    from mechpatch import workflow
    from mechpatch.console import progress, show_paths, show_screening, show_summary
    from mechpatch.experiments.spec import DIRECTIONS, NULLS, SHORT, Spec

    torch.set_num_threads(1)  # the model is so small that threads cost more than they give
    loaded = load("demo", None, None, None, None, None, "float32", device)
    spec = Spec(experiments=SHORT["all"], directions=DIRECTIONS, nulls=NULLS, batch_size=36)
    pair_file = workflow.read_pairs("demo", loaded, spec, limit=limit)
    show_screening(pair_file)
    with interruptible(out):
        finished = workflow.run_to_directory(
            loaded,
            spec,
            pair_file,
            out,
            cache=cache,
            command=sys.argv,
            progress=progress,
            inspected=INSPECTED,
            report=True,
        )
    show_summary(finished.summary)
    show_paths(finished.folder, finished.figures, finished.report)
