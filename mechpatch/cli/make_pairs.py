"""`mechpatch make-pairs`: pairs from GSM8K's own files, or from templates with slots."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import ASKED, OUTPUT, Seed, option
from mechpatch.errors import PairError

if TYPE_CHECKING:
    from mechpatch.pairs import Pair

MOST, MOST_CHANGE = 100_000, 1000  # past these a question would be worked on for hours


@app.command("make-pairs")
def make_pairs(
    out: Annotated[Path, option("--out", panel=OUTPUT, metavar="FILE", help="Write the pairs here, prepared format.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="GSM8K's own file: question, answer with <<48/2=24>>.")
    ] = None,
    template: Annotated[
        Path | None, option("--template", panel=ASKED, metavar="FILE", help="JSON with slots, in the place of FILE.")
    ] = None,
    per_question: Annotated[
        int, option("--per-question", panel=ASKED, metavar="N", help="Pairs of one question or template at most.")
    ] = 1,
    max_change: Annotated[
        int, option("--max-change", panel=ASKED, metavar="N", help="How far a number is changed at most.")
    ] = 5,
    seed: Seed = 0,
) -> None:
    """Make pairs: of GSM8K questions, one number changed and followed through the calculations, or of templates.

    Only changes that stay whole, positive and clear are made; what is left out is counted by reason.

    A template: {"question": "{a} thanks {b}. Who thanks?", "answer": "{a}", "slots": {"a": ["Ann", "Bo"], "b": ["Ann",
    "Bo"], "n": {"from": 3, "to": 20}}, "distinct": [["a", "b"]]}; {n*2} is computed, and an answer may be a table:
    {"of": "{a}", "is": {"Ann": "red", "Bo": "blue"}}.

    Example: mechpatch make-pairs gsm8k.jsonl --out pairs.json
    """
    from mechpatch.pairs.gsm8k import make_pairs as make
    from mechpatch.pairs.problems import read_problems
    from mechpatch.pairs.templates import fill_templates, read_templates

    for name, value, most in (("--per-question", per_question, MOST), ("--max-change", max_change, MOST_CHANGE)):
        if not 1 <= value <= most:
            raise PairError(f"{name} is {value}, expected 1 to {most}")
    if (file is None) == (template is None):
        raise PairError("make-pairs takes one file: of GSM8K's format, or of templates with --template")
    if template is not None:
        pairs, skipped = fill_templates(read_templates(template), count=per_question, seed=seed)
        typer.echo(f"{template}: {len(pairs)} pairs")
        _show(f"{sum(skipped.values())} draws were left out", skipped)
        _write(pairs, template, out)
        return
    assert file is not None
    problems = read_problems(file)
    made = make(problems, seed=seed, per_question=per_question, max_change=max_change, name=file.stem)
    left = sum(made.skipped.values())
    typer.echo(f"{file}: {len(made.pairs)} pairs of {made.questions - left} of {made.questions} questions")
    _show(f"{left} questions were left out", made.skipped)
    _show(
        f"{sum(made.unchanged.values())} numbers of the questions that were understood cannot be changed",
        made.unchanged,
    )
    _write(made.pairs, file, out)


def _write(pairs: "list[Pair]", file: Path, out: Path) -> None:
    from mechpatch.pairs import to_prepared
    from mechpatch.storage.atomic import write_json

    if not pairs:
        raise PairError(f"{file}: no pair could be made, and {out} is not written")
    write_json(out, to_prepared(pairs))
    typer.echo(f"wrote {out}")


def _show(title: str, reasons: Mapping[str, int]) -> None:
    if reasons:
        typer.echo(f"{title}:")
    for reason, count in sorted(reasons.items(), key=lambda each: (-each[1], each[0])):
        typer.echo(f"  {count}: {reason}")
