"""`mechpatch check`: what a checkpoint is, before it is loaded."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli import early
from mechpatch.cli.app import app
from mechpatch.cli.model import Family, IgnoreKeys, SpecialIds, Tie, parse_ids
from mechpatch.cli.options import MODEL, Dtype, Json, LoraAlpha, LoraTargets, option, split


@app.command()
def check(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A directory, a file with weights, or a shipped model.")
    ],
    model: Annotated[
        str | None,
        option("--model", panel=MODEL, metavar="NAME", help="Its base; without it the keys alone are looked at."),
    ] = None,
    family: Family = None,
    lora_alpha: LoraAlpha = None,
    lora_targets: LoraTargets = None,
    special_ids: SpecialIds = None,
    ignore_keys: IgnoreKeys = None,
    tie: Tie = None,
    dtype: Dtype = "float32",
    as_json: Json = False,
) -> None:
    """Say what a checkpoint is, what is left out of it or missing, and the memory that it takes. Reads no weight.

    Example: mechpatch check path/to/codi --model path/to/llama
    """
    early.judge_machine(dtype, "cpu")

    from mechpatch.console import show_contents, show_trial
    from mechpatch.models.load import DTYPES
    from mechpatch.models.trial import look, source_for, try_load

    source = source_for(
        checkpoint,
        model,
        family=family,
        lora_alpha=lora_alpha,
        lora_targets=split(lora_targets) if lora_targets else None,
        special_ids=None if special_ids is None else parse_ids(special_ids),
        ignore_keys=tuple(ignore_keys or ()),
        tie=tie,
    )
    contents = look(source)
    if not as_json:
        show_contents(contents)
    trial = try_load(source, DTYPES[dtype]) if source.base else None
    if as_json:
        typer.echo(json.dumps(asdict(contents) | (asdict(trial) if trial else {}), ensure_ascii=False))
    else:
        show_trial(trial, dtype)
