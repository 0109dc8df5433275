"""`mechpatch pairs`: check a file of pairs, and screen it, by what a model says too."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechpatch.cli import early
from mechpatch.cli.app import app
from mechpatch.cli.model import kind_of_thoughts, with_source
from mechpatch.cli.options import (
    ASKED,
    MODEL,
    OUTPUT,
    AnswerPrefix,
    Cache,
    Device,
    Dtype,
    Json,
    PlaceholderToken,
    Separator,
    Thoughts,
    cache_folder,
    flag,
    load,
    option,
    split,
    unescaped,
)
from mechpatch.data import SHIPPED, pair_path
from mechpatch.errors import PairError
from mechpatch.experiments.spec import Spec
from mechpatch.formats import significant
from mechpatch.pairs import (
    Pair,
    Screening,
    default_predicates,
    describe,
    flag_only,
    has_odd_blanks,
    load_pairs,
    odd_blanks,
    to_prepared,
)
from mechpatch.pairs import screen as screening_of
from mechpatch.pairs.answered import CRITERIA, require_criteria
from mechpatch.pairs.screen import Count
from mechpatch.source import ModelSource
from mechpatch.storage.atomic import write_json
from mechpatch.storage.folders import require_place

if TYPE_CHECKING:
    from mechpatch.models import ThoughtModel


@app.command()
@with_source
def pairs(
    source: ModelSource,
    file: Annotated[str, typer.Argument(metavar="FILE", help=f"File of pairs, or {' or '.join(SHIPPED)}.")],
    screen: Annotated[
        str | None,
        option(
            "--screen",
            panel=ASKED,
            metavar="LIST",
            help=f"Run the model, and keep pairs by {', '.join(CRITERIA)}; needs-thoughts: wrong without them.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option("--out", panel=OUTPUT, metavar="FILE", help="Write the kept pairs here, in the prepared format."),
    ] = None,
    as_json: Json = False,
    model: Annotated[
        str | None,
        option(
            "--model",
            panel=MODEL,
            metavar="NAME",
            help="As for run; without --screen only its tokenizer, to count answer tokens.",
        ),
    ] = None,
    thoughts: Thoughts = "latent",
    answer_prefix: AnswerPrefix = None,
    separator: Separator = "",
    placeholder_token: PlaceholderToken = None,
    keep_same_answer: Annotated[
        bool, flag("--keep-same-answer", panel=ASKED, help="Flag pairs with equal answers instead of dropping them.")
    ] = False,
    dtype: Dtype = "float32",
    device: Device = "auto",
    cache: Cache = None,
) -> None:
    """Check and screen a file of pairs: every fault, what is dropped and why, and how long the answers are.

    With --screen the kept pairs carry what the model says, and a run of them does not run them unpatched again.

    Example: mechpatch pairs pairs.json --model path/to/llama
    """
    path, criteria = pair_path(file), require_criteria(split(screen)) if screen is not None else ()
    name = model or (file if file in SHIPPED else None)
    source = source if name is None else replace(source, base=name)
    spec = Spec(
        experiments=("position",),
        thoughts=kind_of_thoughts(thoughts, source),
        n_thoughts=source.n_latents,
        prefix=None if answer_prefix is None else unescaped(answer_prefix),
        separator=unescaped(separator),
        placeholder=placeholder_token,
    )
    if out is not None:
        require_place(out)
    folder = None
    if criteria:
        if name is None:
            raise PairError("--screen asks a model every question: name it with --model")
        early.judge_machine(dtype, device)
        early.judge(spec, early.outline(source))
        folder = cache_folder(cache)
    loaded = load_pairs(path)
    _warn_of_blanks(loaded)
    if criteria:
        thinker = load(source, dtype, device, quiet=as_json)
        count, screening, more = _by_answers(thinker, spec, loaded, criteria, folder, keep_same_answer)
    else:
        count = _token_counter(name) if name is not None else None
        screening, more = _by_files(loaded, count, keep_same_answer), {}
    found = describe(screening, len(loaded), count) | more
    if out is not None and (screening.kept or not criteria):
        write_json(out, to_prepared(screening.kept))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _show(path, found)
    if criteria and not screening.kept:
        raise PairError(
            f"{path}: no pair meets --screen {','.join(criteria)}{f', and {out} is not written' if out else ''}"
        )
    if out is not None and not as_json:
        typer.echo(f"wrote {out}")


def _warn_of_blanks(pairs: Sequence[Pair]) -> None:
    odd = sum(has_odd_blanks(side.question) for pair in pairs for side in (pair.clean, pair.corrupted))
    if odd:
        typer.echo(
            f"warning: {odd} of {2 * len(pairs)} questions have two blanks in a row, or white space at an end. CODI "
            "was trained on questions as they are, which is how they are run here; its own evaluation strips them and "
            "halves double blanks",
            err=True,
        )


def _by_files(pairs: Sequence[Pair], count: Count | None, keep_same_answer: bool) -> Screening:
    """What can be told without a model."""
    return screening_of(pairs, (*default_predicates(count, keep_same_answer=keep_same_answer), flag_only(odd_blanks)))


def _by_answers(
    model: "ThoughtModel",
    spec: Spec,
    pairs: Sequence[Pair],
    criteria: Sequence[str],
    cache: Path | None,
    keep_same_answer: bool,
) -> tuple[Count, Screening, dict[str, Any]]:
    """What a run would drop, and what the model's answers say; with them its counter of tokens and what to tell."""
    from mechpatch.experiments.layouts import run_predicates, settled
    from mechpatch.experiments.screening import screen_by_answers
    from mechpatch.progress import progress
    from mechpatch.thoughts.layout import encode

    spec = settled(model, spec)
    before = screening_of(pairs, (*run_predicates(model, spec, keep_same_answer), flag_only(odd_blanks)))
    with progress("unpatched runs", 2 * len(before.kept)) as tick:
        found = screen_by_answers(model, spec, before, criteria, cache, tick)
    told = {"model": model.fingerprint, "right": found.right, "asked": found.asked, "failed": found.failed}
    return lambda text: len(encode(model.tokenizer, text)), found.screening, {"screened": told}


