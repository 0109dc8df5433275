"""What `run` and `plan` are both asked: a model, experiments, pairs. One set of options: a plan is of that run."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from mechpatch.cli import early
from mechpatch.cli.model import kind_of_thoughts, make_source, with_options
from mechpatch.cli.options import (
    ASKED,
    EXPERIMENT,
    RUNNING,
    AnswerPrefix,
    Device,
    Distances,
    Dtype,
    Pairs,
    PlaceholderToken,
    Quiet,
    Screen,
    Seed,
    Separator,
    Thoughts,
    flag,
    hush,
    load,
    option,
    split,
    unescaped,
)
from mechpatch.cli.presets import Preset
from mechpatch.data import pair_path, pairs_for
from mechpatch.errors import PairError, SpecError, StorageError
from mechpatch.experiments.growth import certain_differences, require_equal
from mechpatch.experiments.spec import Spec, parse_directions, parse_experiments, parse_layers
from mechpatch.pairs import load_pairs
from mechpatch.source import ModelSource
from mechpatch.storage.folders import SPEC, require_run_or_empty

if TYPE_CHECKING:
    from mechpatch.models import ThoughtModel
    from mechpatch.workflow import PairFile


# What helps against a reason to drop a pair.
HELP = {
    "same_answer": "--keep-same-answer runs them all the same",
    "no_cot": "text thoughts need a field `cot` on each side",
    "unequal_steps": "step i is patched with step i, so both sides need equally many",
    "too_long": "the model runs no longer sequences; take fewer --latents or shorter questions",
    "identical_questions": "the two sides must ask different things",
}


class Request(NamedTuple):
    """A loaded model, what is to be run on it, the pairs that will be, and whether to say little on the way."""

    model: "ThoughtModel"
    spec: Spec
    pairs: "PairFile"
    quiet: bool


def request(
    source: ModelSource,
    experiments: Annotated[
        list[str],
        typer.Argument(
            help="Some of layer, position, relay, cumulative, leave-one-out, pairwise, subset, window, necessity, "
            "count, early, swap; chained for relay and cumulative, all for the first four.",
            metavar="EXPERIMENT",
        ),
    ],
    pairs: Pairs = None,
    thoughts: Thoughts = "latent",
    answer_prefix: AnswerPrefix = None,
    separator: Separator = "",
    placeholder_token: PlaceholderToken = None,
    hooks: Annotated[
        str,
        option(
            "--hooks",
            panel=EXPERIMENT,
            metavar="LIST",
            help="Hook points that are written: resid_pre, resid_mid, resid_post, attn_out, mlp_out; z, k, v head by "
            "head; kv; post, neuron by neuron; thought, the vector that is fed back. z.5 is one head, post.123 one "
            "neuron.",
        ),
    ] = "resid_post",
    layers: Annotated[
        str | None,
        option("--layers", panel=EXPERIMENT, metavar="LIST", help="For example 0-3,7.", show_default="all"),
    ] = None,
    sites: Annotated[
        str,
        option(
            "--sites",
            panel=EXPERIMENT,
            metavar="LIST",
            help="all, or some of thoughts, bot, eot, answer, t0, t1 and so on, with commas between.",
        ),
    ] = "all",
    sets: Annotated[
        str,
        option(
            "--sets",
            panel=EXPERIMENT,
            metavar="LIST",
            help="Sets of sites that subset writes at once: t0+t2,bot+t1.",
            show_default="none",
        ),
    ] = "",
    distances: Distances = "answer",
    preset: Preset = None,
    window: Annotated[
        int, option("--window", panel=EXPERIMENT, metavar="N", help="Layers in a row that window writes.")
    ] = 3,
    screen: Screen = None,
    direction: Annotated[
        str,
        option(
            "--direction",
            panel=EXPERIMENT,
            metavar="NAME",
            help="denoise (clean vectors into the corrupted run), noise, or both.",
        ),
    ] = "denoise",
    nulls: Annotated[
        str,
        option(
            "--nulls",
            panel=EXPERIMENT,
            metavar="LIST",
            help="Other donors beside the effect, some of self, other-pair, same-value, gaussian, zero, mean.",
            show_default="none",
        ),
    ] = "",
    expected: Annotated[
        bool,
        flag(
            "--expected",
            panel=EXPERIMENT,
            help="Look for the answers that the pairs' field expected names, site by site.",
        ),
    ] = False,
    say: Annotated[
        int | None,
        option(
            "--say",
            panel=EXPERIMENT,
            metavar="N",
            help="Keep what each patched run says, at most N tokens, up to eos or a line break.",
            show_default="none",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        option("--limit", panel=ASKED, metavar="N", help="Run the first N pairs only.", show_default="all"),
    ] = None,
    pair: Annotated[
        list[str] | None,
        option(
            "--pair", panel=ASKED, metavar="ID", help="Run this pair; may be given several times.", show_default="all"
        ),
    ] = None,
    keep_same_answer: Annotated[
        bool, flag("--keep-same-answer", panel=ASKED, help="Run pairs with equal answers too.")
    ] = False,
    min_gap: Annotated[
        float,
        option(
            "--min-gap", panel=EXPERIMENT, metavar="NATS", help="Smallest gap in nats at which recovery is defined."
        ),
    ] = 0.1,
    batch_size: Annotated[
        int, option("--batch-size", panel=RUNNING, metavar="N", help="Pairs in one forward pass.")
    ] = 16,
    seed: Seed = 0,
    engine: Annotated[
        str,
        option(
            "--engine",
            panel=RUNNING,
            metavar="NAME",
            help="fast, or reference: one plain hooked run for each patch.",
        ),
    ] = "fast",
    check: Annotated[
        int,
        option("--check", panel=RUNNING, metavar="N", help="Cells of each batch that plain hooks compute too."),
    ] = 3,
    max_memory: Annotated[
        int | None,
        option(
            "--max-memory",
            panel=RUNNING,
            metavar="MB",
            help="Memory that all may take, weights included.",
            show_default="all of the device",
        ),
    ] = None,
    dtype: Dtype = "float32",
    device: Device = "auto",
    quiet: Quiet = False,
) -> Request:
    """Refuse at once what can be, then load the model, read and screen the pairs."""
    spec = Spec(
        experiments=parse_experiments(experiments),
        hooks=tuple(name.replace("-", "_") for name in split(hooks)),
        layers=parse_layers(layers) if layers else (),
        sites=split(sites),
        subsets=tuple(tuple(names.split("+")) for names in split(sets)),
        window=window,
        screen=screen,
        directions=parse_directions(split(direction)),
        nulls=tuple(name.replace("-", "_") for name in split(nulls)),
        thoughts=kind_of_thoughts(thoughts, source),
        n_thoughts=source.n_latents,
        prefix=None if answer_prefix is None else unescaped(answer_prefix),
        separator=unescaped(separator),
        placeholder=placeholder_token,
        distances=distances,
        min_gap=min_gap,
        batch_size=batch_size,
        seed=seed,
        engine=engine,
        expected=expected,
        say=say,
        checks=check,
        memory=None if max_memory is None else max_memory * 2**20,
    )
    early.judge_machine(dtype, device)
    early.judge_limit(limit, pair or ())
    early.judge(spec, early.outline(source))
    if quiet:
        hush()
    pairs = pairs or pairs_for(source.base)
    load_pairs(pair_path(pairs))  # for its faults: they are many, and a model takes long to load

    from mechpatch.console import show_screening
    from mechpatch.workflow import read_pairs

    loaded = load(source, dtype, device, quiet=quiet)
    pair_file = read_pairs(pairs, loaded, spec, limit=limit, only=pair or (), keep_same_answer=keep_same_answer)
    if not quiet:
        show_screening(pair_file)
    if not pair_file.kept:
        raise PairError(_none_left(pair_file))
    return Request(loaded, spec, pair_file, quiet)


def _require_joinable(out: Path, given: Mapping[str, Any]) -> None:
    """Refuse a folder whose run the options alone show to be another one. Raises `SpecError`."""
    if not (out / SPEC).is_file():
        return
    from mechpatch.storage.results import read_spec

    memory = given["max_memory"]
    texts = {"prefix": given["answer_prefix"], "separator": given["separator"]}
    fields = {name: given[name] for name in ("seed", "batch_size", "min_gap", "engine")}
    fields |= {name: unescaped(text) for name, text in texts.items() if text is not None}
    fields["say"] = given["say"]
    fields["screen"] = given["screen"]
    fields["memory"] = None if memory is None else memory * 2**20
    try:
        require_equal(certain_differences(read_spec(out), given["dtype"], fields))
    except SpecError as error:
        raise SpecError(f"{out}: {error}") from error
    except (KeyError, TypeError) as error:
        raise StorageError(f"{out / SPEC}: cannot be understood: no {error}; choose another folder") from error


def _none_left(pairs: "PairFile") -> str:
    """Why no pair of a file can be run, and what helps."""
    counts = Counter(each.reason for each in pairs.screening.dropped)
    reasons = [f"{count} {reason}{f' ({HELP[reason]})' if reason in HELP else ''}" for reason, count in counts.items()]
    return f"{pairs.path}: none of {pairs.total} pairs can be run: {', '.join(reasons)}"


def of_request(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command`, whose first parameter is a `Request`, the options that make one."""
    complete = with_options(with_options(make_source, request), command)

    @wraps(complete)
    def called(**given: Any) -> None:
        early.judge_cluster(given.get("ray"), given.get("workers"), given.get("gpus_per_worker"))
        project = given.get("wandb_project") is not None
        early.judge_unread({"--wandb-project": (project, "--wandb", bool(given.get("wandb")))})
        if (out := given.get("out")) is not None:
            require_run_or_empty(out)
            _require_joinable(out, given)
        complete(**given)

    return called
