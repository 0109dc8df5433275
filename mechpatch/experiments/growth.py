"""What a run directory holds once a request has joined it, and what cannot join it.

It grows by pairs, directions, null donors, experiments, hook points, layers, sites and sets, and keeps what it has: who
asks for less, or for something else, gets both. What decides the numbers themselves cannot change.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from mechpatch.catalogue import DIRECTIONS, NULLS
from mechpatch.errors import SpecError
from mechpatch.experiments.pinned import pin
from mechpatch.experiments.spec import Spec
from mechpatch.kinds import KINDS
from mechpatch.names import OPTIONS, as_typed
from mechpatch.points import POINTS, split_hook

T = TypeVar("T")

# What a model is made of beside its base, as `ThoughtModel.about` has it, and the options that say so.
MODEL = {
    "adapter": "--adapter",
    "codi": "--codi",
    "coconut": "--coconut",
    "family": "--family",
    "lora_alpha": "--lora-alpha",
    "lora_targets": "--lora-targets",
    "n_latents": "--latents",
    "special_ids": "--special-ids",
    "bos": "--bos",
    "question_format": "--question-format",
    "ignore_keys": "--ignore-keys",
    "tie": "--tie",
    "soft_top_k": "--soft-top-k",
    "soft_temperature": "--soft-temperature",
    "dtype": "--dtype",
}
GROWING = ("experiments", "hooks", "directions", "nulls", "layers", "sites", "subsets")
# Fields of a spec that decide numbers, those that matter most first, and the thoughts that read them where not all do.
FIXED = {
    "thoughts": None,
    "n_thoughts": ("latent", "placeholder"),
    "placeholder": ("placeholder",),
    "prefix": None,
    "separator": ("text",),
    "distances": None,
    "window": None,
    "screen": None,
    "seed": None,
    "batch_size": None,
    "min_gap": None,
    "engine": None,
    "memory": None,
    "expected": None,
    "say": None,
    "own": None,
}


def spec_from(described: Mapping[str, Any]) -> Spec:
    """The spec that JSON describes. Raises `TypeError` or `SpecError` if it is none."""
    return Spec(**{name: _frozen(value) for name, value in described.items()})


def join(found: dict[str, Any], asked: dict[str, Any], finished: bool, mixed: bool = False) -> dict[str, Any]:
    """What a directory holds in the end: what is finished there, and what is asked for.

    Args:
        found: what it was asked for, as `described.describe_run` describes it.
        asked: what it is asked for now.
        finished: whether the former is there; otherwise no more than its shards count.
        mixed: whether it may go on under settings on which rounding depends and that are not those of the run.

    Raises:
        SpecError: they differ in what cannot grow; the message has a line for each difference.
    """
    require_equal(differences(found, asked))
    asked = asked | {"machine": pin(found, asked, mixed)}
    if not finished:
        return asked
    had, now = spec_from(found["spec"]), spec_from(asked["spec"])
    spec, run = union(had, now), {*found["pairs"]["run"], *asked["pairs"]["run"]}
    if run == {*found["pairs"]["run"]} and all(getattr(spec, name) == getattr(had, name) for name in GROWING):
        return found
    pairs = asked["pairs"] | {"run": [name for name in asked["pairs"]["kept"] if name in run]}
    history = [*found.get("history", []), {name: found.get(name) for name in ("created", "command")}]
    return asked | {"spec": _thawed(asdict(spec)), "pairs": pairs, "history": history}


def union(found: Spec, asked: Spec) -> Spec:
    """All that either asks for, as `found` has it where that is enough; in what cannot grow, `asked`."""
    sets: dict[frozenset[str], tuple[str, ...]] = {}
    for names in (*found.subsets, *asked.subsets):
        sets.setdefault(frozenset(names), names)
    everything = () in (found.layers, asked.layers)
    return replace(
        asked,
        experiments=_both(found.experiments, asked.experiments, (*KINDS, *asked.own_names("kind"))),
        hooks=_both_hooks(found.hooks, asked.hooks),
        directions=_both(found.directions, asked.directions, tuple(DIRECTIONS)),
        nulls=_both(found.nulls, asked.nulls, (*NULLS, *asked.own_names("donor"))),
        layers=() if everything else _both(found.layers, asked.layers, sorted({*found.layers, *asked.layers})),
        sites=("all",) if "all" in (*found.sites, *asked.sites) else tuple(dict.fromkeys(found.sites + asked.sites)),
        subsets=tuple(sets.values()),
        window=asked.window if "window" in asked.experiments else found.window,
    )


def require_equal(different: Iterable[tuple[str, str, str]]) -> None:
    """Refuse a request that differs in these options from the run that is there. Raises `SpecError`, a line each."""
    if lines := [f"  {option}: the run has {had}, asked for {now}" for option, had, now in different]:
        raise SpecError("\n".join(["holds another run:", *lines, "choose another folder, or ask for what the run has"]))


def certain_differences(
    found: Mapping[str, Any], dtype: str, given: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    """The `differences` that arguments alone show.

    Args:
        given: some fields of a spec, as far as no model has a say in them.
    """
    if (had := found["model"]["dtype"]) != dtype:
        yield MODEL["dtype"], had, dtype
    yield from _of_specs(found, {**found, "spec": {**found["spec"], **given}})


def beyond(whole: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What a directory holds in the end beyond a request, in the options' own words; empty for nothing."""
    parts, more = [], len({*whole["pairs"]["run"]} - {*asked["pairs"]["run"]})
    if more:
        parts.append(f"{more} more pair{'s' if more > 1 else ''}")
    for name in GROWING:
        had, now = (_each(name, spec_from(each["spec"])) for each in (whole, asked))
        if "all" not in now and (extra := [value for each, value in had.items() if each not in now]):
            parts.append(f"{OPTIONS[name]} {as_typed(name, extra)}")
    if not parts:
        return ""
    return f"holds more than is asked for, and keeps it: {', '.join(parts)}. Summary and report are of it all"


