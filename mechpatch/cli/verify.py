"""`mechpatch verify`: every law of patching on one's own model."""

import json
from typing import Annotated

import typer

from mechpatch.cli import early
from mechpatch.cli.app import app
from mechpatch.cli.model import kind_of_thoughts, with_source
from mechpatch.cli.options import (
    EXPERIMENT,
    MODEL,
    AnswerPrefix,
    Device,
    Json,
    Pairs,
    PlaceholderToken,
    Seed,
    Separator,
    Thoughts,
    load,
    option,
    unescaped,
)
from mechpatch.data import pair_path, pairs_for
from mechpatch.experiments.spec import Spec, parse_layers
from mechpatch.pairs import load_pairs
from mechpatch.source import ModelSource

DTYPES = ("float32", "float64")  # other rounding is as large as many faults


@app.command()
@with_source
def verify(
    source: ModelSource,
    pairs: Pairs = None,
    thoughts: Thoughts = "latent",
    answer_prefix: AnswerPrefix = None,
    separator: Separator = "",
    placeholder_token: PlaceholderToken = None,
    layers: Annotated[
        str | None,
        option(
            "--layers",
            panel=EXPERIMENT,
            metavar="LIST",
            help="For example 0-3,7.",
            show_default="first, middle and last",
        ),
    ] = None,
    seed: Seed = 0,
    dtype: Annotated[
        str, option("--dtype", panel=MODEL, metavar="NAME", help="float32 or float64: other rounding hides faults.")
    ] = "float32",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Try every law of patching on a model and two pairs; exit code 1 if one fails.

    Example: mechpatch verify --model path/to/llama --codi path/to/codi --pairs pairs.json
    """
    spec = Spec(
        experiments=("position",),
        layers=parse_layers(layers) if layers else (),
        thoughts=kind_of_thoughts(thoughts, source),
        n_thoughts=source.n_latents,
        prefix=None if answer_prefix is None else unescaped(answer_prefix),
        separator=unescaped(separator),
        placeholder=placeholder_token,
        seed=seed,
    )
    early.judge_machine(dtype, device, DTYPES)
    early.judge(spec, early.outline(source))
    pairs = pairs or pairs_for(source.base)
    load_pairs(pair_path(pairs))

    from mechpatch import workflow
    from mechpatch.console import show_findings
    from mechpatch.progress import progress
    from mechpatch.verify import LAWS, make_context, read_source
    from mechpatch.verify import verify as try_all

    loaded = load(source, dtype, device)
    kept = workflow.read_pairs(pairs, loaded, spec).kept
    checkpoint = read_source(source, loaded.hooked.cfg.dtype, loaded.device)
    context = make_context(loaded, spec, kept, checkpoint)
    with progress("verify", len(LAWS)) as tick:
        findings = try_all(context, lambda key: tick(1))
    if as_json:
        about = {"model": loaded.fingerprint, "dtype": dtype, "pairs": [pair.pair_id for pair in context.pairs]}
        typer.echo(json.dumps(about | findings.as_json(), ensure_ascii=False))
    else:
        show_findings(findings, [pair.pair_id for pair in context.pairs])
    if findings.failed:
        raise typer.Exit(1)
