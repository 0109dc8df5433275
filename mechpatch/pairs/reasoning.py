"""A GSM8K question with its reasoning, understood: what each operand of each calculation may come from."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import NoReturn

from mechpatch.pairs.arithmetic import NUMBER, Expression, number, parse
from mechpatch.pairs.wording import Written, implied_values, written_numbers

FINAL = "####"
_ANNOTATION = re.compile(r"<<([^<>]*)>>")
_RESULT = re.compile(rf"\s*\$?({NUMBER})\s*", re.ASCII)


class Skip(Exception):
    """A question or a number that is left out, and why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One calculation, its result as it is written, and all that each operand may come from.

    A source is the index of a number of the question, the index of an earlier step less the number of steps (so that it
    is negative), or None for a word.
    """

    expression: Expression
    result: str
    value: int
    sources: tuple[frozenset[int | None], ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A question that was understood."""

    question: str
    final: str
    numbers: tuple[Written, ...]
    implied: frozenset[Fraction]
    steps: tuple[Step, ...]


def understood(question: str, answer: str) -> Problem:
    """Read a question with its reasoning. Raises `Skip` where its calculations are not whole or not clear."""
    reasoning, mark, final = answer.rpartition(FINAL)
    final = final.strip()
    if not mark or not re.fullmatch(NUMBER, final, re.ASCII) or number(final).denominator != 1:
        skip("the final answer is no whole number after ####")
    written = _ANNOTATION.findall(reasoning)
    if not written:
        skip("there are no <<…>> annotations")
    _all_annotated(reasoning)
    numbers = tuple(written_numbers(question))
    implied = implied_values(question, _ANNOTATION.sub(" ", reasoning))
    steps: list[Step] = []
    for text in written:
        steps.append(_step(text, numbers, implied, steps, len(written)))
    if steps[-1].value != number(final):
        skip("the final answer is not the last result")
    return Problem(question, final, numbers, implied, tuple(steps))


def _all_annotated(reasoning: str) -> None:
    for line in reasoning.splitlines():
        bare = _ANNOTATION.sub("<<>>", line)
        if re.search(r"\d", line) and bare == line:
            skip("a line with numbers has no <<…>> annotation")
        if re.search(r"=\s*\$?\s*[\d.]", bare):
            skip("an equation has no <<…>> annotation")


def _step(
    text: str, numbers: tuple[Written, ...], implied: frozenset[Fraction], before: list[Step], count: int
) -> Step:
    left, _, right = text.partition("=")
    match = _RESULT.fullmatch(right)
    try:
        expression = parse(left)
        operands = [operand.value for operand in expression.operands]
        if match is None or None in operands:
            raise ValueError
        value = expression.value([each for each in operands if each is not None])
    except ValueError:
        skip("an annotation cannot be read")
    except ZeroDivisionError:
        skip("an annotation does not compute")
    if value != number(match[1]):
        skip("an annotation does not compute")
    if value.denominator != 1 or value <= 0:
        skip("a result is not whole and positive")
    sources = []
    for operand in operands:
        found: set[int | None] = {at for at, each in enumerate(numbers) if each.value == operand}
        found |= {at - count for at, step in enumerate(before) if step.value == operand}
        if operand in implied:
            found.add(None)
        if not found:
            skip("an operand comes from nowhere")
        sources.append(frozenset(found))
    return Step(expression, right, int(value), tuple(sources))


def skip(reason: str) -> NoReturn:
    raise Skip(reason)
