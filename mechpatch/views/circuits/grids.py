"""Grids, which CircuitsVis does not have, made of what it has: a sequence of tokens with line breaks.

Every second token is hidden on the page and names the place of the next one, so that a tooltip says where it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import combining, east_asian_width

import numpy as np
from jaxtyping import Float, Int

from mechpatch.views.circuits.texts import JOINER, shown

UNLIKELY = -100.0  # nats; as good as impossible, and a number


@dataclass(frozen=True, slots=True)
class Cell:
    """One token of a grid: its text, its place, and the tooltip's numbers. A label has a text alone."""

    text: str
    place: str = ""
    logprob: float = UNLIKELY
    rank: int = 0
    guesses: Sequence[str] = ()
    logprobs: Sequence[float] = ()


def grid(rows: Sequence[tuple[str, Sequence[Cell]]]) -> dict[str, Any]:
    """Properties of `TokenLogProbs` for rows of cells, padded so that columns stand in a monospaced font."""
    nbsp = "\u00a0"
    lines = [[Cell(label), *cells] for label, cells in rows]
    widths = [
        max(width(line[column].text) for line in lines if column < len(line)) for column in range(max(map(len, lines)))
    ]
    prompt, guesses, logprobs, ranks, values = [""], [], [], [], []
    for line in lines:
        for column, cell in enumerate(line):
            space = widths[column] - width(cell.text)
            left = 0 if column == 0 else space // 2
            text = nbsp * (1 + left) + cell.text + nbsp * (space - left)
            end = "\n" if cell is line[-1] else nbsp
            # First the place, hidden on a page, then the token itself.
            prompt += [cell.place, text + end]
            guesses += [[], list(cell.guesses)]
            logprobs += [[], list(cell.logprobs)]
            ranks += [0, cell.rank]
            values += [UNLIKELY, round(max(cell.logprob, UNLIKELY), 4)]
    return {
        "prompt": prompt,
        "topKTokens": guesses,
        "topKLogProbs": logprobs,
        "correctTokenRank": ranks,
        "correctTokenLogProb": values,
    }


def width(text: str) -> int:
    """Columns of a monospaced font."""
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text if not combining(sign) and sign != JOINER)


def guesses_of(
    about: Mapping[str, Any], ids: Int[np.ndarray, " guess"], logprobs: Float[np.ndarray, " guess"]
) -> tuple[list[str], list[float]]:
    texts = [shown(about["vocabulary"][str(token)]) for token in ids.tolist()]
    return texts, [round(max(float(value), UNLIKELY), 4) for value in logprobs]
