"""What a pair is: two questions that differ in one number, and the two numbers that answer them.

An answer is held as the canonical text of its number, so that equal numbers are equal answers however a file spells
them, and no digit is lost to a float.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow, Subnormal
from fractions import Fraction

from mechpatch.errors import PairError

MAX_DIGITS = 100
Scalar = str | int | float | bool | None
OWNERS = ("clean.", "corrupted.", "pair.")  # how the names of columns with fields of one side or pair begin

# Trapping Inexact refuses a longer number instead of rounding it; the exponents keep "1e999999999" from expanding.
_EXACT = Context(
    prec=MAX_DIGITS,
    Emax=MAX_DIGITS - 1,
    Emin=1 - MAX_DIGITS,
    traps=[Inexact, InvalidOperation, Overflow, Subnormal],
)
_SIGNS = str.maketrans("−－＋．，٫٬", "--+.,.,")
_NUMBER = re.compile(r"[+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Side:
    """One question of a pair.

    `answer` is canonical (see `canonical_answer`). `cot` is the text of its chain of thought, where there is one.
    `fields` are all other keys of the file, as plain JSON values; nothing here depends on them.
    """

    question: str
    answer: str
    cot: str | None
    fields: Mapping[str, object]

    def __repr__(self) -> str:
        return f"Side({self.answer}, {shown(self.question)})"

    def __post_init__(self) -> None:
        try:
            canonical = canonical_answer(self.answer)
        except ValueError as error:
            raise PairError(f"the answer of {shown(self.question)} is {error}") from None
        if canonical != self.answer:
            raise PairError(
                f"the answer of {shown(self.question)} is {shown(self.answer)}, expected {shown(canonical)}: "
                "pass it through canonical_answer"
            )


@dataclass(frozen=True, slots=True)
class Pair:
    """A clean and a corrupted question; `pair_id` is unique within a file."""

    pair_id: str
    clean: Side
    corrupted: Side
    fields: Mapping[str, object]

    def __repr__(self) -> str:
        return f"Pair({self.pair_id!r}: {self.clean.answer} → {self.corrupted.answer}, {shown(self.clean.question)})"

    @property
    def answer_difference(self) -> float:
        """|clean answer − corrupted answer|, subtracted exactly and rounded once."""
        return float(abs(Fraction(self.clean.answer) - Fraction(self.corrupted.answer)))

    def record_fields(self) -> dict[str, Scalar]:
        """The fields that travel into result records: `field.x`, `field.clean.x`, `field.corrupted.x`.

        A field of the pair whose name begins as those of a side do is `field.pair.clean.x`, so that no two share a
        column. Scalars only: a list or an object stays in `fields` and out of records, whose columns are flat.
        """
        own = {f"pair.{name}" if name.startswith(OWNERS) else name: value for name, value in self.fields.items()}
        return dict(
            [
                *_scalars("field.", own),
                *_scalars("field.clean.", self.clean.fields),
                *_scalars("field.corrupted.", self.corrupted.fields),
            ]
        )


def canonical_answer(value: object) -> str:
    """The one text of a number: "1,000", 1000.0 and "1e3" are "1000", "3.50" is "3.5", negative zero is "0".

    Takes int, float, Decimal, and text with decimal digits of any script, commas between thousands, and ASCII,
    full-width or Arabic signs. Raises ValueError with a short reason for all else, and for a number that is not
    exactly a Decimal of at most `MAX_DIGITS` digits, of magnitude below 1e100 and, unless zero, at least 1e-99.
    """
    match value:
        case bool() | None:
            raise ValueError(f"{shown(value)}, not a number")
        case int() if value.bit_length() > 4 * MAX_DIGITS:  # Decimal takes minutes to convert ten million bits
            raise ValueError(f"a number of more than {MAX_DIGITS} digits")
        case int() | Decimal():
            number = Decimal(value)
        case float():
            number = Decimal(float.__repr__(value))  # the shortest text of this float: 0.1 stays 0.1
        case str():
            text = value.strip().translate(_SIGNS)
            if not _NUMBER.fullmatch(text):
                raise ValueError(f"{shown(value)}, not a number")
            try:
                number = Decimal(text.replace(",", ""))
            except InvalidOperation:  # an exponent past 10**18
                raise ValueError(f"a number of more than {MAX_DIGITS} digits") from None
        case _:
            raise ValueError(f"{shown(value)}, not a number")
    if not number.is_finite():
        raise ValueError(f"{number}, not a finite number")
    if not number:
        return "0"
    try:
        return format(_EXACT.normalize(number), "f")
    except DecimalException:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits") from None


def shown(value: object) -> str:
    """`value` as a message names it: JSON words, some 60 characters at most, containers by kind only."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(value if len(value) <= 60 else f"{value[:57]}...")
        case int() if value.bit_length() > 4 * MAX_DIGITS:  # str refuses more than some thousand digits
            return "a huge number"
        case int() | float() | Decimal():
            return f"the number {value!s:.40}"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
        case _:
            return f"a value of type {type(value).__name__}"


def _scalars(prefix: str, fields: Mapping[str, object]) -> Iterator[tuple[str, Scalar]]:
    return ((prefix + name, value) for name, value in fields.items() if isinstance(value, Scalar))
