"""Pairs from GSM8K's own format: one number of the question is changed and followed through the calculations.

An item has `question` and `answer`: reasoning with a `<<48/2=24>>` for each calculation, and `#### 24` at its end. Each
operand may come from a number of the question, from an earlier result, or from a word (`half`, `week`). A change is
made only where every reading of every operand gives the same new calculation; all else is skipped, with the reason.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from mechpatch.pairs.arithmetic import NUMBER
from mechpatch.pairs.load import pairs_from
from mechpatch.pairs.reasoning import Problem, Skip, skip, understood
from mechpatch.pairs.schema import Pair
from mechpatch.pairs.wording import after_article, takes_an

SMALLEST = 3  # 1 and 2 stand for too much (once, both, a singular) to be told apart from what words say
COMMON = frozenset(map(Fraction, (3, 4, 5, 7, 10, 12, 20, 24, 25, 30, 50, 52, 60, 100, 365, 1000)))


@dataclass(frozen=True, slots=True)
class Made:
    """The pairs that were made, and how many questions and numbers were left out for which reason."""

    pairs: list[Pair]
    questions: int
    skipped: Mapping[str, int]
    unchanged: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Change:
    """A number of the question with another value, and what follows from it."""

    index: int
    value: int
    question: str
    chain: str
    values: tuple[int, ...]


def make_pairs(
    problems: Iterable[tuple[str, str]],
    *,
    seed: int = 0,
    per_question: int = 1,
    max_change: int = 5,
    name: str = "gsm8k",
) -> Made:
    """Change one number of each question, up to `per_question` times, by at most `max_change`.

    Different numbers come first. What is drawn for a question depends on the seed and on that question alone.

    Args:
        name: how pair ids begin.
    """
    pairs: list[dict] = []
    skipped: Counter[str] = Counter()
    unchanged: Counter[str] = Counter()
    seen: set[str] = set()
    total = 0
    for index, (question, answer) in enumerate(problems):
        total += 1
        try:
            if question in seen:
                raise Skip("the question is there before")
            seen.add(question)
            problem = understood(question, answer)
            changes = _changes(problem, max_change, unchanged)
            rng = random.Random(f"{seed}: {question}")
            drawn = _drawn(changes, rng, per_question)
            if not drawn:
                raise Skip("none of its numbers can be changed")
        except Skip as reason:
            skipped[str(reason)] += 1
            continue
        pairs += [_prepared(f"{name}-{index}-{at}", index, problem, change) for at, change in enumerate(drawn)]
    return Made(pairs_from(pairs) if pairs else [], total, skipped, unchanged)


def _changes(problem: Problem, max_change: int, unchanged: Counter[str]) -> list[list[Change]]:
    """The changes that can be made of each number, where there are any; the other numbers are counted by reason."""
    found = []
    for index, written in enumerate(problem.numbers):
        try:
            _require_clear(problem, index)
            old, reasons, changes = int(written.value), [], []
            for value in range(max(SMALLEST, old - max_change), old + max_change + 1):
                if value == old or (
                    after_article(problem.question, written.start) and takes_an(value) != takes_an(old)
                ):
                    continue
                try:
                    changes.append(changed(problem, index, value))
                except Skip as reason:
                    reasons.append(str(reason))
            if not changes:
                skip(Counter(reasons).most_common(1)[0][0] if reasons else "no other value fits its article")
            found.append(changes)
        except Skip as reason:
            unchanged[str(reason)] += 1
    return found


def _require_clear(problem: Problem, index: int) -> None:
    """Raise `Skip` if the number itself, or where it enters, is not clear."""
    written = problem.numbers[index]
    if written.reason is not None:
        skip(written.reason)
    if written.value < SMALLEST:
        skip(f"it is less than {SMALLEST}")
    if sum(each.value == written.value for each in problem.numbers) > 1:
        skip("it occurs twice in the question")
    uses = [sum(index in sources for sources in step.sources) for step in problem.steps]
    if not any(uses):
        skip("it enters no calculation")
    if written.value in problem.implied:
        skip("it may be what a word says")
    if max(uses) > 1 or (written.value in COMMON and sum(map(bool, uses)) > 1):
        skip("it could be two operands")


def changed(problem: Problem, index: int, value: int) -> Change:
    """Give the number `index` of the question another value. Raises `Skip` if what follows is not whole or clear."""
    results: list[int] = []
    chain = []
    for step in problem.steps:
        now, texts = [], {}
        for at, (operand, sources) in enumerate(zip(step.expression.operands, step.sources, strict=True)):
            readings = {_reading(problem, source, index, value, results, operand.value) for source in sources}
            if len(readings) > 1:
                skip("an operand could be two numbers")
            [new] = readings
            now.append(new)
            if new != operand.value:
                texts[at] = _styled(new, step.expression.text[operand.start : operand.end])
        try:
            result = step.expression.value(now)
        except ZeroDivisionError:
            skip("a result would not stay whole and positive")
        if result.denominator != 1 or result <= 0:
            skip("a result would not stay whole and positive")
        results.append(int(result))
        right = re.sub(NUMBER, lambda old, new=result: _styled(new, old[0]), step.result, count=1, flags=re.ASCII)
        chain.append(f"<<{step.expression.replaced(texts)}={right}>>")
    if results[-1] == problem.steps[-1].value:
        skip("the answer would stay the same")
    written = problem.numbers[index]
    text = _styled(Fraction(value), problem.question[written.start : written.end])
    question = problem.question[: written.start] + text + problem.question[written.end :]
    return Change(index, value, question, "".join(chain), tuple(results))


def _reading(
    problem: Problem, source: int | None, index: int, value: int, results: list[int], old: Fraction | None
) -> Fraction:
    """The new value of an operand, if it comes from `source`."""
    if source is not None and source < 0:
        return Fraction(results[source + len(problem.steps)])
    if source == index:
        return Fraction(value)
    assert old is not None
    return old


def _drawn(changes: list[list[Change]], rng: random.Random, count: int) -> list[Change]:
    """`count` changes at most, of as many numbers as can be."""
    shuffled = [rng.sample(each, len(each)) for each in rng.sample(changes, len(changes))]
    rounds = range(max(map(len, shuffled), default=0))
    return [each[turn] for turn in rounds for each in shuffled if turn < len(each)][:count]


def _prepared(pair_id: str, index: int, problem: Problem, change: Change) -> dict:
    entry = next(at for at, step in enumerate(problem.steps) if any(change.index in each for each in step.sources))
    chain = "".join(f"<<{step.expression.text}={step.result}>>" for step in problem.steps)
    values = [step.value for step in problem.steps]
    return {
        "pair_id": pair_id,
        "item": index,
        "entry_step": entry,
        "steps_after_entry": len(values) - 1 - entry,
        "change": change.value - int(problem.numbers[change.index].value),
        "clean": _side(problem.question, problem.final, chain, values),
        "corrupted": _side(
            change.question, _styled(Fraction(change.values[-1]), problem.final), change.chain, [*change.values]
        ),
    }


def _side(question: str, answer: str, chain: str, values: list[int]) -> dict:
    return {"question": question, "answer": answer, "cot": chain, "reasoning_steps": len(values), "values": values}


def _styled(value: Fraction, like: str) -> str:
    """A whole number as text, with commas between thousands where `like` has them."""
    return f"{int(value):,}" if "," in like else str(int(value))
