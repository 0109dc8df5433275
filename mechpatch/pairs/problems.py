"""Questions with one right answer each, as GSM8K and ProsQA have them: read from a file, and what counts as right.

An item has `question` and `answer`; the right answer is what follows the last `####`, or, without that mark, all of it.
"""

import re
from fractions import Fraction
from pathlib import Path

from mechpatch.pairs.answers import answer_text
from mechpatch.pairs.faults import Location, Reading
from mechpatch.pairs.items import read_items
from mechpatch.pairs.reasoning import FINAL
from mechpatch.values import answer_value

_LEADING = re.compile(r"[$€£]?\s*([+-−－＋]?[\d.,٫٬]*\d)")
Problem = tuple[str, str]  # a question, and its answer as the file has it


def read_problems(path: Path) -> list[Problem]:
    """Question and answer of each item of a file. Raises `PairFileError` with every fault."""
    return _read(path, whole=True)


def read_questions(path: Path) -> list[Problem]:
    """Question and right answer of each item, the reasoning left out. Raises `PairFileError` with every fault."""
    return _read(path, whole=False)


def _read(path: Path, whole: bool) -> list[Problem]:
    reading = Reading(str(path))
    found = []
    for place, item in read_items(path, reading, "questions"):
        question, answer = _text(item, "question", place), _text(item, "answer", place)
        found.append((question, answer if whole else _right(answer, place)))
    reading.check()
    return found


def _right(answer: str, place: Location) -> str:
    try:
        return answer_text(answer.rpartition(FINAL)[2]) if answer else ""
    except ValueError as error:
        place.fault("answer", f"{error}; expected one line, or GSM8K's reasoning with #### and the answer at its end")
        return ""


def _text(item: object, name: str, place: Location) -> str:
    value = item.get(name) if isinstance(item, dict) else None
    if not isinstance(value, str) or not value.strip():
        place.fault(name, 'expected text, as in GSM8K\'s own files: {"question": …, "answer": … with #### at its end}')
        return ""
    return value


def gives(said: str, answer: str) -> bool:
    """Whether a text that a model says gives an answer: it opens with it, and what follows does not prolong it.

    A number is compared by its value, so that "1,000 apples" gives 1000 and "18.5" does not give 18; a sign of a
    currency may stand before it. A text must stand there as it is written, and its last word must end there.
    """
    said, value = said.strip(), answer_value(answer)
    if isinstance(value, Fraction):
        found = _LEADING.match(said)
        return found is not None and answer_value(found[1]) == value
    after = said.removeprefix(answer)
    return said.startswith(answer) and not (answer[-1].isalnum() and after[:1].isalnum())
