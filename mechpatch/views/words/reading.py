"""A run in words, made from its summary and nothing else: three lines, then what each experiment says.

Only what is clear (`mechpatch.stats.clear`) is claimed.
"""

from collections.abc import Iterator, Sequence

from mechpatch.catalogue import PAIRED
from mechpatch.formats import written
from mechpatch.points import POINTS, RESID_POST
from mechpatch.stats.cell_values import CellSummary
from mechpatch.stats.clear import FEWEST_PAIRS, is_clear, is_clear_value
from mechpatch.stats.summary_values import DirectionPair, Power, Summary
from mechpatch.views.words.claims import NOUN, called, limits, place
from mechpatch.views.words.lines import lines
from mechpatch.views.words.screens import screen_told
from mechpatch.views.words.sentences import sentence


def reading(summary: Summary) -> str:
    """Say what was done and found, what was not, and what to distrust, for a summary made by `summarise`."""
    return "\n".join((*(f"{head}: {text}" for head, text in lines(summary).named()), *paragraphs(summary)))


def paragraphs(summary: Summary) -> list[str]:
    """What the three lines leave out: each experiment, a paragraph for each direction; then what else is known."""
    if not summary.counts.used:
        return []
    paired = [cell for cell in summary.cells if cell.donor == PAIRED]
    found = [
        " ".join(_experiments(summary, [cell for cell in paired if cell.direction == direction]))
        for direction in sorted({cell.direction for cell in paired})
    ]
    rest = [_directions(summary.directions, paired), *summary.sets_notes, _planning(summary.planning), _checks(summary)]
    missed = [" ".join(screen_told(each)) for each in summary.screens]
    return [paragraph for paragraph in (*found, *missed, " ".join(filter(None, rest))) if paragraph]


def _experiments(summary: Summary, cells: Sequence[CellSummary]) -> Iterator[str]:
    for experiment, hook in dict.fromkeys((cell.experiment, cell.hook) for cell in cells):
        written_there = [cell for cell in cells if (cell.experiment, cell.hook) == (experiment, hook)]
        first = written_there[0]
        screen = summary.screen_of(first)
        left_out = 0 if screen is None else screen.left_out
        told = sentence(written_there, NOUN[first.direction], summary.best_of(first), left_out)
        yield _at_hook(hook, told)


def _at_hook(hook: str, told: str) -> str:
    """A sentence about one hook point, which is named where it is not the usual one."""
    label = POINTS[hook].label if hook in POINTS else hook
    return told if hook == RESID_POST else f"At {label}: {told[:1].lower()}{told[1:]}"


def _directions(directions: Sequence[DirectionPair], paired: Sequence[CellSummary]) -> str:
    """Where both what clean vectors restore and what corrupted ones destroy is clear, and where the two differ."""
    known = [each for each in directions if not each.structural and each.difference.mean is not None]
    if not known:
        return ""
    clear = {
        direction: {_address(cell) for cell in paired if cell.direction == direction and is_clear(cell, "effect")}
        for direction in NOUN
    }
    both = sum(_address(each) in clear["denoise"] & clear["noise"] for each in known)
    text = f"In {both} of {len(known)} cells both directions are clear"
    text += ": what is restored there is destroyed there, too" if both else ""
    uneven = [each for each in known if is_clear_value(each.difference)]
    if not uneven:
        return f"{text}; nowhere do the two shares clearly differ."
    most = max(uneven, key=lambda each: each.difference.size)
    return (
        f"{text}; in {len(uneven)} the two shares clearly differ, most at {called(most.experiment)}, {place(most)}: "
        f"{written(most.sufficiency.mean)} restored, {written(most.necessity.mean)} destroyed (difference "
        f"{written(most.difference.mean)}, 95 % interval {limits(most.difference)})."
    )


def _address(cell: CellSummary | DirectionPair) -> tuple[str, str, int | None, int, str, int]:
    return cell.experiment, cell.hook, cell.head, cell.layer, cell.site, cell.step


def _planning(powers: Sequence[Power]) -> str:
    """What so many pairs find, and twice as many or more would, for one experiment."""
    if not powers:
        return ""
    chosen = next((power for power in powers if power.experiment == "position"), powers[0])
    now, *later = chosen.detectable
    more = next((each for each in later if each.pairs >= 2 * now.pairs), None)
    if now.pairs < FEWEST_PAIRS:
        return ""
    text = (
        f"For planning: {now.pairs} pairs find, four times in five, a mean {NOUN[chosen.direction]} of "
        f"{written(now.typical)} in a cell of {called(chosen.experiment)} with typical spread, and of "
        f"{written(now.worst)} in the one with the widest, tested among all {chosen.cells}"
    )
    if more:
        text += f"; {more.pairs} pairs would find {written(more.typical)} and {written(more.worst)}"
    return f"{text}."


def _checks(summary: Summary) -> str:
    asserted = summary.asserted()
    return f"All {len(asserted)} checks of the records hold." if asserted and not summary.failed() else ""
