"""`mechpatch verify`: every law of patching on one's own model."""

import json
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import (
    Adapter,
    AnswerPrefix,
    Codi,
    Device,
    Latents,
    LoraAlpha,
    LoraTargets,
    Model,
    Pairs,
    PlaceholderToken,
    Separator,
    Thoughts,
    load,
    unescaped,
)

DTYPES = ("float32", "float64")


@app.command()
def verify(
    model: Model = "demo",
    adapter: Adapter = None,
    codi: Codi = None,
    lora_alpha: LoraAlpha = None,
    lora_targets: LoraTargets = None,
    latents: Latents = None,
    pairs: Pairs = "demo",
    thoughts: Thoughts = "latent",
    answer_prefix: AnswerPrefix = "The answer is:",
    separator: Separator = "",
    placeholder_token: PlaceholderToken = None,
    layers: Annotated[str | None, typer.Option(help="For example 0-3,7.  [first, middle and last]")] = None,
    seed: Annotated[int, typer.Option(help="Of the cells that are drawn.")] = 0,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Try every law of patching on a model and two pairs; exit code 1 if one fails."""
    from mechpatch import workflow
    from mechpatch.console import progress, show_report
    from mechpatch.errors import SpecError
    from mechpatch.experiments.spec import Spec, parse_layers
    from mechpatch.verify import LAWS, Source, make_context, read_source
    from mechpatch.verify import verify as try_all

    if dtype not in DTYPES:
        raise SpecError(f"dtype {dtype!r}: expected {' or '.join(DTYPES)}; other rounding is as large as many faults")
    spec = Spec(
        experiments=("position",),
        layers=parse_layers(layers) if layers else (),
        thoughts=thoughts,
        n_thoughts=latents,
        prefix=unescaped(answer_prefix),
        separator=unescaped(separator),
        placeholder=placeholder_token,
        seed=seed,
    )
    loaded = load(model, adapter, codi, lora_alpha, lora_targets, latents, dtype, device)
    kept = workflow.read_pairs(pairs, loaded, spec).kept
    checkpoint = read_source(
        Source(base=model, adapter=adapter, codi=codi, alpha=lora_alpha), loaded.hooked.cfg.dtype, loaded.device
    )
    context = make_context(loaded, spec, kept, checkpoint)
    with progress("verify", len(LAWS)) as tick:
        report = try_all(context, lambda key: tick(1))
    if as_json:
        about = {"model": loaded.fingerprint, "dtype": dtype, "pairs": [pair.pair_id for pair in context.pairs]}
        typer.echo(json.dumps(about | report.as_json(), ensure_ascii=False))
    else:
        show_report(report, [pair.pair_id for pair in context.pairs])
    if report.failed:
        raise typer.Exit(1)
