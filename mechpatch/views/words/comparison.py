"""A comparison in words: how many cells clearly differ, and which most."""

from collections.abc import Sequence

from mechpatch.catalogue import PAIRED, direction_label, donor_label, measure_of
from mechpatch.formats import equals, written
from mechpatch.stats.cell_values import Tested
from mechpatch.stats.cells import Group
from mechpatch.stats.clear import FEWEST_PAIRS, differs, is_clear_value, switch_differs
from mechpatch.stats.comparison import CellComparison, Compared, ComparedCell, Place, RunComparison
from mechpatch.stats.switching import SHARES
from mechpatch.views.words.answers_compared import (
    MORE,
    SHOWN,
    answer_lines,
    answers_against_control,
    difference_of_the_best,
    tested,
)
from mechpatch.views.words.claims import GIVEN, called, counted, limits, place, portion, why_not


def describe_runs(found: RunComparison, a: str, b: str) -> list[str]:
    """Lines about two runs compared by `compare_runs`; null donors are counted, not listed."""
    counts = found.counts
    lines = [
        f"A {a}, B {b}: {counts.pairs} pairs in both, of which A answers {counts.used_a} and B "
        f"{counts.used_b} right on both sides."
    ]
    if counts.pairs < FEWEST_PAIRS:
        lines.append(f"Fewer than {FEWEST_PAIRS} pairs are in both, which makes no difference clear.")
    if apart := [
        f"{n} {said}"
        for n, said in (
            (counts.only_in_a, "only in A"),
            (counts.only_in_b, "only in B"),
            (counts.unlike, "with one id and other questions or answers"),
        )
        if n
    ]:
        lines.append(f"Pairs left out: {', '.join(apart)}.")
    if found.only_in_a or found.only_in_b:
        lines.append(f"Not compared: {found.only_in_a} cells that only A has, {found.only_in_b} that only B has.")
    lines += answer_lines(found)
    if not found.cells:
        return lines
    if found.metric not in SHARES:
        lines += _switches(found)
        lines.append(f"{_about(found.metric)}, A − B, over the pairs that both can use:")
    movable = [cell for cell in found.cells if not cell.structural and cell.difference.mean is not None]
    paired = [cell for cell in movable if cell.donor == PAIRED]
    clear = [cell for cell in paired if differs(cell.difference)]
    nulls = [cell for cell in movable if cell.donor != PAIRED]
    unlike = sum(differs(cell.difference) for cell in nulls)
    lines.append(
        f"{len(clear)} of {len(paired)} cells clearly differ (95 % interval without zero, false discovery rate at most "
        f"5 %){f'; with null donors {unlike} of {len(nulls)}' if nulls else ''}."
    )
    if paired and not clear:
        largest = max(paired, key=_distance)
        equal = "The means of A and B are equal in every cell."
        lines.append(f"The largest difference is {_line(largest)}" if _distance(largest) else equal)
    lines += [f"  {_line(cell)}" for cell in sorted(clear, key=_distance, reverse=True)[:SHOWN]]
    if len(clear) > SHOWN:
        lines.append(MORE.format(len(clear) - SHOWN))
    return lines


def describe_control(found: RunComparison, a: str, b: str) -> list[str]:
    """Lines about a run and that of its control twin: where its map exceeds the twin's is the finding."""
    first, *rest = describe_runs(found, a, b)
    maps: dict[Group, list[ComparedCell]] = {}
    for cell in _able(found):
        maps.setdefault(Group(cell.experiment, cell.direction, cell.donor, cell.hook), []).append(cell)
    said = [f"Found: {told}" for told in (*map(_exceeding, maps.values()), *answers_against_control(found))]
    return [*(said or ["Found: nothing; no pair can switch in both runs at any cell."]), first, *rest]


