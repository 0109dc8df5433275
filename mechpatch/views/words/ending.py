"""The end of a run on a terminal: what was found in at most a dozen short lines. The long text is the report's.

A cell is named as `mechpatch compare --cells` takes it. The leading cell of each direction comes first, with the best
cell of every other experiment after it, as far as there is room.
"""

import textwrap
from collections.abc import Iterator, Sequence

from mechpatch.formats import percent, scientific, written
from mechpatch.kinds.cells import spelt
from mechpatch.stats.cell_values import CellSummary
from mechpatch.stats.cells import at_thoughts
from mechpatch.stats.summary_values import RunSummary
from mechpatch.views.words.claims import FEWEST_PAIRS
from mechpatch.views.words.switching import controls, share, unbeaten

LINES, WIDTH = 12, 80  # of a terminal; two more lines say where everything is
FEWEST_ROWS = 2


def ending(summary: RunSummary) -> list[str]:
    """At most `LINES` lines of at most `WIDTH` characters; the table is wider where names of sets are long."""
    first, last = _wrapped([_pairs(summary)]), _wrapped([*_remarks(summary), *_verdicts(summary)])
    cells = _cells(summary)
    if not cells:
        return [*first, *last][:LINES]
    room = max(FEWEST_ROWS, LINES - len(first) - len(last) - 1)
    if len(cells) > room:
        cells = cells[: room - 1]
    hidden = len(_cells(summary)) - len(cells)
    more = [f"… {hidden} more of experiments, hook points and directions: summary.json, `top`"] if hidden else []
    return [*first, *_table(cells), *more, *last]


def address(cell: CellSummary) -> str:
    """`experiment:layer:site`, and hook point and direction where they are not the usual ones."""
    name = f"{spelt(cell.experiment, cell.hook, cell.head)}:{cell.layer}:{cell.site}"
    return name if cell.direction == "denoise" else f"{name}:{cell.direction}"


def _pairs(summary: RunSummary) -> str:
    counts, run = summary.counts, summary.run
    asked = f"{run.pairs_total - run.pairs_dropped} of {run.pairs_total} pairs kept, {counts.pairs} run"
    return f"{asked}, {counts.both_correct} answered right on both sides."


def _cells(summary: RunSummary) -> list[CellSummary]:
    """The leading cells, then the first of `top` of every other experiment and direction."""
    first: dict[tuple[str, str, str], CellSummary] = {}
    for cell in (*summary.leading(), *summary.top):
        first.setdefault((cell.experiment, cell.hook, cell.direction), cell)
    return [*first.values()]


def _table(cells: Sequence[CellSummary]) -> list[str]:
    donors = list(dict.fromkeys(donor for cell in cells for donor in controls(cell)))
    heads = ["best cell", "switch", "neither", "effect", *(donor.replace("_", " ") for donor in donors)]
    rows = [[*_numbers(cell), *(_control(cell, donor) for donor in donors)] for cell in cells]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in (heads, *rows)
    ]


def _numbers(cell: CellSummary) -> list[str]:
    return [address(cell), share(cell.switched), share(cell.neither), written(cell.effect.mean)]


def _control(cell: CellSummary, donor: str) -> str:
    test = cell.switched.beyond.get(donor)
    return "–" if test is None else share(test)


def _verdicts(summary: RunSummary) -> Iterator[str]:
    """Whether the switch at the leading cells may be claimed."""
    cells = [*summary.leading()]
    if cells and not any(controls(cell) for cell in cells):
        yield "No control was run (--nulls other-pair): any vector might do the same."
    for cell in cells:
        if verdict := _verdict(cell):
            yield f"{address(cell)}: {verdict}"


def _verdict(cell: CellSummary) -> str:
    switched = cell.switched
    if not switched.n:
        return "no pair can switch; none has two different answers that are both given right."
    if not switched.count:
        how = "by thoughts alone" if at_thoughts(cell.site) else "at any cell"
        return f"no pair switches {how}: 0 of {switched.n}, at most {percent(switched.high)}."
    if switched.n < FEWEST_PAIRS:
        return f"fewer than {FEWEST_PAIRS} pairs can switch, so nothing is clear."
    if not controls(cell):
        return ""
    near = [donor.replace("_", " ") for donor in unbeaten(cell)]
    if near:
        return f"switch not clearly above {', '.join(near)}."
    return "switch clearly above every control."


def _remarks(summary: RunSummary) -> Iterator[str]:
    """What must be known before the numbers, a line each; failed checks; rounding."""
    if summary.note:
        yield summary.note
    for note in summary.run.notes:
        yield textwrap.shorten(f"Note: {note}", WIDTH, placeholder=" …")
    if failed := summary.failed():
        names = ", ".join(check.name.replace("_", " ") for check in failed)
        said = f"{len(failed)} FAILED: do not rely on these numbers; {names}"
        yield textwrap.shorten(f"Checks: {said}", WIDTH, placeholder=" …")
    if rounding := summary.run.rounding:
        yield (
            f"Plain {rounding.dtype} runs differ by {scientific(rounding.floor)} in a logit, engine and hooks by "
            f"{scientific(rounding.difference)}."
        )


def _wrapped(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ")]
