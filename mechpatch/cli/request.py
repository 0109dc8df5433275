"""What `run` and `plan` are both asked: a model, experiments, pairs. One set of options: a plan is of that run."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from mechpatch.cli.options import (
    Adapter,
    AnswerPrefix,
    Codi,
    Device,
    Dtype,
    Latents,
    LoraAlpha,
    LoraTargets,
    Model,
    Pairs,
    PlaceholderToken,
    Separator,
    Thoughts,
    load,
    split,
    unescaped,
)

if TYPE_CHECKING:
    from mechpatch.experiments.spec import Spec
    from mechpatch.models import ThoughtModel
    from mechpatch.workflow import PairFile


class Request(NamedTuple):
    """A loaded model, what is to be run on it, and the pairs that will be."""

    model: "ThoughtModel"
    spec: "Spec"
    pairs: "PairFile"


def request(
    experiments: Annotated[
        list[str],
        typer.Argument(
            help="Some of layer, position, relay, cumulative, leave-one-out, pairwise, subset, window; chained for "
            "relay and cumulative, all for the first four."
        ),
    ],
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
    layers: Annotated[str | None, typer.Option(help="For example 0-3,7.  [all]")] = None,
    sites: Annotated[str, typer.Option(help="all, or some of thoughts,bot,eot,answer,t0,t1,…")] = "all",
    sets: Annotated[str, typer.Option(help="Sets of sites that subset writes at once: t0+t2,bot+t1.")] = "",
    window: Annotated[int, typer.Option(help="Layers in a row that window writes.")] = 3,
    direction: Annotated[str, typer.Option(help="denoise (clean into corrupted), noise, or both.")] = "denoise",
    nulls: Annotated[str, typer.Option(help="Null donors: self,other-pair,same-value,noise.")] = "",
    limit: Annotated[int | None, typer.Option(help="Run the first N pairs only.")] = None,
    keep_same_answer: Annotated[bool, typer.Option(help="Run pairs with equal answers too.")] = False,
    min_gap: Annotated[float, typer.Option(help="Smallest gap in nats at which recovery is defined.")] = 0.1,
    batch_size: Annotated[int, typer.Option(help="Pairs in one forward pass.")] = 16,
    seed: Annotated[int, typer.Option(help="Of null donors and intervals.")] = 0,
    engine: Annotated[str, typer.Option(help="fast, or reference: one plain hooked run for each patch.")] = "fast",
    check: Annotated[int, typer.Option(help="Cells of each batch compared with plain hooks.")] = 3,
    max_memory: Annotated[int | None, typer.Option(help="MB for one chunk of patches.  [from the device]")] = None,
    dtype: Dtype = "float32",
    device: Device = "auto",
) -> Request:
    """Check what is asked for, load the model, read and screen the pairs."""
    from mechpatch.console import show_screening
    from mechpatch.experiments.spec import Spec, parse_experiments, parse_layers
    from mechpatch.workflow import read_pairs

    spec = Spec(
        experiments=parse_experiments(experiments),
        layers=parse_layers(layers) if layers else (),
        sites=split(sites),
        subsets=tuple(tuple(names.split("+")) for names in split(sets)),
        window=window,
        directions=split(direction.replace("both", "denoise,noise")),
        nulls=tuple(name.replace("-", "_") for name in split(nulls)),
        thoughts=thoughts,
        n_thoughts=latents,
        prefix=unescaped(answer_prefix),
        separator=unescaped(separator),
        placeholder=placeholder_token,
        min_gap=min_gap,
        batch_size=batch_size,
        seed=seed,
        engine=engine,
        checks=check,
        memory=None if max_memory is None else max_memory * 2**20,
    )
    loaded = load(model, adapter, codi, lora_alpha, lora_targets, latents, dtype, device)
    pair_file = read_pairs(pairs, loaded, spec, limit=limit, keep_same_answer=keep_same_answer)
    show_screening(pair_file)
    return Request(loaded, spec, pair_file)


def of_request(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command`, whose first parameter is a `Request`, the options that make one."""
    asked = inspect.signature(request).parameters
    _, *own = inspect.signature(command).parameters.values()

    @wraps(command)
    def called(**given: Any) -> None:
        command(request(**{name: given.pop(name) for name in asked}), **given)

    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*asked.values(), *own)]
    called.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called
