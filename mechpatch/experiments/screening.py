"""Pairs that are screened by what a model says: those that meet each criterion, and whether that still holds later."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.layouts import answer_prefix, pair_layouts, placeholder_token
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.running.answering import answer
from mechpatch.experiments.running.batches import Tick
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.names import OPTIONS, as_typed
from mechpatch.pairs import Screening, screen
from mechpatch.pairs.answered import criterion, right_sides, settings_of, with_answers
from mechpatch.reprs import short_repr
from mechpatch.storage.keys import digest
from mechpatch.thoughts import Layout

TOKENS = "tokens"  # beside the options: fingerprint of what is run


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What a screening by answers found.

    Attributes:
        screening: the one that was given, gone on with; kept pairs carry what was said.
        right: questions that the model answers rightly, of `asked`.
        failed: pairs that fail each criterion, whether or not another one drops them first.
    """

    screening: Screening
    right: int
    asked: int
    failed: dict[str, int]

    __repr__ = short_repr


def screen_by_answers(
    model: ThoughtModel, spec: Spec, before: Screening, criteria: Sequence[str], cache: Path | None, tick: Tick
) -> Screened:
    """Run the kept pairs of a screening and screen them on; arguments and errors are those of `answer`."""
    answers = answer(model, spec, before.kept, criteria, cache, tick) if before.kept else {}

    def count_tokens(text: str) -> int:
        return len(model.tokenizer.encode(text))

    predicates = {name: criterion(name, answers, count_tokens) for name in criteria}
    now = screen(before.kept, predicates.values())
    told = settings(model, spec)
    kept = tuple(
        with_answers(pair, answers[pair.pair_id], criteria, told | {TOKENS: tokens(pair_layouts(model, spec, pair))})
        for pair in now.kept
    )
    names = {pair.pair_id for pair in kept}
    flags = {pair_id: flags for pair_id, flags in before.flags.items() if pair_id in names}
    return Screened(
        screening=Screening(kept, (*before.dropped, *now.dropped), flags),
        right=right_sides(answers),
        asked=2 * len(answers),
        failed={
            name: sum(predicate(pair) is not None for pair in before.kept) for name, predicate in predicates.items()
        },
    )


def settings(model: ThoughtModel, spec: Spec) -> dict[str, str]:
    """The model, and each option that decides what it says, by the names of the command line."""
    effective = {
        "thoughts": spec.thoughts,
        "n_thoughts": None if spec.thoughts == "text" else spec.n_thoughts or model.n_latents,
        "placeholder": placeholder_token(model, spec) if spec.thoughts == "placeholder" else None,
        "prefix": answer_prefix(model, spec),
        "separator": spec.separator if spec.thoughts == "text" else None,
    }
    named = {OPTIONS[name]: as_typed(name, value) for name, value in effective.items() if value is not None}
    machine = {"--dtype": str(model.about.get("dtype")), "--device": model.device.type}
    return {"--model": model.fingerprint, **machine, **named}


def tokens(layouts: tuple[Layout, Layout]) -> str:
    """Fingerprint of the tokens of a pair: equal where the same is run."""
    return digest([asdict(layout) for layout in layouts])


def still_known(experiment: Experiment, cache: Path | None) -> str | None:
    """Whether what a screening ran need not be run again, in words; None where no pair of the run was screened."""
    model, spec = experiment.model, experiment.spec
    had = {index: found for index in experiment.asked if (found := settings_of(experiment.pairs[index])) is not None}
    if not had:
        return None
    runs = UnpatchedRuns(model, experiment.layouts, spec.engine, cache, spec.points, experiment.groups)
    now, reasons = settings(model, spec), {}
    for index, found in had.items():
        told = now | {TOKENS: tokens(experiment.layouts[index])}
        changed = [name for name in {**told, **found} if found.get(name) != told.get(name)]
        if changed:
            reasons[index] = _difference(changed[0], found, told)
        elif not runs.has(index):
            reasons[index] = "its runs are not in the cache"
    known = (
        f"{len(had) - len(reasons)} of {len(experiment.asked)} pairs are not run unpatched: their screening did that"
    )
    if not reasons:
        return known
    first = next(iter(reasons))
    return f"{known}; {len(reasons)} are run again (pair {experiment.pairs[first].pair_id}: {reasons[first]})"


def _difference(name: str, found: Mapping[str, object], told: Mapping[str, object]) -> str:
    if name == TOKENS:
        return "its questions or answers have changed"
    return f"{name} was {found.get(name, '(not given)')} when it was screened and is {told.get(name, '(not given)')}"
