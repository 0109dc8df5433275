"""Exact arithmetic on short expressions: numbers, names, `+ - * / ( )`, and `%` after a number, which divides by 100.

Numbers may have commas between thousands and a `$` before them. Nothing is evaluated as Python.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

MAX_TOKENS = 200
NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d+(?:\.\d+)?|\.\d+"
_TOKEN = re.compile(rf"\s*(?:\$?(?P<number>{NUMBER})|(?P<name>[^\W\d]\w*)|(?P<sign>[-+*/()%]))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Operand:
    """A number in an expression, or a name that stands for one: where it is written, and its value (None: a name)."""

    start: int
    end: int
    value: Fraction | None


@dataclass(frozen=True, slots=True)
class Expression:
    """A text that was read: its operands from left to right, and the tokens between them."""

    text: str
    operands: tuple[Operand, ...]
    _tokens: tuple[str | int, ...]

    def value(self, operands: Sequence[Fraction]) -> Fraction:
        """The value with `operands` in the places of its own. Raises ZeroDivisionError."""
        found, rest = _sum(self._tokens, operands)
        assert not rest
        return found

    def replaced(self, texts: Mapping[int, str]) -> str:
        """The text with some operands written otherwise, by their index."""
        text = self.text
        for index in sorted(texts, reverse=True):
            text = text[: self.operands[index].start] + texts[index] + text[self.operands[index].end :]
        return text


def parse(text: str) -> Expression:
    """Read an expression. Raises ValueError that says where it cannot be read."""
    operands: list[Operand] = []
    tokens: list[str | int] = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None or len(tokens) == MAX_TOKENS:
            raise ValueError(f"{text[:60]!r} cannot be read from {text[at : at + 20]!r} on")
        at = match.end()
        if match["sign"]:
            tokens.append(match["sign"])
            continue
        kind = "number" if match["number"] else "name"
        tokens.append(len(operands))
        value = number(match["number"]) if kind == "number" else None
        operands.append(Operand(match.start(kind), match.end(kind), value))
    expression = Expression(text, tuple(operands), tuple(tokens))
    stand_ins = [Fraction(7 * 3**index + 1, 11) for index in range(len(operands))]  # no two differ by nothing
    try:
        _, rest = _sum(expression._tokens, stand_ins)
    except (IndexError, RecursionError, ZeroDivisionError):
        rest = ("?",)
    if rest:
        raise ValueError(f"{text[:60]!r} is no expression of numbers with + - * / ( ) %")
    return expression


def number(text: str) -> Fraction:
    """The exact value of decimal digits with commas between thousands or without."""
    return Fraction(Decimal(text.replace(",", "")))


Tokens = tuple[str | int, ...]


def _sum(tokens: Tokens, operands: Sequence[Fraction]) -> tuple[Fraction, Tokens]:
    """The value of the longest sum that `tokens` open with, and the tokens after it."""
    found, tokens = _product(tokens, operands)
    while tokens and tokens[0] in ("+", "-"):
        sign = tokens[0]
        more, tokens = _product(tokens[1:], operands)
        found = found + more if sign == "+" else found - more
    return found, tokens


def _product(tokens: Tokens, operands: Sequence[Fraction]) -> tuple[Fraction, Tokens]:
    found, tokens = _factor(tokens, operands)
    while tokens and tokens[0] in ("*", "/"):
        sign = tokens[0]
        more, tokens = _factor(tokens[1:], operands)
        found = found * more if sign == "*" else found / more
    return found, tokens


def _factor(tokens: Tokens, operands: Sequence[Fraction]) -> tuple[Fraction, Tokens]:
    first, rest = tokens[0], tokens[1:]
    if first == "-":
        found, rest = _factor(rest, operands)
        return -found, rest
    if first == "(":
        found, rest = _sum(rest, operands)
        if rest[0] != ")":
            raise IndexError("a bracket is left open")
        rest = rest[1:]
    elif isinstance(first, int):
        found = operands[first]
    else:
        raise IndexError(f"{first} where a number is expected")
    while rest and rest[0] == "%":
        found, rest = found / 100, rest[1:]
    return found, rest
