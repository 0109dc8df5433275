"""`mechpatch inspect`: look inside single pairs of a run."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli import early
from mechpatch.cli.app import app
from mechpatch.cli.model import Coconut
from mechpatch.cli.options import (
    ASKED,
    EXPERIMENT,
    OUTPUT,
    RUNNING,
    Adapter,
    Codi,
    Device,
    ModelOfRun,
    Quiet,
    load,
    option,
)
from mechpatch.errors import SpecError
from mechpatch.source import ModelSource
from mechpatch.storage.folders import require_run


@app.command()
def inspect(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Directory of a finished run.")],
    pair: Annotated[
        list[str] | None,
        option("--pair", panel=ASKED, metavar="ID", help="Id of a pair; may be given several times."),
    ] = None,
    top: Annotated[
        int | None,
        option(
            "--top",
            panel=ASKED,
            metavar="N",
            min=1,
            help="Without --pair: N typical pairs; ones that switch at the leading cell, and ones that fail to.",
            show_default="1",
        ),
    ] = None,
    layer: Annotated[
        int | None,
        option(
            "--layer",
            panel=EXPERIMENT,
            metavar="N",
            help="With --site: show the run patched there.",
            show_default="the leading cell; with --pair where the effect is largest",
        ),
    ] = None,
    site: Annotated[
        str | None, option("--site", panel=EXPERIMENT, metavar="NAME", help="t0, bot, eot, answer and so on.")
    ] = None,
    out: Annotated[
        Path | None,
        option("--out", panel=OUTPUT, metavar="FILE", help="The page.", show_default="in RUN_DIR/inspect"),
    ] = None,
    model: ModelOfRun = None,
    adapter: Adapter = None,
    codi: Codi = None,
    coconut: Coconut = None,
    device: Device = "auto",
    max_memory: Annotated[
        int | None,
        option("--max-memory", panel=RUNNING, metavar="MB", help="Memory it may take.", show_default="as in the run"),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Look inside pairs of a run: attention, logit lens, residual stream and answers, as data and as one offline page.

    Example: mechpatch inspect runs/demo --top 2
    """
    if (layer is None) != (site is None):
        raise SpecError("--layer and --site name one cell together: give both or neither")
    if pair and top is not None:
        raise SpecError("--pair and --top both say which pairs: give one of them")
    early.judge_machine("float32", device)
    require_run(run_dir)
    if model is not None:
        early.outline(ModelSource(base=model, adapter=adapter, codi=codi, coconut=coconut))

    from mechpatch.stats.finished import FinishedRun

    finished = FinishedRun(run_dir)
    if layer is not None and site is not None:
        early.judge_cell(layer, site, finished.spec, finished.pairs)

    from mechpatch.inspection.inspect import inspect_pairs
    from mechpatch.inspection.reopened import reopen
    from mechpatch.stats.typical_pairs import Choice, typical_pairs
    from mechpatch.storage.atomic import lock
    from mechpatch.storage.inspections import INSPECTIONS
    from mechpatch.views.circuits.page import write_page
    from mechpatch.views.words.lines import lines

    run = reopen(finished)
    spec = run.spec if max_memory is None else replace(run.spec, memory=max_memory * 2**20)
    cell = (layer, site) if layer is not None and site is not None else None
    choices = [Choice(run.index(each), cell=cell) for each in dict.fromkeys(pair or ())]
    if not choices:
        leading = next(iter(finished.summary.leading()), None)
        found = typical_pairs(finished.records, leading, top or 1)
        choices = [replace(each, cell=cell or each.cell) for each in found]
    source = ModelSource.recorded(run.model)
    if model is not None or adapter is not None or codi is not None or coconut is not None:
        source = source.moved(model, adapter, codi, coconut)
    loaded = load(source, str(run.model.get("dtype", "float32")), device, quiet=quiet)
    run.check(loaded)
    with lock(run_dir):
        inspect_pairs(loaded, spec, run.pairs, choices, run_dir)
        name = "-".join(f"{choice.index:06d}" for choice in choices[:8])
        page = out or run_dir / INSPECTIONS / f"{name}.html"
        write_page(run_dir, [choice.index for choice in choices], page, lines(finished.summary))
    ids = ", ".join(run.pairs[choice.index].pair_id for choice in choices)
    typer.echo(page if quiet else f"{page}: {ids}")
    for choice in choices if not quiet else ():
        if choice.why:
            typer.echo(f"  {run.pairs[choice.index].pair_id}: {choice.why}")
