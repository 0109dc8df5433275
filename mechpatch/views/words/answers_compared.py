"""Two runs of thoughts taken away, counted and swapped, one against the other: where their answers differ, by how much.

Shares are of the pairs that count in both runs. A difference is claimed by McNemar's exact test at a false discovery
rate of at most 5 % over its map and with six pairs or more; where it is the largest of a map, its interval knows that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mechpatch.catalogue import NOTHING, donor_label, role_of
from mechpatch.formats import equals, percent
from mechpatch.kinds import kind_of
from mechpatch.kinds.cells import ALL
from mechpatch.points import POINTS
from mechpatch.stats.cell_values import Share, ShareTest
from mechpatch.stats.clear import is_clear_value, switch_differs
from mechpatch.stats.comparison import OTHER_RUN, ComparedAnswers, RunComparison
from mechpatch.stats.contrasts import LEVEL
from mechpatch.stats.switching import paired_difference_limits
from mechpatch.views.words.claims import counted, place, portion, why_not

SHOWN = 10
MORE = "  … and {} more; --out writes them all"
DO = {"kept": "keep their answer", "followed": "give the answer that is expected of the donor's thoughts"}


@dataclass(frozen=True, slots=True)
class _Map:
    """Cells that are told together.

    Attributes:
        opening: what is done to the thoughts.
        asked: which share is compared, a key of `DO`.
    """

    opening: str
    asked: str
    cells: Sequence[ComparedAnswers]

    def share(self, cell: ComparedAnswers) -> Share:
        return getattr(cell, self.asked)

    def against(self, cell: ComparedAnswers) -> ShareTest:
        """The share in A held against that in B."""
        return self.share(cell).beyond[OTHER_RUN]

    def differing(self) -> list[ComparedAnswers]:
        """The cells in which A and B clearly differ, the largest difference first."""
        found = [cell for cell in self.cells if switch_differs(self.against(cell))]
        return sorted(found, key=lambda cell: -abs(self.against(cell).difference or 0.0))


def answer_lines(found: RunComparison) -> list[str]:
    """How many cells of each experiment differ, and the largest differences."""
    lines = []
    for each in _maps(found):
        clear = each.differing()
        lines.append(
            f"{each.opening}, pairs that {DO[each.asked]}: in {len(clear)} of {counted(len(each.cells), 'cell')} A and "
            "B clearly differ (exact McNemar test, false discovery rate at most 5 %)."
        )
        lines += [f"  {_named(cell)}: {tested(each.share(cell), each.against(cell))}" for cell in clear[:SHOWN]]
        lines += [MORE.format(len(clear) - SHOWN)] if len(clear) > SHOWN else []
    return lines


def answers_against_control(found: RunComparison) -> list[str]:
    """A sentence for each experiment of a run beside that of its control twin."""
    return [(_following if each.asked == "followed" else _keeping)(each) for each in _maps(found)]


def _keeping(each: _Map) -> str:
    """Whether A needs its thoughts more, or less, than its control."""
    clear = each.differing()
    best = max(clear or each.cells, key=lambda cell: abs(each.against(cell).difference or 0.0))
    told = _told(each, best)
    if not clear:
        return (
            f"{each.opening}, A and its control B nowhere clearly differ in the pairs that keep their answer; the "
            f"largest difference is {told}."
        )
    fewer = sum(each.against(cell).less > each.against(cell).more for cell in clear)
    cells = counted(len(each.cells), "cell")
    return (
        f"{each.opening}, clearly fewer pairs keep their answer in A than in its control B in {fewer} of {cells}, and "
        f"clearly more in {len(clear) - fewer}; the largest difference is {told}."
    )


def _following(each: _Map) -> str:
    """Whether the answer follows the thoughts more often in A than in its control, and than with A's own controls."""
    clear = [cell for cell in each.cells if is_clear_value(each.share(cell))]
    best = max(clear or each.cells, key=lambda cell: each.against(cell).difference or 0.0)
    told = _told(each, best)
    less = sum(each.against(cell).less > each.against(cell).more for cell in each.differing())
    other = f" In {counted(less, 'cell')} fewer do in A than in B." if less else ""
    if not clear:
        return (
            f"{each.opening}, A nowhere clearly exceeds its control B in the pairs that {DO[each.asked]}; the largest "
            f"difference is {told}{why_not(each.share(best))}.{other}"
        )
    often = f"{len(clear)} of {counted(len(each.cells), 'cell')}"
    return (
        f"{each.opening}, A exceeds its control B in the pairs that {DO[each.asked]}, by {told}. It does so clearly in "
        f"{often}.{other}"
    )


def _told(each: _Map, cell: ComparedAnswers) -> str:
    test = each.against(cell)
    return (
        f"{difference_of_the_best(test, len(each.cells))} at {_named(cell)}: {portion(each.share(cell))} of "
        f"{counted(test.n, 'pair')} in A, {portion(test)} in B"
    )


def difference_of_the_best(test: ShareTest, cells: int) -> str:
    """The difference of two runs at the cell that was chosen among so many, with an interval that knows it."""
    more, less, n = (np.array(each) for each in (test.more, test.less, test.n))
    low, high = (float(each) for each in paired_difference_limits(more, less, n, 1 - (1 - LEVEL) / cells))
    chosen = f", of the best of {cells} cells" if cells > 1 else ""
    return f"{percent(test.difference)} (95 % interval {percent(low)} to {percent(high)}{chosen})"


def tested(share: Share, test: ShareTest) -> str:
    """Both shares and their difference, with its interval and tests."""
    tests = ", ".join(equals(name, value) for name, value in (("p", test.p), ("q", test.q)) if value is not None)
    return (
        f"A {portion(share)}, B {portion(test)}, difference {percent(test.difference)} "
        f"(95 % interval {percent(test.low)} to {percent(test.high)}, {counted(test.n, 'pair')}, {tests})"
    )


def _maps(found: RunComparison) -> Iterator[_Map]:
    """The maps of all experiments; of a swap what all thoughts do, and what each does."""
    by_group: dict[tuple[str, str, str], list[ComparedAnswers]] = {}
    for cell in found.answers:
        by_group.setdefault((cell.experiment, cell.direction, cell.hook), []).append(cell)
    for (experiment, _, _), cells in by_group.items():
        if experiment == "swap":
            written = [cell for cell in cells if role_of(cell.donor) == "effect"]
            whole = [cell for cell in written if cell.site == ALL]
            single = [cell for cell in written if cell.site != ALL]
            parts = [
                _Map("With all thoughts of another question", "followed", whole),
                _Map("With one thought of another question", "followed", single),
            ]
        else:
            parts = [_Map(kind_of(experiment).phrase, "kept", cells)]
        for each in parts:
            able = [cell for cell in each.cells if not cell.structural and each.against(cell).n]
            if able:
                yield _Map(each.opening, each.asked, able)


def _named(cell: ComparedAnswers) -> str:
    """Place and donor of a cell; its hook point where there are layers and it is not the usual one."""
    told = place(cell) if POINTS[cell.hook].hooks else kind_of(cell.experiment).place(cell)
    plain = cell.donor == NOTHING or role_of(cell.donor) == "effect"
    return told if plain else f"{told} with {donor_label(cell.donor)}"
