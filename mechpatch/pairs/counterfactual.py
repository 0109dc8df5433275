"""What a question's answer would be if one of its steps had another value and all else were kept.

The steps are those of its chain of thought, `<<a*b=c>>`. An operand that equals the result of an earlier step comes
from that step, unless another step, another operand beside it or a number of the question has that value too: then
nobody can tell, and there is no such answer. A question may also name its step values itself, in a field `values`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from mechpatch.pairs.answers import answer_text
from mechpatch.pairs.arithmetic import NUMBER, Expression, number, parse
from mechpatch.pairs.schema import Side
from mechpatch.pairs.wording import implied_values, written_numbers
from mechpatch.values import answer_value

CALCULATION = re.compile(r"<<([^<>=]*)=([^<>=]*)>>")


@dataclass(frozen=True, slots=True)
class Chain:
    """The calculations of one question.

    Attributes:
        expressions: one for each step.
        results: what each gives.
        sources: for each operand of each step the earlier step that it comes from; None for a number of the question,
            -1 where it may be either.
    """

    expressions: tuple[Expression, ...]
    results: tuple[Fraction, ...]
    sources: tuple[tuple[int | None, ...], ...]

    def answer_with(self, step: int, value: Fraction) -> Fraction | None:
        """The last result if that of `step` were `value`; None where an operand cannot be told, or divides by zero."""
        results = [*self.results]
        results[step] = value
        for later in range(step + 1, len(results)):
            operands = []
            for operand, source in zip(self.expressions[later].operands, self.sources[later], strict=True):
                if source == UNCLEAR:
                    return None
                assert operand.value is not None
                operands.append(operand.value if source is None else results[source])
            try:
                results[later] = self.expressions[later].value(operands)
            except ZeroDivisionError:
                return None
        return results[-1]


UNCLEAR = -1


def chain_of(side: Side) -> Chain | None:
    """The calculations of a question; None if there are none, or if one does not compute or the last is no answer."""
    written = {each.value for each in written_numbers(side.question)} | implied_values(side.question, "")
    expressions: list[Expression] = []
    results: list[Fraction] = []
    sources: list[tuple[int | None, ...]] = []
    for left, right in CALCULATION.findall(side.cot or ""):
        try:
            expression, result = parse(left), _number(right)
            operands = [operand.value for operand in expression.operands]
            known = [each for each in operands if each is not None]
            if result is None or len(known) < len(operands) or expression.value(known) != result:
                return None
        except (ValueError, ZeroDivisionError):
            return None
        twice = {each for each in known if known.count(each) > 1}
        sources.append(tuple(_source(each, results, written | twice) for each in known))
        expressions.append(expression)
        results.append(result)
    if not results or results[-1] != side.value:
        return None
    return Chain(tuple(expressions), tuple(results), tuple(sources))


def step_values(side: Side) -> tuple[str, ...]:
    """The result of each step as an answer is written: the field `values`, or what the chain gives; empty if neither.

    A fraction is left out with all steps: it has no one spelling.
    """
    given = side.fields.get("values")
    if isinstance(given, Sequence) and not isinstance(given, str):
        return tuple(answer_text(each) for each in given if isinstance(each, str | int))
    chain = chain_of(side)
    if chain is None or any(each.denominator != 1 for each in chain.results):
        return ()
    return tuple(str(each) for each in chain.results)


def answer_with(side: Side, step: int, value: str) -> str | None:
    """The answer of a question whose step (0-based) had `value`, all else kept; None where nobody can tell.

    The value of the last step is the answer itself.
    """
    if step == len(step_values(side)) - 1:
        return value
    chain, wanted = chain_of(side), answer_value(value)
    if chain is None or step >= len(chain.results) or not isinstance(wanted, Fraction):
        return None
    found = chain.answer_with(step, wanted)
    return str(found) if found is not None and found.denominator == 1 else None


def given_answers(fields: Mapping[str, object]) -> dict[str, str]:
    """The field `expected` of a pair: by site, what the model should say if the vector written there were used.

    Raises:
        ValueError: it is no object of answers.
    """
    found = fields.get("expected", {})
    if not isinstance(found, Mapping) or not all(isinstance(each, str | int) for each in found.values()):
        raise ValueError(f"expected is {found!r:.60}, and should be an object: site to answer")
    return {str(site): answer_text(each) for site, each in found.items()}


def _number(text: str) -> Fraction | None:
    match = re.fullmatch(rf"\s*(-?)\$?({NUMBER})\s*", text, re.ASCII)
    return None if match is None else number(match[2]) * (-1 if match[1] else 1)


def _source(value: Fraction, results: Sequence[Fraction], written: set[Fraction]) -> int | None:
    earlier = [step for step, result in enumerate(results) if result == value]
    if not earlier:
        return None
    return earlier[0] if len(earlier) == 1 and value not in written else UNCLEAR