def _show(path: Path, found: Mapping[str, Any]) -> None:
    typer.echo(f"{path}: {found['kept']} of {found['total']} pairs kept")
    for each in found["dropped"]:
        details = {key: value for key, value in each.items() if key not in ("pair_id", "reason")}
        detail = ", ".join(
            f"{key} {' and '.join(value) if isinstance(value, list) else value}" for key, value in details.items()
        )
        typer.echo(f"  dropped {each['pair_id']}: {each['reason']}{f' ({detail})' if detail else ''}")
    for pair_id, reasons in found["flagged"].items():
        typer.echo(f"  flagged {pair_id}: {', '.join(reasons)}")
    if (told := found.get("screened")) is not None:
        typer.echo(f"the model answers {told['right']} of {told['asked']} questions rightly")
        for name, count in told["failed"].items():
            typer.echo(f"  {name}: {count} of {told['asked'] // 2} pairs fail")
    if (difference := found["answer_difference"]) is not None:
        least, mean, most = (significant(difference[name], 6) for name in ("min", "mean", "max"))
        typer.echo(f"|clean − corrupted|: min {least}, mean {mean}, max {most}")
    if found["answer_tokens"] is None:
        typer.echo("tokens per answer: give --model to count them")
    else:
        counts = ", ".join(f"{n} with {tokens}" for tokens, n in found["answer_tokens"].items())
        typer.echo(f"tokens per answer: {counts}")


def _token_counter(model: str) -> Count:
    from mechpatch.models.load import load_tokenizer

    tokenizer = load_tokenizer(model)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))
