"""Numbers in an English question: in digits, with what speaks against changing each, and those that words imply."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from mechpatch.pairs.arithmetic import NUMBER, number

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SPELLED = {word: value for value, word in enumerate([*_UNITS.split(), "seventeen", "eighteen", "nineteen"])} | {
    word: value for value, word in zip(range(20, 100, 10), _TENS.split(), strict=True)
}
# What a word may stand for in a calculation. Too many cost a few pairs, one too few makes a wrong pair.
_IMPLIED = {
    "half halve halved both twice double doubled couple pair twin once": "2 0.5 1.5",
    "third triple tripled thrice triplet trio": "3 1/3 2/3",
    "quarter fourth quadruple quadrupled": "4 0.25 0.75 25",
    "fifth": "5 0.2", "sixth": "6 1/6", "seventh": "7 1/7", "eighth": "8 1/8", "ninth": "9 1/9", "tenth": "10 0.1",
    "hundred": "100", "thousand": "1000", "million": "1000000", "dozen": "12", "score": "20", "gross": "144",
    "second minute hour": "60 24 3600", "day daily everyday": "24 7 365", "week weekly": "7 52 4", "weekday": "5",
    "weekend": "2", "fortnight": "14 2", "month monthly": "12 30 31 4", "year yearly annual annually": "12 52 365 366",
    "decade": "10", "century": "100", "cent penny dollar percent": "100", "nickel": "5 20", "dime": "10",
    "inch foot feet yard": "12 3 36", "mile": "5280 1760", "ounce pound": "16", "ton": "2000 1000", "gallon": "4 8 16",
    "quart pint cup": "2 4 8", "meter metre kilometer kilometre centimeter km cm": "10 100 1000",
    "gram kilogram kg liter litre milliliter ml": "1000", "leg wheel tire paw": "2 3 4 6 8", "finger toe": "5 10",
    "side": "3 4", "square rectangle": "4 2", "triangle": "3", "cube": "6 3", "deck": "52",
}  # fmt: skip
IMPLIED = {word: values.split() for words, values in _IMPLIED.items() for word in words.split()}
ALWAYS = frozenset(map(Fraction, (1, 2, 100)))  # too common in calculations to be asked where they come from


@dataclass(frozen=True, slots=True)
class Written:
    """A number in digits: its place, its value, and why it must not be changed (None: it may be)."""

    start: int
    end: int
    value: Fraction
    reason: str | None


def written_numbers(text: str) -> list[Written]:
    """Every number in digits, from left to right."""
    return [
        Written(*match.span(), number(match[0]), _reason(match[0], text[: match.start()], text[match.end() :]))
        for match in re.finditer(NUMBER, text, re.ASCII)
    ]


def _reason(digits: str, before: str, after: str) -> str | None:
    if re.match(r"\s*%|\s*-?per\s?cent", after, re.IGNORECASE):
        return "it is a percentage"
    if "." in digits:
        return "it is a decimal"
    if re.search(r"\d\s*/\s*$", before) or re.match(r"\s*/\s*\d|\s+\d+\s*/\s*\d", after):
        return "it is part of a fraction"
    if re.search(r"[\w.,:#^]$|\d\s?[-–]\s?$", before) or re.match(r"[^\W\d]|:\d|\s?[-–]\s?\d|,\d|\^", after):
        return "it is part of a word, a time or a range"
    return None


def after_article(text: str, at: int) -> bool:
    """Whether "a" or "an" stands before the number at `at`, maybe with a sign of money between."""
    return re.search(r"\ban?\s+\$?$", text[:at], re.IGNORECASE) is not None


def takes_an(value: int) -> bool:
    """Whether a number is spoken with a vowel at its start: 8, 11, 18, 80 … 89, 800 …, 11,000 …"""
    while value >= 1000:
        value //= 1000
    return value in (11, 18) or str(value)[0] == "8"


def implied_values(question: str, prose: str) -> frozenset[Fraction]:
    """What words and percentages, and fractions of the question, may stand for in a calculation.

    Args:
        prose: the reasoning around the calculations, which are left out: their own fractions are no words.
    """
    both = f"{question} {prose}"
    return frozenset([*ALWAYS, *_of_words(both), *_of_percentages(both), *_of_fractions(question)])


def _of_words(text: str) -> Iterator[Fraction]:
    words = re.findall(r"[a-z]+", text.lower())
    words = [word if word in _SPELLED or word in IMPLIED else word.removesuffix("s") for word in words]
    for word in words:
        yield from map(Fraction, IMPLIED.get(word, ()))
        if word in _SPELLED:
            yield Fraction(_SPELLED[word])
    for first, second in pairwise(words):
        if first in _SPELLED and second in _SPELLED:
            yield Fraction(_SPELLED[first] + _SPELLED[second])
        if first in _SPELLED and second in ("hundred", "thousand"):
            yield Fraction(_SPELLED[first] * (100 if second == "hundred" else 1000))


def _of_percentages(text: str) -> Iterator[Fraction]:
    for match in re.finditer(rf"({NUMBER})\s*(?:%|-?per\s?cent)", text, re.ASCII | re.IGNORECASE):
        share = number(match[1])
        yield from (share, 100 - share, 100 + share, share / 100, 1 - share / 100, 1 + share / 100)
        if share:
            yield 100 / share


def _of_fractions(text: str) -> Iterator[Fraction]:
    for match in re.finditer(r"(\d{1,9})\s*/\s*(\d{1,9})", text, re.ASCII):
        over, under = map(Fraction, match.groups())
        yield from (over, under, *([over / under, 1 - over / under, 1 + over / under] if under else []))
