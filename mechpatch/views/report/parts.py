"""Parts of a sentence and of a table: what is shown, and in which of a few styles the templates write it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

STYLES = ("text", "foreign", "code", "foreign code", "power", "verdict", "warning", "share")


@dataclass(frozen=True, slots=True)
class Part:
    """One part.

    Attributes:
        shown: a text; for "power" a number or None, for "verdict" whether something holds, for "share" a `Share`.
        style: one of `STYLES`. "foreign" is for what a user wrote: right-to-left marks in it end with it.
        value: in a table, what the column is sorted by and what is saved; None for nothing.
    """

    shown: object
    style: str = "text"
    value: object = None


Row = Sequence[Part]


def entry(shown: object, style: str = "text") -> Part:
    """An entry of a table that is sorted by what it shows."""
    return Part(shown, style, shown)


def joined(groups: Iterable[Sequence[Part]], separator: str) -> list[Part]:
    """The parts of all groups, with a text between each two groups."""
    found: list[Part] = []
    for group in groups:
        found += [Part(separator), *group] if found else group
    return found
