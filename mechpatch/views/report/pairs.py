"""What a page tells of each pair: both questions with what differs marked, answers, and what the unpatched runs say."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import groupby
from math import isfinite
from typing import Any

import pyarrow as pa

from mechpatch.sequences import common_ends
from mechpatch.views.report.fields import PREFIX, first_rows

WORD = re.compile(r"\d+|[^\W\d_]+|\s+|.", re.DOTALL)
LONGEST_MATCHED = 2_000  # parts; the middle of longer texts is marked whole: matching it would take minutes

SIDES = ("clean", "corrupted")
# How tokenizers spell a space or a line break at the start of a token.
SPACE_MARKS = {"Ġ": "·", "▁": "·", "Ċ": "⏎"}
Segments = list[tuple[str, bool]]


def describe_pairs(table: pa.Table, described: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each pair of the records, in the order of `pair_index`.

    Args:
        described: entries of pairs.json by `pair_id`; a pair without one has answers and no questions.
    """
    return [_describe(row, described.get(row["pair_id"], {})) for row in first_rows(table).to_pylist()]


def _describe(row: dict[str, Any], pair: dict[str, Any]) -> dict[str, Any]:
    sides = [pair.get(side, {}) for side in SIDES]
    words = [WORD.findall(side.get("question", "")) for side in sides]
    questions = mark_differences(words[0], words[1])
    layouts = [pair.get("layout", {}).get(side, {}) for side in SIDES]
    pieces = [[_shown(token) for token in layout.get("tokens", [])] for layout in layouts]
    tokens = mark_differences(pieces[0], pieces[1], join=False)
    return {
        "index": row["pair_index"],
        "id": row["pair_id"],
        "correct": row["both_correct"],
        "fields": [
            [name.removeprefix(PREFIX), value if isinstance(value, int | float) and isfinite(value) else str(value)]
            for name, value in row.items()
            if name.startswith(PREFIX) and value is not None
        ],
        "sides": [
            {
                "question": questions[at],
                "tokens": tokens[at],
                "n_tokens": len(layouts[at].get("tokens", [])),
                "cot": side.get("cot"),
                "answer": row[f"{name}_answer"],
                "greedy": row[f"outcome_{name}_run"],
                "logprob_diff": row[f"answer_logprob_diff_{name}_run"],
            }
            for at, (name, side) in enumerate(zip(SIDES, sides, strict=True))
        ],
    }


def mark_differences(one: Sequence[str], other: Sequence[str], join: bool = True) -> tuple[Segments, Segments]:
    """Both sequences as [text, differs] segments; neighbours that agree in `differs` are joined unless told not to."""
    start, end = common_ends(one, other)
    middles = one[start : len(one) - end], other[start : len(other) - end]
    differs = [[False] * len(one), [False] * len(other)]
    if max(map(len, middles)) <= LONGEST_MATCHED:
        changes = [each[1:] for each in SequenceMatcher(None, *middles, False).get_opcodes() if each[0] != "equal"]
    else:
        changes = [(0, len(middles[0]), 0, len(middles[1]))]
    for one_start, one_end, other_start, other_end in changes:
        differs[0][start + one_start : start + one_end] = [True] * (one_end - one_start)
        differs[1][start + other_start : start + other_end] = [True] * (other_end - other_start)
    return _segments(one, differs[0], join), _segments(other, differs[1], join)


def _segments(parts: Sequence[str], differs: Sequence[bool], join: bool) -> Segments:
    if not join:
        return list(zip(parts, differs, strict=True))
    runs = groupby(zip(parts, differs, strict=True), key=lambda pair: pair[1])
    return [("".join(part for part, _ in run), marked) for marked, run in runs]


def _shown(token: str) -> str:
    for mark, sign in SPACE_MARKS.items():
        token = token.replace(mark, sign)
    return token
