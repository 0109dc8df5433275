"""A run in three lines: what was done, what was found, and what to distrust.

They are the first that terminal, page and notebook say of a run. The finding is told by pairs that switch, at thoughts
alone where thoughts were written, beside the strongest control of the whole map.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mechpatch.catalogue import DONORS, donor_label, role_of
from mechpatch.formats import significant, written
from mechpatch.points import POINTS, RESID_POST, part_named
from mechpatch.stats.cell_values import CellSummary
from mechpatch.stats.clear import FEWEST_PAIRS, controls, moves
from mechpatch.stats.summary_values import Check, Summary
from mechpatch.views.words.answers import answers_in_short
from mechpatch.views.words.claims import called, can_move, counted, largest, listed, place, share
from mechpatch.views.words.screens import chosen, screens_in_short
from mechpatch.views.words.switching import INTO, finding, map_of, of_hook, other_maps

NOTHING_MOVES = "Nothing can move: every cell is zero by construction."
NOBODY_RIGHT = "No pair is answered right on both sides, so no share of answers can be told."


@dataclass(frozen=True, slots=True)
class Lines:
    """The three lines, each one or more sentences."""

    did: str
    found: str
    distrust: str

    def named(self) -> list[tuple[str, str]]:
        """Each line with the word that stands before it."""
        return [("Did", self.did), ("Found", self.found), ("Distrust", self.distrust)]


def lines(summary: Summary) -> Lines:
    """The three lines of a summary made by `summarise`."""
    leading = [*summary.leading()]
    findings = [*(finding(summary, cell) for cell in leading), *answers_in_short(summary.answers)]
    found = " ".join(filter(None, findings))
    return Lines(
        did=" ".join(_did(summary, leading)),
        found=found or summary.note or (NOTHING_MOVES if summary.cells else NOBODY_RIGHT),
        distrust=" ".join(dict.fromkeys(_distrust(summary, leading)))
        or "Nothing speaks against these numbers but their intervals.",
    )


def _did(summary: Summary, leading: Sequence[CellSummary]) -> Iterator[str]:
    writes: dict[str, list[str]] = {}  # by where and on how many pairs
    for cell in leading:
        source, run = INTO[cell.direction]
        grid, single = map_of(summary, cell), cell.experiment == "position"
        layers, columns = len({each.layer for each in grid}), len({(each.site, each.step) for each in grid})
        what = (
            f"one {source} vector{of_hook(cell.hook)} at a time" if single else f"{source} vectors{of_hook(cell.hook)}"
        )
        how = "" if single else f", by {called(cell.experiment)}"
        where = f"{counted(layers, 'layer')} × {counted(columns, 'position' if single else 'place')}"
        if parts := _parts(grid):
            where += f" × {parts}"
        if part := _of_screen(summary, cell):
            where = f"{part[0]} ({part[1]})"
        pairs = counted(cell.switched.n or summary.counts.used, "pair")
        writes.setdefault(f"{where}, {pairs}", []).append(f"{what} into the {run} run{how}")
    for where, what in writes.items():
        yield f"Wrote {listed(what)}: {where}."
    same = dict.fromkeys(_too(summary, each) for cell in leading for each in other_maps(summary, cell))
    if same:
        yield f"The same was done at {listed([*same])}."
    told = {cell.experiment for cell in leading}
    others = [name for name in dict.fromkeys(cell.experiment for cell in summary.cells) if name not in told]
    donors = [donor for donor in dict.fromkeys(cell.donor for cell in summary.cells) if role_of(donor) == "control"]
    if summary.cells:
        yield f"Controls: {listed([donor_label(donor) for donor in donors])}." if donors else "No control was run."
    others += dict.fromkeys(cell.experiment for cell in summary.answers)
    if others and not summary.cells:
        yield f"Asked {counted(summary.counts.used, 'pair')} for answers: {listed([called(name) for name in others])}."
    elif others:
        yield f"Also run: {listed([called(name) for name in others])}."


def _parts(grid: Sequence[CellSummary]) -> str:
    """The heads or neurons of a map: `head 3`, `4 heads`; empty where the hook point has none."""
    parts = {each.head for each in grid} - {None}
    if len(parts) == 1:
        return part_named(grid[0].hook, parts.pop())
    return counted(len(parts), POINTS[grid[0].hook].part or "head") if parts else ""


def _of_screen(summary: Summary, cell: CellSummary) -> tuple[str, str] | None:
    """How much of a map was run, and why that; None for the whole of it."""
    screen = summary.screen_of(cell)
    if screen is None or not screen.left_out:
        return None
    return f"{len(screen.cells):,} of {counted(screen.candidates, 'cell')}", chosen(screen)


def _too(summary: Summary, cell: CellSummary) -> str:
    """Another hook point that was written, and what of it: `mlp_out`, `z (4 heads)`."""
    part = _of_screen(summary, cell)
    of = ": ".join(part) if part else _parts(map_of(summary, cell))
    return f"{cell.hook} ({of})" if of else cell.hook


def _distrust(summary: Summary, leading: Sequence[CellSummary]) -> Iterator[str]:
    counts, failed = summary.counts, summary.failed()
    if failed:
        names = listed([_named(check) for check in failed])
        yield f"{len(failed)} of {len(summary.asserted())} checks FAIL, so do not rely on these numbers: {names}."
    if leading and not any(controls(cell.switched) for cell in leading):
        yield "Without a control any vector might do the same; run --nulls other-pair."
    if counts.both_correct < counts.pairs:
        left = "used all the same" if summary.include_incorrect else "left out"
        yield (
            f"The unpatched model answers {counts.both_correct} of {counts.pairs} pairs right on both sides; the "
            f"others cannot switch and are {left}."
        )
    if 0 < counts.switchable < FEWEST_PAIRS:
        yield f"Fewer than {FEWEST_PAIRS} pairs can switch, which makes nothing clear."
    if counts.undefined_recovery:
        few = counts.used - counts.undefined_recovery < FEWEST_PAIRS
        so = f"; fewer than {FEWEST_PAIRS} are left, which makes no mean recovery clear" if few else ""
        yield f"In {counted(counts.undefined_recovery, 'pair')} the gap is too small for a recovery{so}."
    yield from screens_in_short(summary.screens)
    yield from _loud(summary.cells)
    yield from _structural(summary)


def _loud(cells: Sequence[CellSummary]) -> Iterator[str]:
    """Controls that move the answer themselves: not a finding, but what a finding must exceed. One sentence for all."""
    told = []
    run = {cell.donor for cell in cells if role_of(cell.donor) == "control"}
    for donor in [*(donor for donor in DONORS if donor in run), *sorted(run - DONORS.keys())]:
        movable = can_move(cell for cell in cells if cell.donor == donor)
        moving = [cell for cell in movable if moves(cell)]
        if moving:
            best, of = largest(moving), f"{len(moving)} of {counted(len(movable), 'cell')}"
            told.append(
                f"with {donor_label(donor)} in {of}, by {written(best.effect.mean)} at most"
                if told
                else f"With {donor_label(donor)} the mean effect is off zero, too, in {of}, most in "
                f"{called(best.experiment)} at {place(best)}: {share(best.effect)}"
            )
    if told:
        yield f"{'; '.join(told)}."


def _structural(summary: Summary) -> Iterator[str]:
    found: dict[str, int] = {}
    for cell in summary.cells:
        if cell.structural and role_of(cell.donor) == "effect":
            found[cell.experiment] = found.get(cell.experiment, 0) + 1
    if found:
        total = sum(found.values())
        named = listed([f"{number} of {called(name)}" for name, number in found.items()])
        yield (
            f"{counted(total, 'cell')} cannot move by construction (hatched), which is no finding"
            f"{f': {named}' if len(found) > 1 else ''}."
        )


def _named(check: Check) -> str:
    hook = None if check.hook == RESID_POST else check.hook
    name = ", ".join(part for part in (check.name.replace("_", " "), check.direction, hook) if part)
    return f"{name} ({significant(check.value, 2)}, at most {significant(check.tolerance, 2)})"
