"""The end of a run on a terminal: the three lines, and a table of the best cells. The long text is the report's.

A cell is named as `mechpatch compare --cells` takes it. The leading cell of each direction comes first, with the best
cell of every other experiment after it, as far as there is room.
"""

import textwrap
from collections.abc import Iterator, Sequence

from mechpatch.formats import scientific, written
from mechpatch.kinds.cells import spelt
from mechpatch.stats.cell_values import CellSummary
from mechpatch.stats.clear import controls, is_clear
from mechpatch.stats.summary_values import RunSummary
from mechpatch.views.words.claims import portion
from mechpatch.views.words.lines import lines

WIDTH, ROWS = 80, 8  # characters of a line, and cells of the table
CLEAR = " *"


def ending(summary: RunSummary) -> list[str]:
    """Lines of at most `WIDTH` characters; the table is wider where names of sets are long."""
    texts = [*_remarks(summary), *(f"{head}: {text}" for head, text in lines(summary).named())]
    cells = _cells(summary)
    shown = cells[:ROWS]
    hidden = len(cells) - len(shown)
    more = [f"… {hidden} more of experiments, hook points and directions: summary.json, `top`"] if hidden else []
    return [*_wrapped(texts), *(_table(shown) if shown else []), *more]


def address(cell: CellSummary) -> str:
    """`experiment:layer:site`, and hook point and direction where they are not the usual ones."""
    name = f"{spelt(cell.experiment, cell.hook, cell.head)}:{cell.layer}:{cell.site}"
    return name if cell.direction == "denoise" else f"{name}:{cell.direction}"


def _cells(summary: RunSummary) -> list[CellSummary]:
    """The leading cells, then the first of `top` of every other experiment and direction."""
    first: dict[tuple[str, str, str], CellSummary] = {}
    for cell in (*summary.leading(), *summary.top):
        first.setdefault((cell.experiment, cell.hook, cell.direction), cell)
    return [*first.values()]


def _table(cells: Sequence[CellSummary]) -> list[str]:
    donors = list(dict.fromkeys(donor for cell in cells for donor in controls(cell.switched)))
    heads = [
        "best cell",
        "switch (* clear)" if any(map(is_clear, cells)) else "switch",
        "neither",
        "effect",
        *(donor.replace("_", " ") for donor in donors),
    ]
    rows = [[*_numbers(cell), *(_control(cell, donor) for donor in donors)] for cell in cells]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in (heads, *rows)
    ]


def _numbers(cell: CellSummary) -> list[str]:
    mark = CLEAR if is_clear(cell) else ""
    return [address(cell), f"{portion(cell.switched)}{mark}", portion(cell.neither), written(cell.effect.mean)]


def _control(cell: CellSummary, donor: str) -> str:
    test = cell.switched.beyond.get(donor)
    return "–" if test is None else portion(test)


def _remarks(summary: RunSummary) -> Iterator[str]:
    """What must be known before the numbers: the pairs, notes, rounding."""
    counts, run = summary.counts, summary.run
    asked = f"{run.pairs_total - run.pairs_dropped} of {run.pairs_total} pairs kept, {counts.pairs} run"
    yield f"{asked}, {counts.both_correct} answered right on both sides."
    for note in summary.run.notes:
        yield f"Note: {note}"
    if rounding := summary.run.rounding:
        yield (
            f"Plain {rounding.dtype} runs differ by {scientific(rounding.floor)} in a logit, engine and hooks by "
            f"{scientific(rounding.difference)}, which is rounding."
        )


def _wrapped(texts: Sequence[str]) -> list[str]:
    return [
        line for text in texts for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    ]
