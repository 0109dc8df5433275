"""Pairs from a file or from Python objects, and back.

A file is a JSON list or JSON Lines. Its items, or the dicts that are given, are *flat*, one per side (`pair_id`,
`variant`, `question`, `answer`), or *prepared*, one per pair (`pair_id`, `clean`, `corrupted`). A side may have a
`cot`; every other key is kept as a field and decides nothing. The content says which it is, never the file's name.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from decimal import Decimal
from numbers import Integral
from pathlib import Path
from typing import TypeGuard

from mechpatch.pairs.answers import MAX_LENGTH, answer_text, number_text, shown
from mechpatch.pairs.faults import Location, Reading
from mechpatch.pairs.items import HugeNumber, Object, read_items
from mechpatch.pairs.schema import Pair, Side

MAX_DEPTH = 32  # of a value kept as a field
VARIANTS = ("clean", "corrupted")
_MISSING = object()


def load_pairs(path: str | Path) -> list[Pair]:
    """The pairs of a file, in its order. Raises `PairFileError` with every fault there is."""
    reading = Reading(str(path))
    return _pairs(read_items(Path(path), reading), reading)


def pairs_from(items: Iterable[Pair | Mapping[str, object]], name: str = "pairs") -> list[Pair]:
    """The pairs that dicts (as the items of a file) or `Pair`s describe, under the checks of a file.

    Args:
        name: what errors call the items, in the place of a file.

    Raises:
        PairFileError: with every fault there is; items are counted from 0.
    """
    reading = Reading(name)
    return _pairs([(Location(reading, f"item {index}"), _as_object(item)) for index, item in enumerate(items)], reading)


def _pairs(items: list[tuple[Location, object]], reading: Reading) -> list[Pair]:
    first = next((item for _, item in items if isinstance(item, Object)), {})
    pairs = _prepared(items) if any(variant in first for variant in VARIANTS) else _flat(items)
    if not items and not reading.faults:
        Location(reading).fault(None, "holds no pair; expected at least one")
    reading.check()
    return pairs


def _as_object(item: object) -> object:
    """A `Pair` or a mapping as the object that a file would hold, with its sides; all else as it is."""
    if isinstance(item, Pair):
        [item] = to_prepared([item])
    if not isinstance(item, Mapping):
        return item
    return Object([(name, _as_object(value) if name in VARIANTS else value) for name, value in item.items()])


def to_prepared(pairs: Iterable[Pair]) -> list[dict]:
    """`pairs` as a prepared list for `json.dumps`, which loads as equal pairs.

    An answer that is a plain whole number is written as one, every other answer as text, which keeps it exact.
    """
    return [
        {"pair_id": pair.pair_id, **pair.fields, "clean": _raw(pair.clean), "corrupted": _raw(pair.corrupted)}
        for pair in pairs
    ]


def _raw(side: Side) -> dict:
    whole = re.fullmatch(r"0|-?[1-9][0-9]*", side.answer)
    answer = int(side.answer) if whole else side.answer
    cot = {} if side.cot is None else {"cot": side.cot}
    return {"question": side.question, "answer": answer, **side.fields, **cot}


def _prepared(items: list[tuple[Location, object]]) -> list[Pair]:
    pairs, seen = [], {}
    for item, place in _objects(items):
        pair_id = place.pair_id
        if pair_id is not None and seen.setdefault(pair_id, place.index) != place.index:
            place.fault("pair_id", f"the same as that of {seen[pair_id]}; expected one item per pair")
        fields = _fields(item, {"pair_id", *VARIANTS}, place)
        clean, corrupted = (_side(item.get(each, _MISSING), replace(place, side=each)) for each in VARIANTS)
        if pair_id is not None and clean and corrupted:
            pairs.append(Pair(pair_id, clean, corrupted, fields))
            _asked_once(pairs[-1], place)
    return pairs


def _flat(items: list[tuple[Location, object]]) -> list[Pair]:
    found: dict[str, dict[str, tuple[Location, Side | None]]] = {}
    for item, place in _objects(items):
        side = _side(item, place, {"pair_id", "variant"})
        sides = {} if place.pair_id is None else found.setdefault(place.pair_id, {})
        variant = item.get("variant", _MISSING)
        if not (isinstance(variant, str) and variant in VARIANTS):
            place.fault("variant", f'{_found(variant)}; expected "clean" or "corrupted"')
        elif variant in sides:
            place.fault("variant", f"a second {variant} side, after {sides[variant][0].index}; expected one")
        else:
            sides[variant] = (place, side)
    for sides in found.values():
        if len(sides) == 1:
            [(variant, (place, _))] = sides.items()
            place.fault("variant", f"the only side of its pair is {variant}; add the other one, or drop the pair")
    pairs = []
    for pair_id, sides in found.items():
        if len(sides) == 2 and (clean := sides["clean"][1]) and (corrupted := sides["corrupted"][1]):
            pairs.append(Pair(pair_id, clean, corrupted, {}))
            _asked_once(pairs[-1], sides["corrupted"][0])
    return pairs


def _asked_once(pair: Pair, place: Location) -> None:
    """A question may be in several pairs, but its pair with another one counts once."""
    questions = frozenset((pair.clean.question, pair.corrupted.question))
    first = place.reading.questions.setdefault(questions, pair.pair_id)
    if first != pair.pair_id:
        place.fault("question", f"both questions are those of pair {shown(first)}; drop one of the two pairs")


def _objects(items: list[tuple[Location, object]]) -> Iterator[tuple[Object, Location]]:
    """The items that are objects, each with its place, whose `pair_id` is None after a fault."""
    for here, item in items:
        if not isinstance(item, Object):
            here.fault(None, f"{_found(item)}; expected an object")
            continue
        value = item.get("pair_id", _MISSING)
        try:
            pair_id = value if _is_text(value) else number_text(value)
        except ValueError:
            pair_id = ""
        if pair_id.strip():
            place = replace(here, pair_id=pair_id)
        else:
            place = here
            place.fault("pair_id", f"{_found(value)}; expected text that is not blank, or a number")
        _keys_once(item, place)
        yield item, place


def _side(item: object, place: Location, elsewhere: Set[str] = frozenset()) -> Side | None:
    """The side that `item` describes, its keys `elsewhere` left out; None after a fault."""
    faults = len(place.reading.faults)
    if not isinstance(item, Object):
        place.fault(None, f"{_found(item)}; expected an object")
        return None
    if place.side is not None:  # a flat item was looked at as a whole
        _keys_once(item, place)
    question = _text(item, "question", place)
    cot = None if item.get("cot") is None else _text(item, "cot", place)
    answer = _answer(item.get("answer", _MISSING), place)
    fields = _fields(item, {"question", "answer", "cot"} | elsewhere, place)
    return Side(question, answer, cot, fields) if len(place.reading.faults) == faults else None


def _answer(value: object, place: Location) -> str:
    """The text of an answer; "" after a fault."""
    expected = "expected text on one line, or a number"
    if value is _MISSING or isinstance(value, HugeNumber) or (isinstance(value, str) and not _is_text(value)):
        place.fault("answer", f"{_found(value)}; {expected}")
        return ""
    try:
        return answer_text(value)
    except ValueError as error:
        place.fault("answer", f"found {error}; {expected}")
        return ""


def _text(item: Object, name: str, place: Location) -> str:
    """The text of a member; "" after a fault."""
    value = item.get(name, _MISSING)
    if _is_text(value) and value.strip():
        return value
    place.fault(name, f"{_found(value)}; expected text that is not blank")
    return ""


def _fields(item: Object, used: Set[str], place: Location) -> dict[str, object]:
    """The members of `item` not `used`, as plain JSON values; a fault for each that is none."""
    fields = {}
    for name in item:
        if name not in used:
            try:
                fields[_key(name)] = _plain(item[name])
            except ValueError as error:
                place.fault(str(name), str(error))
    return fields


def _plain(value: object, depth: int = 0) -> object:
    """`value` with floats for Decimals; a number past their range becomes text."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels; flatten it or leave it out")
    match value:
        case float() if not math.isfinite(value):
            raise ValueError(f"found {value}, which JSON does not have; expected a number or null")
        case Decimal():
            return float(value) if math.isfinite(float(value)) else str(value)
        case HugeNumber():
            return str(value)
        case str() if not _is_text(value):
            raise ValueError("found half of a surrogate pair; expected Unicode text")
        case Object() if value.repeated:
            raise ValueError(f"found the key {shown(value.repeated[0])} more than once; expected it once")
        case Mapping():
            return {_key(name): _plain(each, depth + 1) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each, depth + 1) for each in value]
        case str() | bool() | float() | None:
            return value
        case Integral() if int(value).bit_length() <= 4 * MAX_LENGTH:
            return int(value)
    raise ValueError(f"found {shown(value)}; expected what JSON can hold")


def _key(name: object) -> str:
    if not isinstance(name, str):
        raise ValueError(f"found the key {shown(name)}; expected text")
    return str(_plain(name))


def _keys_once(item: Object, place: Location) -> None:
    for name in item.repeated:
        place.fault(name, "the key is there more than once; expected it once")


def _is_text(value: object) -> TypeGuard[str]:
    """Whether `value` is a string that can be encoded: JSON can spell half of a surrogate pair."""
    if not isinstance(value, str) or isinstance(value, HugeNumber):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _found(value: object) -> str:
    if isinstance(value, HugeNumber):
        return "found a huge number"
    return "missing" if value is _MISSING else f"found {shown(value)}"