def differences(found: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Option, what the run has and what is asked for, of all that cannot grow; what matters most first."""
    seen = set()
    for option, had, now in (
        *_of_models(found, asked),
        *_of_pairs(found, asked),
        *_of_specs(found, asked),
    ):
        if option not in seen:
            seen.add(option)
            yield option, had, now


def _of_models(found: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    names = [each["model"]["fingerprint"] for each in (found, asked)]
    if names[0] == names[1]:
        return
    made = [each["environment"]["model"] for each in (found, asked)]
    told = [(option, *(_shown(each.get(name)) for each in made)) for name, option in MODEL.items()]
    told = [(option, had, now) for option, had, now in told if had != now]
    bases = [str(each.get("base")) for each in made]
    if bases[0] != bases[1] or not told:
        had, now = (f"{base} ({name})" for base, name in zip(bases, names, strict=True))
        yield "--model", had, now if bases[0] != bases[1] else f"{now}: its files have changed"
    yield from told


def _of_pairs(found: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    had, now = found["pairs"], asked["pairs"]
    if had["content"] != now["content"]:
        files = [each["environment"]["pairs"] for each in (found, asked)]
        same = " (--keep-same-answer, or the file, has changed)" if files[0] == files[1] else ""
        counts = [f"{len(each['kept'])} usable pairs of {file}" for each, file in zip((had, now), files, strict=True)]
        yield "--pairs", counts[0], f"{counts[1]}{same}; donors and batches come from them all"


def _of_specs(found: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, readers in FIXED.items():
        had, now = (_effective(name, each) for each in (found, asked))
        if readers and asked["spec"]["thoughts"] not in readers:
            continue
        if name == "window" and not all("window" in each["spec"]["experiments"] for each in (found, asked)):
            continue
        if had != now:
            yield OPTIONS[name], as_typed(name, had), as_typed(name, now)
    if asked["spec"].get("screen") is not None:  # what there is to choose from cannot grow
        had, now = (spec_from(each["spec"]) for each in (found, asked))
        if any(had.parts(hook) != now.parts(hook) for hook in {*had.points} & {*now.points}):
            yield OPTIONS["hooks"], as_typed("hooks", had.hooks), as_typed("hooks", now.hooks)
        for name in ("layers", "sites", "subsets"):
            had, now = (_each(name, spec_from(each["spec"])) for each in (found, asked))
            if had.keys() != now.keys():
                yield OPTIONS[name], as_typed(name, [*had.values()]), as_typed(name, [*now.values()])


def _shown(value: Any) -> str:
    if value is None:
        return "(not given)"
    return (
        ",".join(map(str, value))
        if isinstance(value, list | tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _effective(name: str, described: Mapping[str, Any]) -> Any:
    value = getattr(spec_from(described["spec"]), name)
    if name == "n_thoughts":
        return value or described["environment"]["model"].get("n_latents")
    return value


def _each(name: str, spec: Spec) -> dict[Any, Any]:
    """The values of a growing field by what they stand for: no layers for all, a set for its sites in any order."""
    values = getattr(spec, name) or (("all",) if name == "layers" else ())
    return {frozenset(value) if name == "subsets" else value: value for value in values}


def _both(found: tuple[T, ...], asked: tuple[T, ...], order: Sequence[T]) -> tuple[T, ...]:
    return found if {*asked} <= {*found} else tuple(each for each in order if each in {*found, *asked})


def _both_hooks(found: tuple[str, ...], asked: tuple[str, ...]) -> tuple[str, ...]:
    """As `_both`, of hook points in the order of their table, parts by number; what is there whole needs no part."""
    either = {split_hook(each): each for each in (*found, *asked)}
    kept = {place: each for place, each in either.items() if place[1] is None or (place[0], None) not in either}
    order = [kept[place] for place in sorted(kept, key=lambda place: ([*POINTS].index(place[0]), place[1] or 0))]
    return _both(found, tuple(kept.values()), order)


def _frozen(value: Any) -> Any:
    """JSON has lists where a spec has tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _thawed(each) for name, each in value.items()}
    return [_thawed(each) for each in value] if isinstance(value, tuple) else value
