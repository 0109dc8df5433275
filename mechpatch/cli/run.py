"""`mechpatch run`: experiments over all pairs, into a directory."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import (
    TARGETS,
    Adapter,
    Cache,
    Codi,
    Device,
    Dtype,
    Latents,
    LoraAlpha,
    LoraTargets,
    Model,
    Pairs,
    interruptible,
    load,
    split,
)


@app.command()
def run(
    experiment: Annotated[str, typer.Argument(help="layer, position or chained.")],
    out: Annotated[Path, typer.Option(help="Run directory; the same command goes on where it was stopped.")],
    model: Model = "demo",
    adapter: Adapter = None,
    codi: Codi = None,
    lora_alpha: LoraAlpha = None,
    lora_targets: LoraTargets = TARGETS,
    latents: Latents = None,
    pairs: Pairs = "demo",
    thoughts: Annotated[str, typer.Option(help="latent, text or placeholder.")] = "latent",
    answer_prefix: Annotated[str, typer.Option(help="Text before the answer.")] = "The answer is:",
    separator: Annotated[str, typer.Option(help="Text before a text chain and before the answer after it.")] = "",
    placeholder_token: Annotated[int | None, typer.Option(help="Token id of placeholder thoughts.  [pad]")] = None,
    layers: Annotated[str | None, typer.Option(help="For example 0-3,7.  [all]")] = None,
    sites: Annotated[str, typer.Option(help="all, or some of thoughts,bot,eot,answer,t0,t1,…")] = "all",
    mode: Annotated[str, typer.Option(help="Chains: relay, cumulative or both.")] = "relay,cumulative",
    direction: Annotated[str, typer.Option(help="denoise (clean into corrupted) or noise.")] = "denoise",
    nulls: Annotated[str, typer.Option(help="Null donors: self,other-pair,same-value,noise.")] = "",
    limit: Annotated[int | None, typer.Option(help="Run the first N pairs only.")] = None,
    keep_same_answer: Annotated[bool, typer.Option(help="Run pairs with equal answers too.")] = False,
    include_incorrect: Annotated[bool, typer.Option(help="Let pairs the model gets wrong into the means.")] = False,
    min_gap: Annotated[float, typer.Option(help="Smallest gap in nats at which recovery is defined.")] = 0.1,
    batch_size: Annotated[int, typer.Option(help="Pairs in one forward pass.")] = 16,
    seed: Annotated[int, typer.Option(help="Of null donors and intervals.")] = 0,
    engine: Annotated[str, typer.Option(help="fast, or reference: one plain hooked run for each patch.")] = "fast",
    check: Annotated[int, typer.Option(help="Cells of each batch compared with plain hooks.")] = 3,
    max_memory: Annotated[int, typer.Option(help="MB for one chunk of patches of the fast engine.")] = 1024,
    dtype: Dtype = "float32",
    device: Device = "auto",
    cache: Cache = Path("cache"),
    wandb: Annotated[
        bool, typer.Option("--wandb", help="Log to Weights & Biases; offline unless WANDB_MODE=online.")
    ] = False,
    wandb_project: Annotated[str, typer.Option(help="Project of --wandb.")] = "mechpatch",
) -> None:
    """Run one experiment over all pairs."""
    from mechpatch import workflow
    from mechpatch.console import progress, show_paths, show_screening, show_summary
    from mechpatch.experiments.spec import Spec, parse_layers
    from mechpatch.tracking import null_observer, wandb_observer

    spec = Spec(
        experiment=experiment,
        modes=split(mode),
        layers=parse_layers(layers) if layers else (),
        sites=split(sites),
        direction=direction,
        nulls=tuple(name.replace("-", "_") for name in split(nulls)),
        thoughts=thoughts,
        n_thoughts=latents,
        prefix=answer_prefix,
        separator=separator.replace("\\n", "\n").replace("\\t", "\t"),
        placeholder=placeholder_token,
        min_gap=min_gap,
        batch_size=batch_size,
        seed=seed,
        engine=engine,
        checks=check,
        memory=max_memory * 2**20,
    )
    loaded = load(model, adapter, codi, lora_alpha, lora_targets, latents, dtype, device)
    pair_file = workflow.read_pairs(pairs, loaded, spec, limit=limit, keep_same_answer=keep_same_answer)
    show_screening(pair_file)
    observer = null_observer()
    if wandb:
        config = {"experiment": experiment, "model": loaded.fingerprint, "direction": direction, "thoughts": thoughts}
        observer = wandb_observer(wandb_project, out.name, config, out.parent)
    with interruptible(out):
        finished = workflow.run_to_directory(
            loaded,
            spec,
            pair_file,
            out,
            cache=cache,
            command=sys.argv,
            include_incorrect=include_incorrect,
            observer=observer,
            progress=progress,
        )
    observer.finish()
    show_summary(finished.summary)
    show_paths(finished.folder, finished.figures)
