"""Frozen dataclasses as JSON values, and back with a check of every value."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Value = TypeVar("Value")
Reader = Callable[[Any, str], Any]
_EXPECTED: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


class Mismatch(Exception):
    """A JSON value is not what its place takes; the message says where, what was found and what was expected."""


def as_json(value: Any) -> Any:
    """`value` and all that it holds as JSON values: dataclasses and named tuples become objects.

    A field of a dataclass that holds its default is left out.
    """
    if is_dataclass(value):
        held = ((each, getattr(value, each.name)) for each in fields(value))
        return {each.name: as_json(found) for each, found in held if found is not each.default}
    if isinstance(value, Mapping):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, tuple):
        found = [as_json(each) for each in value]
        names: tuple[str, ...] | None = getattr(value, "_fields", None)
        return found if names is None else dict(zip(names, found, strict=True))
    return value


def from_json(kind: type[Value], found: object) -> Value:
    """The value of the dataclass `kind` whose `as_json` is `found`.

    Raises:
        Mismatch: a key is missing or unknown, or a value is of another type.
    """
    return cast(Value, _reader(kind)(found, ""))


@cache
def _reader(hint: Any) -> Reader:
    """The function that reads what `hint` annotates, from (JSON value, its place)."""
    if hint in _EXPECTED:
        return lambda found, place: _plain(hint, found, place)
    if is_dataclass(hint):
        return _dataclass_reader(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _union_reader(parts)
    each = _reader(parts[1] if origin is Mapping else parts[0])
    if origin is Mapping:
        return lambda found, place: {
            key: each(value, f"{place}.{key}") for key, value in _required(dict, found, place, "an object").items()
        }
    assert origin is tuple, f"{hint} has no form in JSON"
    return lambda found, place: tuple(
        each(value, f"{place}[{at}]") for at, value in enumerate(_required(list, found, place, "a list"))
    )


def _dataclass_reader(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    readers = {each.name: _reader(hints[each.name]) for each in fields(kind)}
    needed = {each.name for each in fields(kind) if each.default is MISSING}

    def read(found: Any, place: str) -> Any:
        values = _required(dict, found, place, "an object")
        if lacking := sorted(needed - values.keys()):
            raise Mismatch(f"{place[1:] or 'the object'}: lacks {', '.join(lacking)}: found {_listed(values)}")
        if unknown := sorted(values.keys() - readers.keys()):
            raise Mismatch(f"{place[1:] or 'the object'}: found {_listed(unknown)}, expected only {_listed(readers)}")
        return kind(**{name: readers[name](value, f"{place}.{name}") for name, value in values.items()})

    return read


def _union_reader(parts: tuple[Any, ...]) -> Reader:
    choices = [part for part in parts if part is not NoneType]
    readers = [_reader(part) for part in choices]

    def read(found: Any, place: str) -> Any:
        if found is None and NoneType in parts:
            return None
        if len(choices) == 1 or not isinstance(found, dict):
            return readers[0](found, place)
        # Dataclasses are told apart by the names of their fields.
        named = [found.keys() == {each.name for each in fields(part)} for part in choices]
        return readers[named.index(True) if any(named) else 0](found, place)

    return read


def _plain(kind: Any, found: Any, place: str) -> Any:
    # JSON has one kind of number, and Python's True is an int.
    taken = (int, float) if kind is float else kind
    if isinstance(found, taken) and isinstance(found, bool) == (kind is bool):
        return kind(found)
    raise _mismatch(found, place, _EXPECTED[kind])


def _required(kind: type, found: Any, place: str, expected: str) -> Any:
    if isinstance(found, kind):
        return found
    raise _mismatch(found, place, expected)


def _mismatch(found: Any, place: str, expected: str) -> Mismatch:
    shown = repr(found)
    shown = shown if len(shown) <= 40 else f"{shown[:39]}…"
    return Mismatch(f"{place[1:] or 'the object'}: found {shown}, expected {expected}")


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) or "nothing"
