"""`mechpatch compare`: two runs of the same pairs, or two cells of one run."""

from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="Directory of a finished run.")],
    run_b: Annotated[Path | None, typer.Argument(help="Directory of another, of the same pairs.")] = None,
    cells: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Two cells of RUN_A: position:1:t2 position:1:t3. A direction and a donor may follow."),
    ] = None,
    metric: Annotated[str, typer.Option(help="effect (share of gap), or a column of effects.parquet.")] = "effect",
    out: Annotated[Path | None, typer.Option(help="Write every number here, as JSON.")] = None,
    include_incorrect: Annotated[bool, typer.Option(help="Use pairs the model gets wrong, too.")] = False,
    seed: Annotated[int, typer.Option(help="Of resamples and sign flips.")] = 0,
) -> None:
    """Compare two runs, or two cells of one run, pair by pair."""
    from mechpatch.errors import SpecError
    from mechpatch.stats.compare import compare_cells, compare_runs, parse_place, require_same_questions
    from mechpatch.storage.atomic import write_json
    from mechpatch.storage.questions import read_questions
    from mechpatch.storage.results import read_effects
    from mechpatch.views.comparison import describe_cells, describe_runs

    if (run_b is None) == (cells is None):
        raise SpecError("compare takes two runs, or one run and --cells with two of its cells")
    if cells is not None:
        places = [parse_place(text) for text in cells]
        found = compare_cells(read_effects(run_a), places[0], places[1], metric, seed, include_incorrect)
        lines = describe_cells(found)
    else:
        assert run_b is not None
        require_same_questions(read_questions(run_a), read_questions(run_b))
        found = compare_runs(read_effects(run_a), read_effects(run_b), metric, seed, include_incorrect)
        lines = describe_runs(found, run_a.name, run_b.name)
    if out is not None:
        write_json(out, found)
        lines.append(f"wrote {out}")
    for line in lines:
        typer.echo(line)
