"""What a model says to both questions of a pair: criteria by it, and the field that keeps it with the pair.

The field names the model and every setting that decides what is said, so that a run can tell whether it still holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mechpatch.errors import PairError
from mechpatch.names import not_known
from mechpatch.pairs.schema import Pair
from mechpatch.pairs.screen import Count, Finding, Predicate, unequal_length

FIELD = "screened"
SIDES = ("clean", "corrupted")
BOTH_RIGHT, NEEDS_THOUGHTS, SAME_LENGTH = CRITERIA = ("both-right", "needs-thoughts", "same-length")
Settings = Mapping[str, Any]  # the model and each option that decides what is said, JSON-ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a model says to one question.

    Attributes:
        text: decoded greedily, up to a line break.
        outcome: clean, corrupted or other, as a run has it.
        without: the outcome with no thoughts; None where that was not run.
    """

    text: str
    outcome: str
    without: str | None = None


Answers = Mapping[str, tuple[Said, Said]]  # to the clean and the corrupted question, by pair id


def require_criteria(names: Sequence[str]) -> tuple[str, ...]:
    """`names`, each once. Raises `PairError` where one is not known, or none is there."""
    if unknown := [name for name in names if name not in CRITERIA]:
        raise PairError(not_known("--screen", unknown, CRITERIA))
    if not names:
        raise PairError(f"--screen: nothing was asked for; expected some of {', '.join(CRITERIA)}")
    return tuple(dict.fromkeys(names))


def criterion(name: str, answers: Answers, count_tokens: Count) -> Predicate:
    """What drops the pairs that fail one of `CRITERIA`."""
    predicates = {
        BOTH_RIGHT: wrong(answers),
        NEEDS_THOUGHTS: needs_no_thoughts(answers),
        SAME_LENGTH: unequal_length(count_tokens),
    }
    return predicates[name]


def wrong(answers: Answers) -> Predicate:
    """The model does not say the answer of a side."""

    def predicate(pair: Pair) -> Finding | None:
        said = dict(zip(SIDES, answers[pair.pair_id], strict=True))
        found = {f"{side}_said": each.text for side, each in said.items() if each.outcome != side}
        return Finding("wrong", found) if found else None

    return predicate


def needs_no_thoughts(answers: Answers) -> Predicate:
    """The model is wrong on a side with its thoughts, or right on one with none."""

    def predicate(pair: Pair) -> Finding | None:
        if (finding := wrong(answers)(pair)) is not None:
            return finding
        sides = [side for side, said in zip(SIDES, answers[pair.pair_id], strict=True) if said.without == side]
        return Finding("needs_no_thoughts", {"sides": sides}) if sides else None

    return predicate


def right_sides(answers: Answers) -> int:
    """How many sides the model answers rightly."""
    return sum(each.outcome == side for said in answers.values() for side, each in zip(SIDES, said, strict=True))


def with_answers(pair: Pair, said: tuple[Said, Said], criteria: Sequence[str], settings: Settings) -> Pair:
    """The pair with what was said in its field, in the place of what an earlier screening put there."""
    told: dict[str, object] = {"by": [*criteria], "settings": dict(settings)}
    for side, each in zip(SIDES, said, strict=True):
        without = {} if each.without is None else {"outcome_without_thoughts": each.without}
        told[side] = {"said": each.text, "outcome": each.outcome, **without}
    return replace(pair, fields={**pair.fields, FIELD: told})


def settings_of(pair: Pair) -> Settings | None:
    """What the pair was screened with; None if it was not, or if its field is no work of `with_answers`."""
    field = pair.fields.get(FIELD)
    settings = field.get("settings") if isinstance(field, Mapping) else None
    return settings if isinstance(settings, Mapping) else None
