"""`mechpatch accuracy`: how many questions of a file a model answers rightly, with its thoughts."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli import early
from mechpatch.cli.app import app
from mechpatch.cli.model import kind_of_thoughts, with_source
from mechpatch.cli.options import (
    ASKED,
    OUTPUT,
    RUNNING,
    AnswerPrefix,
    Device,
    Dtype,
    Json,
    PlaceholderToken,
    Thoughts,
    interruptible,
    load,
    option,
    unescaped,
)
from mechpatch.experiments.spec import Spec
from mechpatch.pairs.problems import read_questions
from mechpatch.source import ModelSource
from mechpatch.storage.folders import require_place

WRONG_SHOWN = 3


@app.command()
@with_source
def accuracy(
    source: ModelSource,
    questions: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Questions with answers, as GSM8K (#### before the answer) or ProsQA."),
    ],
    out: Annotated[
        Path,
        option("--out", panel=OUTPUT, metavar="FILE", help="Keep every answer here; the same command goes on with it."),
    ],
    thoughts: Thoughts = "latent",
    answer_prefix: AnswerPrefix = None,
    placeholder_token: PlaceholderToken = None,
    limit: Annotated[
        int | None, option("--limit", panel=ASKED, metavar="N", help="Ask the first N only.", show_default="all")
    ] = None,
    batch_size: Annotated[
        int, option("--batch-size", panel=RUNNING, metavar="N", help="Questions in one forward pass.")
    ] = 16,
    dtype: Dtype = "float32",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Ask a model every question of a file, and count how many it answers rightly.

    An answer is right if the text opens with it and does not go on with it: numbers are compared by their value.

    Example: mechpatch accuracy gsm8k_test.jsonl --model path/to/llama --codi path/to/codi --out accuracy.json
    """
    spec = Spec(
        experiments=("position",),
        thoughts=kind_of_thoughts(thoughts, source),
        n_thoughts=source.n_latents,
        prefix=None if answer_prefix is None else unescaped(answer_prefix),
        placeholder=placeholder_token,
        batch_size=batch_size,
    )
    early.judge_machine(dtype, device)
    early.judge_limit(limit)
    early.judge(spec, early.outline(source))
    require_place(out)
    problems = read_questions(questions)[:limit]

    from mechpatch.experiments.accuracy import answer_questions
    from mechpatch.experiments.layouts import settled
    from mechpatch.progress import progress
    from mechpatch.stats.switching import share_of
    from mechpatch.views.words.accuracy import accuracy_told

    model = load(source, dtype, device, quiet=as_json)
    with interruptible(out), progress("questions", len(problems)) as tick:
        rows = answer_questions(model, settled(model, spec), problems, out, tick)
    found = share_of([row["right"] for row in rows])
    if as_json:
        told = {"right": found.count, "asked": found.n, "share": found.share, "low": found.low, "high": found.high}
        typer.echo(json.dumps(told))
        return
    typer.echo(accuracy_told(found))
    for row in [row for row in rows if not row["right"]][:WRONG_SHOWN]:
        typer.echo(f"  wrong: expected {row['answer']!r}, said {row['said']!r}: {row['question'][:90]}")
    typer.echo(f"wrote {out}")
