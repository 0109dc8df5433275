"""What a screen chose and what it missed, in words. Estimates are told by how well they rank, and never as effects."""

from collections.abc import Iterable, Iterator

from mechpatch.formats import capital, percent, written
from mechpatch.stats.clear import FEWEST_PAIRS
from mechpatch.stats.screens import Screened, ScreenedCell
from mechpatch.storage.choices import RANDOM, TOP
from mechpatch.views.words.claims import called, counted, listed, place

WAY_OUT = "raise --screen in another folder, or run all"


def screen_told(found: Screened) -> Iterator[str]:
    """All that is known of one screen, sentence by sentence; that it failed comes first."""
    top, random = found.of(TOP), found.of(RANDOM)
    of = f"{found.candidates:,} cells of {found.hook} that can move, {called(found.experiment)} ({found.direction})"
    if not found.left_out:
        yield f"All {of}, were run, so the screen left nothing out."
        return
    if found.failed:
        yield f"The screen of {found.hook} failed: {_why(found)}. What was not run may do as much: {WAY_OUT}."
    yield (
        f"Of {of}, {len(found.cells):,} were run: the {len(top):,} with the largest first-order estimates, means over "
        f"{counted(found.pairs, 'pair')}, and {len(random):,} random ones of the others."
    )
    yield f"{capital(_missed(found))}."
    if found.limit is not None and not found.controlled:
        yield "No control was run, so an effect that is off zero counts as clear there."
    if (largest := found.largest) is not None:
        yield (
            f"The largest effect of a random one is {_effect(largest)}, at {place(largest)}; effects of the top cells "
            f"have a median size of {written(found.median)}, and the smallest is {written(found.smallest)}."
        )
    if found.rank_top is None and found.rank_random is None:
        return
    yield (
        f"Estimate and effect have a rank correlation (Spearman) over the top cells of {_rank(found.rank_top)}, and "
        f"over the random ones of {_rank(found.rank_random)}."
    )


def chosen(found: Screened) -> str:
    """The cells that were run, and why these: "20 that a screen chose and 50 random ones"."""
    return f"{len(found.of(TOP)):,} that a screen chose and {len(found.of(RANDOM)):,} random ones"


def screens_in_short(screens: Iterable[Screened]) -> Iterator[str]:
    """What must be known of screens before a number of their maps is read; nothing of those that left nothing out.

    Screens of several hook points, experiments or directions that missed equally much share their sentences.
    """
    alike: dict[object, list[Screened]] = {}
    for each in screens:
        missed = len(each.of(TOP)), len(each.of(RANDOM)), each.told, len(each.clear), each.limit
        if each.left_out:
            alike.setdefault(each if each.failed else missed, []).append(each)
    for first, *others in alike.values():
        led, *more = dict.fromkeys(map(_run, (first, *others)))
        run = f"Of {led} were run{''.join(f', of {each}' for each in more)}"
        if first.failed:
            yield f"{run}, and the screen that chose them failed: {_why(first)}; {WAY_OUT}."
        elif others:
            yield f"{run}: {chosen(first)} of each map. In each {_missed(first, numbered=False)}."
        else:
            yield f"{run}: {chosen(first)}. {capital(_missed(first))}."


def _run(found: Screened) -> str:
    return f"{found.candidates:,} cells of {found.hook} {len(found.cells):,}"


def _missed(found: Screened, *, numbered: bool = True) -> str:
    """What the random cells say of those that were left out, whose number may be told, too."""
    random, others = len(found.of(RANDOM)), found.candidates - len(found.of(TOP))
    left = f"the {others:,}" if numbered else "the cells"
    if found.limit is None:
        return (
            f"what it missed is not known: no random cell has a value in {FEWEST_PAIRS} pairs, without which nothing "
            "is clear"
        )
    few = "" if found.told == random else f" of the {found.told} that can be told of"
    clear = f"{len(found.clear)} of {random} random cells" if found.clear else f"none of {random} random cells"
    have = "have" if len(found.clear) > 1 else "has"
    return (
        f"{clear}{few} {have} a clear effect, so at most {percent(found.limit)} of {left} that it did not choose "
        "do (95 %)"
    )


def _why(found: Screened) -> str:
    reasons = []
    if (cell := found.exceeds) is not None:
        reasons.append(
            f"a random cell, {place(cell)}, has a clear effect of {written(cell.effect)}, which is more than half of "
            f"the chosen ones have (median size {written(found.median)})"
        )
    if found.blind:
        reasons.append(
            f"over the random cells its estimates do not rank as the effects do (Spearman {_rank(found.rank_random)})"
        )
    return listed(reasons)


def _effect(cell: ScreenedCell) -> str:
    if cell.low is None:
        return f"{written(cell.effect)} of the gap (one pair, no interval)"
    return f"{written(cell.effect)} of the gap (95 % interval {written(cell.low)} to {written(cell.high)})"


def _rank(value: float | None) -> str:
    return "undefined" if value is None else written(value)
