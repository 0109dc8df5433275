"""What each experiment says: the pairs that switch, the mean effect, and what that experiment alone can ask.

Only what is clear (`mechpatch.stats.clear`) is claimed; the rest is told with the reason why it is not.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from mechpatch.formats import written
from mechpatch.kinds import kind_of
from mechpatch.stats.cell_values import CellSummary, Held, SetDifference, Tested
from mechpatch.stats.clear import is_clear
from mechpatch.stats.maximum import Best
from mechpatch.views.words.claims import (
    alone,
    can_move,
    could_show,
    counted,
    largest,
    limits,
    listed,
    most,
    near,
    place,
    portion,
    share,
)
from mechpatch.views.words.switching import of_the_best

Cells = Sequence[CellSummary]
Difference = TypeVar("Difference", bound=Tested)


def sentence(cells: Cells, noun: str, best: Best | None, left_out: int = 0) -> str:
    """What the cells of one experiment, hook point and direction say.

    Args:
        noun: what is measured: recovery or destruction.
        best: the interval of the largest share, where there is one.
        left_out: how many cells a screen left out; nothing is then said of all cells of a layer or position.
    """
    kind = kind_of(cells[0].experiment)
    how = kind.phrase or kind.label
    movable = can_move(cells)
    if not movable:
        dead = all(cell.structural for cell in cells)
        why = "every cell is zero by construction" if dead else "no pair has a mean"
        return f"{how}, nothing can move: {why}."
    parts = [_switches(movable, best), _means(movable, noun)]
    if left_out:
        parts.append(f"{counted(left_out, 'cell')} of this map were not run")
    elif kind.name in FURTHER:
        parts += FURTHER[kind.name](cells)
    elif kind.gives == "synergy":
        parts += _synergy(movable)
    return f"{how}, {'; '.join(part for part in parts if part)}."


def _switches(movable: Cells, best: Best | None) -> str:
    able = [cell for cell in movable if cell.switched.n]
    if not able:
        return "no pair can switch"
    clear = [cell for cell in able if is_clear(cell)]
    top = most(clear or able)
    if not top.switched.count:
        return f"no pair switches (0 of {top.switched.n} in each of {counted(len(able), 'cell')})"
    reached = f"{portion(top.switched)} of {counted(top.switched.n, 'pair')}"
    if best is not None and (best.layer, best.site, best.step) == (top.layer, top.site, top.step):
        reached += of_the_best(best)
    if clear:
        return f"the switch is clear in {len(clear)} of {counted(len(able), 'cell')}, most at {place(top)}: {reached}"
    return f"no switch is clear: at most {reached}, at {place(top)}{near(top.switched)}"


def _means(movable: Cells, noun: str) -> str:
    clear = [cell for cell in movable if is_clear(cell, "effect")]
    if clear:
        best = largest(clear)
        return (
            f"the mean {noun} is clear in {len(clear)} of {counted(len(movable), 'cell')}, the largest at "
            f"{place(best)}: {alone(best.effect)}"
        )
    best = largest(movable)
    because = could_show(best) or near(best.effect)
    return f"no mean {noun} is clear: the largest is {share(best.effect)}, at {place(best)}{because}"


def _anything(cells: Cells) -> list[CellSummary]:
    """Cells at which the switch or the mean effect is clear."""
    return [cell for cell in can_move(cells) if is_clear(cell) or is_clear(cell, "effect")]


def _position(cells: Cells) -> list[str]:
    clear = {cell.site for cell in _anything(cells)}
    silent = [site for site in dict.fromkeys(cell.site for cell in can_move(cells)) if site not in clear]
    return [f"at {listed(silent)} nothing is clear"] if clear and silent else []


def _relay(cells: Cells) -> list[str]:
    movable, steps = can_move(cells), {cell.step for cell in cells}
    blocked = len(steps) > 1 and all(cell.step == 0 for cell in movable)
    caveat = ["later steps are zero by construction and say nothing about the thoughts"] if blocked else []
    clear = _anything(cells)
    if not clear:
        return caveat
    last = max(cell.step for cell in clear)
    at_last = [cell for cell in clear if cell.step == last]
    where = listed([str(layer) for layer in sorted({cell.layer for cell in at_last})])
    text = f"the last step at which anything is clear is {last} of 0 to {max(steps)}, at layer {where}"
    return [text, *caveat]


def _cumulative(cells: Cells) -> list[str]:
    clear = [cell for cell in can_move(cells) if is_clear(cell, "effect")]
    if not clear:
        return []
    best = largest(clear)
    same_way = [cell for cell in clear if cell.layer == best.layer and cell.effect.sign == best.effect.sign]
    half = min(cell.step for cell in same_way if cell.effect.size >= best.effect.size / 2)
    return [f"half of that largest mean is reached at step {half}"]


def _leave_one_out(cells: Cells) -> list[str]:
    costs = [(cell, cell.lost) for cell in can_move(cells) if cell.lost and cell.lost.mean is not None]
    if not costs:
        return []
    dear = [(cell, lost) for cell, lost in costs if is_clear(cell, "lost")]
    if not dear:
        return [f"beside all thoughts, no single one is clearly missed{_nearly(_furthest(costs)[1])}"]
    worst, cost = _furthest(dear)
    text = (
        f"leaving one out changes that clearly in {counted(len(dear), 'cell')}, most at {place(worst)}, where "
        f"{written(cost.size)} of the gap is {'lost' if cost.sign > 0 else 'gained'} (95 % interval "
        f"{limits(_upright(cost))})"
    )
    missed = {cell.site for cell, _ in dear}
    spare = [site for site in dict.fromkeys(cell.site for cell, _ in costs) if site not in missed]
    return [text, f"{listed(spare)} can be left out at every layer without a clear change"] if spare else [text]


def _window(cells: Cells) -> list[str]:
    gains = [(cell, cell.gain.over_mean) for cell in can_move(cells) if cell.gain and cell.gain.over_mean.n]
    if not gains:
        return []
    better = [(cell, over) for cell, over in gains if is_clear(cell, "gain")]
    if not better:
        return ["no window does clearly more than each of its layers alone"]
    best, over = _furthest(better)
    return [
        f"{len(better)} of {len(gains)} do clearly more than each of their layers alone, most at {place(best)}: "
        f"{written(over.mean)} of the gap (95 % interval {limits(over)}) more than these on average"
    ]


def _synergy(movable: Cells) -> list[str]:
    """Sets of sites beside the sum of their parts, in nats: a sum of shares of the gap would be no share."""
    sums = [(cell, cell.synergy) for cell in movable if cell.synergy and cell.synergy.mean is not None]
    if not sums:
        return []
    parts = []
    for word, sign in (("less", -1), ("more", 1)):
        that_way = [(cell, found) for cell, found in sums if found.sign == sign and is_clear(cell, "synergy")]
        if that_way:
            place_of, found = _furthest(that_way)
            parts.append(
                f"in {counted(len(that_way), 'cell')} they do clearly {word} than the sum of each alone, most at "
                f"{place(place_of)}: {_nats(found)}"
            )
    if parts:
        return parts
    cell, found = _furthest(sums)
    return [
        f"nowhere is that clearly more or less than the sum of each alone, at most {_nats(found)}, at {place(cell)}"
    ]


def _nats(found: SetDifference) -> str:
    """A synergy with its two sides: "5.0 nats instead of 3.0 (difference 2.0, 95 % interval 1.8 to 2.2)"."""
    whole, parts, mean = (written(each, ".1f") for each in (found.whole, found.parts, found.mean))
    if found.low is None:
        return f"{whole} nats instead of {parts} (one pair, no interval)"
    low, high = written(found.low, ".1f"), written(found.high, ".1f")
    return f"{whole} nats instead of {parts} (difference {mean}, 95 % interval {low} to {high})"


def _nearly(found: Held) -> str:
    return f": at most {share(_upright(found))}{near(found)}"


def _furthest(differences: Sequence[tuple[CellSummary, Difference]]) -> tuple[CellSummary, Difference]:
    """The cell whose difference is furthest from zero, and that difference."""
    return max(differences, key=lambda each: each[1].size)


def _upright(estimate: Difference) -> Difference:
    """The estimate with a positive mean; the words around it tell its sign."""
    if estimate.mean is None or estimate.low is None or estimate.high is None or estimate.mean >= 0:
        return estimate
    return replace(estimate, mean=-estimate.mean, low=-estimate.high, high=-estimate.low)


# What an experiment asks beyond its switches and means; sets of sites are held against the sum of their parts.
FURTHER: dict[str, Callable[[Cells], list[str]]] = {
    "position": _position,
    "relay": _relay,
    "cumulative": _cumulative,
    "leave_one_out": _leave_one_out,
    "window": _window,
}