def _exceeding(cells: Sequence[ComparedCell]) -> str:
    """Where A exceeds its control in one map, the largest difference first; the interval knows that it was chosen."""
    clear = [cell for cell in cells if is_clear_value(cell.switched)]
    best = max(clear or cells, key=lambda cell: cell.against.difference or 0.0)
    test, answer = best.against, GIVEN[best.direction]
    shares = (
        f"{portion(best.switched)} of {counted(test.n, 'pair')} give the {answer} answer in A, {portion(test)} in B"
    )
    told = f"{difference_of_the_best(test, len(cells))} at {_place(best)}: {shares}"
    less_in_a = sum(cell.against.less > cell.against.more and switch_differs(cell.against) for cell in cells)
    other = f" In {counted(less_in_a, 'cell')} fewer switch in A than in B." if less_in_a else ""
    if not clear:
        return (
            f"A nowhere clearly exceeds its control B; the largest difference is {told}{why_not(best.switched)}.{other}"
        )
    often = f"{len(clear)} of {counted(len(cells), 'cell')}"
    return f"A exceeds its control B by {told}. It does so clearly in {often}.{other}"


def _able(found: RunComparison) -> list[ComparedCell]:
    """The cells of the effect that can move and have pairs that can switch in both runs."""
    return [cell for cell in found.cells if cell.donor == PAIRED and not cell.structural and cell.against.n]


def _switches(found: RunComparison) -> list[str]:
    """How many cells differ in the pairs that switch, and the largest differences."""
    able = _able(found)
    if not able:
        return ["No pair can switch in both runs."]
    clear = sorted(
        (cell for cell in able if switch_differs(cell.against)), key=lambda cell: -abs(cell.against.difference or 0.0)
    )
    told = [f"  {_switch(cell)}" for cell in clear[:SHOWN]]
    if len(clear) > SHOWN:
        told.append(MORE.format(len(clear) - SHOWN))
    head = (
        f"Pairs that switch: in {len(clear)} of {counted(len(able), 'cell')} A and B clearly differ (exact McNemar test"
    )
    return [f"{head}, false discovery rate at most 5 %).", *told]


def _switch(cell: ComparedCell) -> str:
    return f"{_place(cell)}: {tested(cell.switched, cell.against)}"


def describe_cells(found: CellComparison) -> list[str]:
    """Lines about two cells compared by `compare_cells`."""
    (cell,) = found.cells
    names = [_place(each) for each in cell.places]
    if cell.difference.mean is None:
        return [f"{names[0]} and {names[1]} have no pair in common that can be used: nothing to compare."]
    means = [written(each.mean) for each in (cell.a, cell.b)]
    lines = [f"  {side} {name}: {mean}" for side, name, mean in zip("AB", names, means, strict=True)]
    return [f"{_about(found.metric)}:", *lines, _verdict(cell)]


def _verdict(cell: Compared) -> str:
    difference = cell.difference
    if difference.low is None:
        return f"A − B is {written(difference.mean)}: one pair, so no interval and no test."
    clear = differs(difference)
    said = "a clear difference" if clear else "no clear difference"
    could = cell.minimum_detectable_difference
    if not clear and could:
        said += f"; so many pairs would show {written(could)} or more four times in five"
    return f"A − B is {_estimate(difference)}: {said}."


def _line(cell: ComparedCell) -> str:
    return (
        f"{_place(cell)}: A {written(cell.a.mean)}, B {written(cell.b.mean)}, difference {_estimate(cell.difference)}"
    )


def _estimate(difference: Tested) -> str:
    if difference.low is None:
        return f"{written(difference.mean)} (one pair)"
    tests = [equals(name, value) for name, value in (("p", difference.p), ("q", difference.q)) if value is not None]
    return (
        f"{written(difference.mean)} "
        f"({', '.join([f'95 % interval {limits(difference)}', f'{difference.n} pairs', *tests])})"
    )


def _place(cell: ComparedCell | Place) -> str:
    parts = [called(cell.experiment), place(cell)]
    if cell.direction:
        parts.append(direction_label(cell.direction))
    if cell.donor != PAIRED:
        parts.append("null donor " + donor_label(cell.donor))
    return ", ".join(parts)


def _about(metric: str) -> str:
    if metric == "effect":
        return "Effect (share of gap)"
    return measure_of(metric).axis


def _distance(cell: ComparedCell) -> float:
    return cell.difference.size
