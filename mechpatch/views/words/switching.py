"""The headline in words: how many pairs switch to the other side's answer at the leading cell, beside the controls.

A switch is claimed where six pairs or more can switch and more of them do than with every control, pair by pair
(McNemar's exact test, false discovery rate at most 5 % over the map). Without controls nothing is claimed.
"""

from mechpatch.catalogue import donor_label, role_of
from mechpatch.formats import percent
from mechpatch.stats.cell_values import CellSummary, Share, ShareTest
from mechpatch.stats.cells import at_thoughts
from mechpatch.stats.summary_values import Summary
from mechpatch.views.words.claims import FALSE_DISCOVERIES, FEWEST_PAIRS, called, listed, place

GIVEN = {"denoise": "clean", "noise": "corrupted"}


def controls(cell: CellSummary) -> list[str]:
    """The donors that a cell's switch is held against."""
    return [donor for donor in cell.switched.beyond if role_of(donor) == "control"]


def unbeaten(cell: CellSummary) -> list[str]:
    """The controls with which not clearly fewer pairs switch."""
    tests = cell.switched.beyond
    return [donor for donor in controls(cell) if not _beats(tests[donor])]


def switch_is_clear(cell: CellSummary) -> bool:
    """Whether the switch of a cell may be claimed."""
    enough = cell.switched.n >= FEWEST_PAIRS and not cell.structural
    return enough and bool(controls(cell)) and not unbeaten(cell)


def switching(summary: Summary, direction: str) -> str:
    """A sentence or two about the leading cell of a direction; empty where none could move."""
    cell = next((cell for cell in summary.leading() if cell.direction == direction), None)
    if cell is None:
        return ""
    switched, answer = cell.switched, GIVEN[direction]
    if not switched.n:
        return "No pair has two different answers that are both given right, so none can switch."
    n = switched.n
    if not switched.count:
        where = "by a write at thoughts alone" if at_thoughts(cell.site) else "anywhere"
        return (
            f"With {called(cell.experiment)} no pair switches to the {answer} answer {where}: 0 of {n}, at most "
            f"{percent(switched.high)} (95 % interval)."
        )
    interval = f"95 % interval {percent(switched.low)} to {percent(switched.high)} for that cell alone"
    text = (
        f"{switched.count} of {n} pairs switch to the {answer} answer at {_named(cell)} ({share(switched)}, "
        f"{interval}), and {cell.neither.count} give neither"
    )
    return f"{text}; {_verdict(cell)}."


def share(entry: Share | ShareTest) -> str:
    """A share in percent; a dash where no pair has it."""
    return percent(entry.share)


def _verdict(cell: CellSummary) -> str:
    if not controls(cell):
        return "no control was run, so nothing says that another vector would not have done the same"
    beyond, near = cell.switched.beyond, unbeaten(cell)
    shown = listed([f"{share(beyond[donor])} with {donor_label(donor)}" for donor in controls(cell)])
    if cell.switched.n < FEWEST_PAIRS:
        return f"{shown}; fewer than {FEWEST_PAIRS} pairs cannot make that clear"
    if near:
        return f"{shown}; that is not clearly more than with {listed([donor_label(donor) for donor in near])}"
    return f"{shown}; that is clearly more than with {'each' if len(controls(cell)) > 1 else 'it'}"


def _beats(test: ShareTest) -> bool:
    return test.more > test.less and test.q is not None and test.q <= FALSE_DISCOVERIES


def _named(cell: CellSummary) -> str:
    """The leading cell, and that it was picked."""
    what = "thought" if cell.experiment == "position" and at_thoughts(cell.site) else "cell"
    return f"the best {what} of {called(cell.experiment)}, {place(cell)}"
