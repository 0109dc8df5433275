"""`mechpatch compare`: two runs on the pairs that both have, or two cells of one run."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import EXPERIMENT, OUTPUT, RUNNING, Incorrect, Json, option
from mechpatch.errors import SpecError
from mechpatch.storage.folders import require_run
from mechpatch.storage.remote import local_run


@app.command()
def compare(
    a: Annotated[
        str, typer.Argument(metavar="RUN_A", help="Directory of a finished run, or a URL such as s3://runs/a.")
    ],
    b: Annotated[
        str | None,
        typer.Argument(metavar="RUN_B", help="Directory of another one; the pairs that both have are compared."),
    ] = None,
    cells: Annotated[
        tuple[str, str] | None,
        option(
            "--cells",
            panel=EXPERIMENT,
            metavar="A B",
            help="Two cells of RUN_A: position:1:t2 position:1:t3. A direction and a donor may follow each.",
        ),
    ] = None,
    control: Annotated[
        bool,
        option(
            "--control",
            panel=EXPERIMENT,
            help="RUN_B is of RUN_A's control twin: a model without recurrence, no thoughts, shuffled thoughts.",
        ),
    ] = False,
    metric: Annotated[
        str,
        option(
            "--metric", panel=EXPERIMENT, metavar="NAME", help="effect (share of gap), or a column of effects.parquet."
        ),
    ] = "effect",
    out: Annotated[
        Path | None, option("--out", panel=OUTPUT, metavar="FILE", help="Write every number here, as JSON.")
    ] = None,
    include_incorrect: Incorrect = False,
    seed: Annotated[int, option("--seed", panel=RUNNING, metavar="N", help="Seed of resamples and sign flips.")] = 0,
    as_json: Json = False,
) -> None:
    """Compare two runs on the pairs that both have, or two cells of one run, pair by pair.

    With --control the finding is where the map of the first exceeds that of the second.

    Example: mechpatch compare runs/latent runs/placeholder --control
    """
    if (b is None) == (cells is None):
        raise SpecError("compare takes two runs, or one run and --cells with two of its cells")
    if control and b is None:
        raise SpecError("--control: the control twin is a run of its own; name it as RUN_B")
    run_a, run_b = local_run(a), None if b is None else local_run(b)
    for run_dir in (run_a, run_b):
        if run_dir is not None:
            require_run(run_dir)

    from mechpatch.stats.compare import compare_cells, compare_runs, unlike_questions
    from mechpatch.stats.comparison import parse_place
    from mechpatch.stats.finished import FinishedRun
    from mechpatch.stats.values_json import as_json as values_of
    from mechpatch.storage.atomic import write_json
    from mechpatch.views.words.comparison import describe_cells, describe_control, describe_runs

    one = FinishedRun(run_a)
    one.require_format()
    if cells is not None:
        places = [parse_place(text) for text in cells]
        found = compare_cells(one.records, places[0], places[1], metric, seed, include_incorrect)
        lines = describe_cells(found)
    else:
        assert run_b is not None
        other = FinishedRun(run_b)
        other.require_format()
        unlike = unlike_questions(one.questions, other.questions)
        found = compare_runs(one.records, other.records, metric, seed, include_incorrect, unlike)
        lines = (describe_control if control else describe_runs)(found, run_a.name, run_b.name)
    if out is not None:
        write_json(out, values_of(found))
        lines.append(f"wrote {out}")
    for line in [json.dumps(values_of(found), ensure_ascii=False)] if as_json else lines:
        typer.echo(line)
