"""`mechpatch pairs`: check and screen a file of pairs."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import ASKED, MODEL, OUTPUT, Json, flag, option
from mechpatch.data import pair_path


@app.command()
def pairs(
    file: Annotated[str, typer.Argument(metavar="FILE", help="File of pairs, or demo.")],
    out: Annotated[
        Path | None,
        option("--out", panel=OUTPUT, metavar="FILE", help="Write the kept pairs here, in the prepared format."),
    ] = None,
    as_json: Json = False,
    model: Annotated[
        str | None,
        option("--model", panel=MODEL, metavar="NAME", help="Count answer tokens with the tokenizer of this model."),
    ] = None,
    keep_same_answer: Annotated[
        bool, flag("--keep-same-answer", panel=ASKED, help="Flag pairs with equal answers instead of dropping them.")
    ] = False,
) -> None:
    """Check and screen a file of pairs: every fault, what is dropped and why, and how long the answers are.

    Example: mechpatch pairs pairs.json --model path/to/llama
    """
    from mechpatch.pairs import (
        default_predicates,
        describe,
        flag_only,
        has_odd_blanks,
        load_pairs,
        odd_blanks,
        screen,
        to_prepared,
    )
    from mechpatch.storage.atomic import write_json

    path = pair_path(file)
    loaded = load_pairs(path)
    count = _token_counter(model or "demo") if model is not None or file == "demo" else None
    predicates = (*default_predicates(count, keep_same_answer=keep_same_answer), flag_only(odd_blanks))
    screening = screen(loaded, predicates)
    found = describe(screening, len(loaded), count)
    if out is not None:
        write_json(out, to_prepared(screening.kept))
    odd = sum(has_odd_blanks(side.question) for pair in loaded for side in (pair.clean, pair.corrupted))
    if odd:
        typer.echo(
            f"warning: {odd} of {2 * len(loaded)} questions have two blanks in a row, or white space at an end. CODI "
            "was trained on questions as they are, which is how they are run here; its own evaluation strips them and "
            "halves double blanks",
            err=True,
        )
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    typer.echo(f"{path}: {found['kept']} of {found['total']} pairs kept")
    for each in found["dropped"]:
        detail = ", ".join(f"{key} {value}" for key, value in each.items() if key not in ("pair_id", "reason"))
        typer.echo(f"  dropped {each['pair_id']}: {each['reason']}{f' ({detail})' if detail else ''}")
    for pair_id, reasons in found["flagged"].items():
        typer.echo(f"  flagged {pair_id}: {', '.join(reasons)}")
    if (difference := found["answer_difference"]) is not None:
        typer.echo(
            f"|clean − corrupted|: min {difference['min']:g}, mean {difference['mean']:.4g}, max {difference['max']:g}"
        )
    if found["answer_tokens"] is None:
        typer.echo("tokens per answer: give --model to count them")
    else:
        counts = ", ".join(f"{n} with {tokens}" for tokens, n in found["answer_tokens"].items())
        typer.echo(f"tokens per answer: {counts}")
    if out is not None:
        typer.echo(f"wrote {out}")


def _token_counter(model: str) -> Any:
    from mechpatch.models.load import load_tokenizer

    tokenizer = load_tokenizer(model)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))
