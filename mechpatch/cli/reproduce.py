"""`mechpatch reproduce`: a published study by its name, its commands run, our figures beside the published ones."""

import contextlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mechpatch.cli import early
from mechpatch.cli.app import app
from mechpatch.cli.model import arguments_of, with_source
from mechpatch.cli.options import ASKED, MODEL, OUTPUT, Device, Dtype, Json, flag, option
from mechpatch.errors import SpecError
from mechpatch.source import ModelSource
from mechpatch.storage.atomic import writing
from mechpatch.storage.sealed import write_sealed

LIMITED = ("run", "accuracy")  # commands that take --limit, and a model
RESULT = "reproduction.json"


@app.command()
@with_source
def reproduce(
    source: ModelSource,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A study, see --list.")] = None,
    show: Annotated[bool, flag("--list", panel=OUTPUT, help="List the studies, and stop.")] = False,
    model: Annotated[
        str | None,
        option(
            "--model",
            panel=MODEL,
            metavar="NAME",
            help="As for run. Without it the study is told and nothing is run.",
            show_default="none",
        ),
    ] = None,
    questions: Annotated[
        Path | None,
        option("--questions", panel=ASKED, metavar="FILE", help="Questions with answers, such as GSM8K's test file."),
    ] = None,
    pairs: Annotated[
        str | None,
        option("--pairs", panel=ASKED, metavar="FILE", help="Pairs, in the place of ones made of questions."),
    ] = None,
    limit: Annotated[
        int | None,
        option("--limit", panel=ASKED, metavar="N", help="The first N questions and pairs only.", show_default="all"),
    ] = None,
    out: Annotated[
        Path | None,
        option("--out", panel=OUTPUT, metavar="DIR", help="Folder of all results; the same command goes on with it."),
    ] = None,
    dtype: Dtype = "float32",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Tell a published study by its name; with a model, run its commands and set our figures beside the published ones.

    Example: mechpatch reproduce codi-gpt2 --model gpt2 --codi CODI-gpt2 --questions test.jsonl --out studies/codi-gpt2
    """
    from mechpatch.studies import studies
    from mechpatch.studies.ours import fingerprint, measured
    from mechpatch.studies.study import study_of
    from mechpatch.views.words.studies import STAND_IN, figure_json, figure_told, listed_studies, study_told

    if show or name is None:
        lines = [*studies()] if as_json else listed_studies([*studies().values()])
        typer.echo(json.dumps(lines) if as_json else "\n".join(lines))
        return
    study = study_of(name)
    if model is None:
        typer.echo("\n".join(study_told(study, [step.command for step in study.steps])))
        return
    given = {"questions": questions, "pairs": pairs}
    steps = study.steps_for(given)
    if out is None:
        raise SpecError("reproduce: say with --out where the results shall be")
    early.judge_machine(dtype, device)
    early.judge_limit(limit)
    settings = {field: value for field, value in study.settings.items() if getattr(source, field) is None}
    source = replace(source, base=model, **settings)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    values = {"out": out, "questions": questions, "pairs": pairs or out / "pairs.json"}
    machine = ["--dtype", dtype, "--device", device, *(["--limit", str(limit)] if limit else [])]
    ran = []
    for step in steps:
        arguments = _filled(step.command, values, arguments_of(source))
        ran.append(arguments + (machine if arguments[0] in LIMITED else []))
        _run(ran[-1])
    found = [(figure, measured(figure.ours, out)) for figure in study.figures]
    result = {
        "study": study.name,
        "source": study.source,
        "model": fingerprint(study, out),
        "commands": [shlex.join(["mechpatch", *each]) for each in ran],
        "figures": [figure_json(figure, ours) for figure, ours in found],
    }
    write_sealed(out / RESULT, result)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    _show([figure_told(figure, ours) for figure, ours in found])
    typer.echo(f"{study.note}\n{STAND_IN} {result['model']}.\nwrote {out / RESULT}".lstrip())


def _filled(command: str, values: Mapping[str, Any], model: Sequence[str]) -> list[str]:
    """The arguments of a step; a path stays one argument, whatever is in it."""
    filled: list[str] = []
    for word in shlex.split(command):
        filled += model if word == "{model}" else [word.format(**values)]
    return filled


def _run(arguments: Sequence[str]) -> None:
    """Run a command in this process; what it prints goes to stderr, since stdout is for the figures."""
    typer.echo(f"$ {shlex.join(['mechpatch', *arguments])}", err=True)
    with contextlib.redirect_stdout(sys.stderr):
        code = app([*arguments], standalone_mode=False)
    if code:
        raise typer.Exit(int(code))


def _show(rows: Sequence[Mapping[str, str]]) -> None:
    table = Table("figure", "published", "ours", box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(row["figure"], row["published"], row["ours"])
    Console().print(table)
