"""`mechpatch read`: what can be read in the thoughts of a finished run's pairs, beside what writing them does."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli import early
from mechpatch.cli.app import app
from mechpatch.cli.model import Coconut
from mechpatch.cli.options import (
    EXPERIMENT,
    OUTPUT,
    Adapter,
    Cache,
    Codi,
    Device,
    Incorrect,
    Json,
    ModelOfRun,
    Quiet,
    cache_folder,
    load,
    option,
    split,
)
from mechpatch.errors import SpecError
from mechpatch.names import not_known
from mechpatch.source import ModelSource
from mechpatch.storage.folders import require_place, require_run

WHAT = ("lens", "probe", "attention", "tune")
SHARE = 0.5  # of the pairs that tune trains on


@app.command()
def read(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="lens, probe, attention; tune trains a lens.")],
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Directory of a finished run.")],
    top: Annotated[
        int,
        option("--top", panel=EXPERIMENT, metavar="N", min=1, help="A target among the N likeliest tokens is a hit."),
    ] = 1,
    targets: Annotated[
        str,
        option(
            "--targets",
            panel=EXPERIMENT,
            metavar="LIST",
            help="What probes are trained for: step1, parity1, operation1, answer, field.NAME.",
            show_default="values, parities and operations of all steps",
        ),
    ] = "",
    tuned: Annotated[
        Path | None,
        option("--tuned", panel=EXPERIMENT, metavar="FILE", help="Read lens with this one, on pairs it has not seen."),
    ] = None,
    share: Annotated[
        float,
        option("--share", panel=EXPERIMENT, metavar="PART", min=0.0, max=1.0, help="Of the pairs that tune trains on."),
    ] = SHARE,
    twin: Annotated[
        Path | None,
        option(
            "--twin",
            panel=EXPERIMENT,
            metavar="RUN",
            help="A run of the same pairs on a twin model, read before: one more control.",
        ),
    ] = None,
    model: ModelOfRun = None,
    adapter: Adapter = None,
    codi: Codi = None,
    coconut: Coconut = None,
    device: Device = "auto",
    cache: Cache = None,
    out: Annotated[
        Path | None,
        option("--out", panel=OUTPUT, metavar="FILE", help="Draw the maps here (.png, .svg, .pdf); of tune: the lens."),
    ] = None,
    include_incorrect: Incorrect = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read the thoughts of every pair of a run, both sides, with controls, into RUN_DIR/readings.

    The report of the run then has a section on it. What can be read is no cause: see the causal map beside it.
    tune trains a tuned lens on part of the pairs, for --tuned.

    Example: mechpatch read lens runs/demo
    """
    if what not in WHAT:
        raise SpecError(not_known("what to read", [what], WHAT))
    early.judge_unread(
        {
            "--top": (top != 1, "lens", what == "lens"),
            "--targets": (targets != "", "probe", what == "probe"),
            "--share": (share != SHARE, "tune", what == "tune"),
        }
    )
    early.judge_machine("float32", device)
    for each in (run_dir, twin):
        if each is not None:
            require_run(each)
    if model is not None:
        early.outline(ModelSource(base=model, adapter=adapter, codi=codi, coconut=coconut))

    from mechpatch.inspection.reopened import reopen
    from mechpatch.progress import progress
    from mechpatch.reading import Options, fit_run, open_reading, read_run
    from mechpatch.readings.tuned import STEPS, load_lens
    from mechpatch.stats.finished import FinishedRun
    from mechpatch.stats.values_json import as_json as values_of
    from mechpatch.storage.atomic import lock
    from mechpatch.views.figures.files import require_format, save_as

    if what == "tune" and out is None:
        raise SpecError("tune: say with --out where the lens shall be, for example lens.safetensors")
    if out is not None:
        (require_place if what == "tune" else require_format)(out)
    lens = None if tuned is None else load_lens(tuned)
    finished = FinishedRun(run_dir)
    run = reopen(finished)
    source = ModelSource.recorded(run.model)
    if model is not None or adapter is not None or codi is not None or coconut is not None:
        source = source.moved(model, adapter, codi, coconut)
    loaded = load(source, str(run.model.get("dtype", "float32")), device, quiet=quiet or as_json)
    if what == "tune":
        assert out is not None
        with progress("steps", STEPS) as tick:
            made = fit_run(run, loaded, share=share, cache=cache_folder(cache), tick=tick)
        made.save(out)
        typer.echo(json.dumps(made.about) if as_json else out if quiet else f"{made.words}\nwrote {out}")
        return
    with lock(run_dir):
        path = read_run(
            finished,
            run,
            loaded,
            what,
            targets=split(targets),
            tuned=lens,
            twin=None if twin is None else FinishedRun(twin),
            cache=cache_folder(cache),
        )
    reading = open_reading(finished, what, Options(top=top, include_incorrect=include_incorrect))
    if out is not None:
        save_as(reading.plot(), out)
    if as_json:
        found = reading.summary if what == "lens" else reading.lines
        typer.echo(json.dumps(values_of(found), ensure_ascii=False))
    elif quiet:
        typer.echo(path)
    else:
        typer.echo(reading.words)
        typer.echo(f"wrote {path}" + ("" if out is None else f" and {out}"))
