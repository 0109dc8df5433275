"""The items of a JSON list or of JSON Lines, exactly as written: no float, no repeated key and no NaN slips through."""

import json
import stat
from collections import Counter
from decimal import Decimal, InvalidOperation
from pathlib import Path

from mechpatch.data import meant
from mechpatch.pairs.answers import MAX_LENGTH
from mechpatch.pairs.faults import Location, Reading

MAX_BYTES = 256 * 2**20
MAX_OPENED = 4 * 10**6  # brackets and braces: each value that they open takes a hundred times its two bytes


class HugeNumber(str):
    """A number that neither int nor Decimal can hold, as it is written; not to be taken for text."""


class Object(dict[str, object]):
    """A JSON object. `repeated` are the keys that the text has more than once."""

    def __init__(self, members: list[tuple[str, object]]) -> None:
        super().__init__(members)
        self.repeated = [name for name, count in Counter(name for name, _ in members).items() if count > 1]


def read_items(path: Path, reading: Reading, of: str = "pairs") -> list[tuple[Location, object]]:
    """Each item of the file with its place.

    A number is an int, a Decimal or a `HugeNumber`; NaN and the infinities are floats, so that they can be refused
    where they stand. An item that is not JSON becomes a fault in `reading`; a file that cannot be
    read raises `PairFileError`.
    """
    text = read_text(path, reading, f"a JSON list or JSON Lines of {of}")
    if text.lstrip().startswith("["):
        whole = Location(reading)
        return [
            (Location(reading, f"item {index}"), item)
            for items in _decode(text, whole)
            for index, item in enumerate(items)
        ]
    # str.splitlines would also cut at separators that JSON allows inside a string.
    lines = [(Location(reading, f"line {number}"), line) for number, line in enumerate(text.split("\n"), start=1)]
    return [(place, item) for place, line in lines if line.strip() for item in _decode(line, place)]


def read_text(path: Path, reading: Reading, expected: str) -> str:
    """The text of a file of bounded size. Raises `PairFileError` that says what was expected."""
    hint = ""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            problem = "is a directory" if stat.S_ISDIR(status.st_mode) else "is not a regular file"
        elif status.st_size > MAX_BYTES:
            problem = f"has {status.st_size} bytes, and at most {MAX_BYTES} are read: split it"
        else:
            text = path.read_bytes().decode("utf-8-sig")
            opened = text.count("{") + text.count("[")
            if opened > MAX_OPENED:
                problem = f"opens {opened} lists and objects, and at most {MAX_OPENED} are read: split it"
            elif text.strip():
                return text
            else:
                problem = "is empty"
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        problem = f"is not UTF-8, for byte {byte:#04x} at offset {error.start}: save it as UTF-8"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        hint = meant(path)
    except ValueError as error:  # a null character in the path
        problem = f"cannot be read ({error})"
    Location(reading).fault(None, f"{problem}; expected a file with {expected}{hint}")
    reading.check()
    raise AssertionError("unreachable: a fault was just reported")


def _decode(text: str, place: Location) -> list:
    """[the value of `text`], or [] and a fault."""
    try:
        return [_DECODER.decode(text)]
    except json.JSONDecodeError as error:
        problem = f"not JSON: {error.msg.removesuffix(' at')} at"  # "Unterminated string starting at"
        if place.index is None:
            place.fault(None, f"{problem} line {error.lineno}, column {error.colno}; expected one whole JSON list")
        else:
            place.fault(None, f"{problem} column {error.colno}; expected one whole object on each line")
    except RecursionError:
        place.fault(None, "nested too deeply to be read; expected objects of text and numbers")
    return []


def _integer(text: str) -> int | HugeNumber:
    return int(text) if len(text) <= MAX_LENGTH else HugeNumber(text)


def _decimal(text: str) -> Decimal | HugeNumber:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent past 10**18
        return HugeNumber(text)


_DECODER = json.JSONDecoder(object_pairs_hook=Object, parse_int=_integer, parse_float=_decimal, parse_constant=float)
