"""Which pairs an experiment can use: named predicates, what each found, and a summary of the pairs that are left.

A predicate is a function of one pair that returns None or a `Finding`. The first finding drops the pair, unless
`flag_only` made it a flag. Tokens and steps are counted by functions passed in: nothing here knows a tokenizer.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean

from mechpatch.pairs.schema import Pair
from mechpatch.reprs import short_repr

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a predicate objects to a pair: a name to count by, and the values (JSON scalars) that show it."""

    reason: str
    detail: Mapping[str, object] = field(default_factory=dict)
    flag: bool = False


Predicate = Callable[[Pair], Finding | None]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A pair left out, and the first reason to."""

    pair: Pair
    reason: str
    detail: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Screening:
    """What a screening kept and dropped, both in the order given, and the flags of kept pairs by pair id."""

    kept: tuple[Pair, ...]
    dropped: tuple[Dropped, ...]
    flags: Mapping[str, tuple[str, ...]]

    __repr__ = short_repr


def screen(pairs: Iterable[Pair], predicates: Iterable[Predicate]) -> Screening:
    """Ask `predicates` about every pair, in order, until one drops it."""
    predicates = tuple(predicates)
    kept, dropped, flags = [], [], {}
    for pair in pairs:
        reasons = []
        for predicate in predicates:
            finding = predicate(pair)
            if finding is None:
                continue
            if not finding.flag:
                dropped.append(Dropped(pair, finding.reason, finding.detail))
                break
            reasons.append(finding.reason)
        else:
            kept.append(pair)
            if reasons:
                flags[pair.pair_id] = tuple(reasons)
    return Screening(tuple(kept), tuple(dropped), flags)


def flag_only(predicate: Predicate) -> Predicate:
    """`predicate`, but the pairs it objects to are kept and flagged."""

    def flagging(pair: Pair) -> Finding | None:
        finding = predicate(pair)
        return finding and replace(finding, flag=True)

    return flagging


def identical_questions(pair: Pair) -> Finding | None:
    """Both sides ask the same: a patch between equal runs changes nothing."""
    return Finding("identical_questions") if pair.clean.question == pair.corrupted.question else None


def same_answer(pair: Pair) -> Finding | None:
    """Both answers are one text or one number: no metric can tell the sides apart."""
    if pair.clean.value != pair.corrupted.value:
        return None
    return Finding("same_answer", {"clean_answer": pair.clean.answer, "corrupted_answer": pair.corrupted.answer})


def odd_blanks(pair: Pair) -> Finding | None:
    """A question has blanks that CODI's evaluation, unlike its training, takes out."""
    sides = [
        name for name, side in (("clean", pair.clean), ("corrupted", pair.corrupted)) if has_odd_blanks(side.question)
    ]
    return Finding("odd_blanks", {"sides": sides}) if sides else None


def has_odd_blanks(question: str) -> bool:
    """Whether a question has two blanks in a row, or white space at an end."""
    return "  " in question or question != question.strip()


def unequal_length(count_tokens: Count) -> Predicate:
    """The questions have different numbers of tokens."""

    def predicate(pair: Pair) -> Finding | None:
        clean, corrupted = count_tokens(pair.clean.question), count_tokens(pair.corrupted.question)
        if clean == corrupted:
            return None
        return Finding("unequal_length", {"clean_tokens": clean, "corrupted_tokens": corrupted})

    return predicate


def unequal_steps(count_steps: Count) -> Predicate:
    """The chains of thought have different numbers of steps, or one side alone has a chain.

    For text thoughts, where patching aligns step i with step i.
    """

    def predicate(pair: Pair) -> Finding | None:
        clean, corrupted = (
            None if side.cot is None else count_steps(side.cot) for side in (pair.clean, pair.corrupted)
        )
        if clean == corrupted:
            return None
        return Finding("unequal_steps", {"clean_steps": clean, "corrupted_steps": corrupted})

    return predicate


def default_predicates(
    count_tokens: Count | None = None,
    count_steps: Count | None = None,
    keep_same_answer: bool = False,
) -> tuple[Predicate, ...]:
    """The usual screening; a predicate that needs what is not given is left out.

    Drops identical questions, equal answers (or only flags them) and unequal steps; flags unequal lengths.
    """
    predicates: list[Predicate] = [identical_questions, flag_only(same_answer) if keep_same_answer else same_answer]
    if count_steps is not None:
        predicates.append(unequal_steps(count_steps))
    if count_tokens is not None:
        predicates.append(flag_only(unequal_length(count_tokens)))
    return tuple(predicates)


def describe(screening: Screening, total: int, answer_tokens: Count | None) -> dict:
    """A screening of `total` pairs as one JSON object.

    `answer_difference` is over the kept pairs whose answers are numbers, null where there is none. `answer_tokens`
    counts the answers of kept pairs, two per pair, by their number of tokens; null without a counter.
    """
    differences = [each for pair in screening.kept if (each := pair.answer_difference) is not None]
    answers = [side.answer for pair in screening.kept for side in (pair.clean, pair.corrupted)]
    return {
        "total": total,
        "kept": len(screening.kept),
        "dropped": [{"pair_id": each.pair.pair_id, "reason": each.reason, **each.detail} for each in screening.dropped],
        "flagged": {pair_id: list(reasons) for pair_id, reasons in screening.flags.items()},
        "answer_difference": {"min": min(differences), "mean": fmean(differences), "max": max(differences)}
        if differences
        else None,
        "answer_tokens": {str(count): number for count, number in sorted(Counter(map(answer_tokens, answers)).items())}
        if answer_tokens
        else None,
    }
