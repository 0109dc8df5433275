"""What a caller in Python gives, which no type checker need have seen: taken, or refused by the name of the argument.

The arguments are `Any` here on purpose: what a user mixes up is the very thing that these functions look at.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from inspect import signature
from typing import Any, TypedDict

from mechpatch.errors import SpecError
from mechpatch.experiments.growth import GROWING
from mechpatch.experiments.spec import Spec, parse_directions
from mechpatch.kinds import Kind
from mechpatch.models import ThoughtModel
from mechpatch.names import OPTIONS, not_known
from mechpatch.own import Donor, Metric

HIDDEN = ("experiments", "own")  # fields of `Spec` that have arguments of their own
SHOWN = 60  # characters of what was found


class Settings(TypedDict, total=False):
    """Fields of `Spec` as a caller gives them, by which an editor completes and checks names; `Spec` says what each is.

    What takes several values takes a single one, too.
    """

    hooks: str | Sequence[str]
    layers: int | Sequence[int]
    sites: str | Sequence[str]
    subsets: Sequence[Sequence[str]]
    window: int
    screen: int | None
    directions: str | Sequence[str]
    thoughts: str
    n_thoughts: int | None
    prefix: str | None
    separator: str
    placeholder: int | None
    distances: str
    min_gap: float
    batch_size: int
    seed: int
    engine: str
    expected: bool
    say: int | None
    checks: int
    memory: int | None


def loaded(model: Any) -> ThoughtModel:
    """A model that was loaded. Raises `SpecError` for its name or a plain transformer, with what makes it one."""
    if isinstance(model, ThoughtModel):
        return model
    made = f"mp.load_model({str(model)[:SHOWN]!r})" if isinstance(model, str) else "mp.load_model(…) or mp.wrap(…)"
    raise SpecError(f"model: found {_told(model)}; expected what {made} gives")


def several(name: str, given: Any, own: type[Kind] | type[Donor]) -> list[Any]:
    """One or several names, or values of the user's own. Raises `SpecError` for anything else."""
    values = _each(given)
    for value in values:
        if not isinstance(value, str | own):
            made = f"mp.{own.__name__}(name=…, {'cells' if own is Kind else 'function'}=…)"
            raise SpecError(f"{name}: found {_told(value)}; expected names, or {made} for one of your own")
    return values


def metrics_of(given: Any) -> tuple[Metric, ...]:
    """Metrics by the name of their column, or as values. Raises `SpecError` for what has no name or is no function."""
    if isinstance(given, Mapping):
        values = [Metric(name=name, function=each) if callable(each) else each for name, each in given.items()]
    else:
        values = _each(given)
    for value in values:
        if not isinstance(value, Metric):
            raise SpecError(
                f'metrics: found {_told(value)}; expected the name of a column for each function, {{"mine": function}}'
            )
    return tuple(values)


def spec_of(caller: str, beside: Iterable[str], settings: Mapping[str, Any], **given: Any) -> Spec:
    """What is asked for.

    Args:
        caller: the function that was called, for the messages.
        beside: its arguments that are no settings, but may have been meant by a misspelt one.
        settings: fields of `Spec`; those that take several values take a single name or number, too.
        given: further fields.

    Raises:
        SpecError: there is no such field, or what it is given cannot be run.
    """
    known = [each.name for each in fields(Spec) if each.name not in HIDDEN]
    if unknown := [name for name in settings if name not in known]:
        typed = {option.removeprefix("--").replace("-", "_"): name for name, option in OPTIONS.items()}
        raise SpecError(not_known(f"{caller}()", unknown, list(dict.fromkeys([*beside, *known])), typed))
    single = {name: (value,) for name, value in settings.items() if name in GROWING and isinstance(value, str | int)}
    asked = {**settings, **single, **given}
    try:
        if "directions" in asked:
            asked["directions"] = parse_directions(asked["directions"])
        return Spec(**asked)
    except TypeError as error:
        raise SpecError(f"{caller}(): {error}; `mechpatch.experiments.spec.Spec` says what each setting is") from error


def keywords(function: Callable[..., Any]) -> list[str]:
    """Names of the arguments that must be named."""
    return [each.name for each in signature(function).parameters.values() if each.kind is each.KEYWORD_ONLY]


def _each(given: Any) -> list[Any]:
    several = isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping)
    return [*given] if several else [given]


def _told(value: Any) -> str:
    name = type(value).__name__
    return f"{name} {str(value)[:SHOWN]!r}" if isinstance(value, str | int | float) else f"a {name}"
