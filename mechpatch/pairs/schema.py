"""What a pair is: two questions that differ in one thing, and the two answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from mechpatch.errors import PairError
from mechpatch.pairs.answers import answer_text, shown
from mechpatch.values import Value, answer_value

Scalar = str | int | float | bool | None
OWNERS = ("clean.", "corrupted.", "pair.")  # how the names of columns with fields of one side or pair begin


@dataclass(frozen=True, slots=True)
class Side:
    """One question of a pair.

    `answer` is text as `answer_text` gives it. `cot` is the text of its chain of thought, where there is one.
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
            text = answer_text(self.answer)
        except ValueError as error:
            raise PairError(f"the answer of {shown(self.question)} is {error}") from None
        if text != self.answer:
            raise PairError(
                f"the answer of {shown(self.question)} is {shown(self.answer)}, expected {shown(text)}: pass it "
                "through answer_text"
            )

    @property
    def value(self) -> Value:
        """What the answer is compared by: "1,000" and "1000.0" are one number, two texts are equal or not."""
        return answer_value(self.answer)


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
    def answer_difference(self) -> float | None:
        """|clean answer − corrupted answer|, subtracted exactly and rounded once; None unless both are numbers."""
        clean, corrupted = self.clean.value, self.corrupted.value
        if isinstance(clean, Fraction) and isinstance(corrupted, Fraction):
            return float(abs(clean - corrupted))
        return None

    def record_fields(self) -> dict[str, Scalar]:
        """The fields that travel into result records: `field.x`, `field.clean.x`, `field.corrupted.x`.

        A field of the pair whose name begins as those of a side do is `field.pair.clean.x`, so that no two share a
        column. Scalars only: a list or an object stays in `fields` and out of records, whose columns are flat.
        """
        named = {f"pair.{name}" if name.startswith(OWNERS) else name: value for name, value in self.fields.items()}
        return dict(
            [
                *_scalars("field.", named),
                *_scalars("field.clean.", self.clean.fields),
                *_scalars("field.corrupted.", self.corrupted.fields),
            ]
        )


def _scalars(prefix: str, fields: Mapping[str, object]) -> Iterator[tuple[str, Scalar]]:
    return ((prefix + name, value) for name, value in fields.items() if isinstance(value, Scalar))
