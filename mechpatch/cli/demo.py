"""`mechpatch demo`: everything on the built-in model."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import TARGETS, Cache, Device, interruptible, load


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the three runs.")] = Path("runs/demo"),
    limit: Annotated[int | None, typer.Option(help="Run the first N pairs only.")] = None,
    cache: Cache = Path("cache"),
    device: Device = "cpu",
) -> None:
    """Run everything on the built-in model: screen its pairs, run the three experiments, draw, and read the result."""
    import pyarrow as pa
    import torch

    from mechpatch import workflow
    from mechpatch.console import progress, show_paths, show_screening, show_summary
    from mechpatch.experiments.spec import EXPERIMENTS, Spec
    from mechpatch.stats import summarise
    from mechpatch.storage.atomic import write_json

    torch.set_num_threads(1)  # the model is so small that threads cost more than they give
    loaded = load("demo", None, None, None, TARGETS, None, "float32", device)
    runs = []
    for experiment in EXPERIMENTS:
        spec = Spec(experiment=experiment, nulls=("self", "other_pair"), batch_size=36)
        pair_file = workflow.read_pairs("demo", loaded, spec, limit=limit)
        if not runs:
            show_screening(pair_file)
        with interruptible(out):
            runs.append(
                workflow.run_to_directory(
                    loaded, spec, pair_file, out / experiment, cache=cache, command=sys.argv, progress=progress
                )
            )
    summary = summarise(pa.concat_tables([each.records for each in runs]), seed=0)
    summary["run"] = {"notes": sorted({note for each in runs for note in each.summary["run"]["notes"]})}
    write_json(out / "summary.json", summary)
    show_summary(summary)
    for each in runs:
        show_paths(each.folder, each.figures)
