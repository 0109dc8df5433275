"""One sentence for each experiment, from the cells of one direction. Only clear effects and differences are claimed."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mechpatch.formats import written
from mechpatch.kinds import kind_of
from mechpatch.stats.cell_values import CellSummary, Gain, Tested
from mechpatch.views.words.claims import (
    beyond_nulls,
    can_move,
    differs,
    have_clear,
    is_clear,
    is_clear_estimate,
    largest,
    limits,
    listed,
    nearest,
    place,
    share,
)


def layer(cells: Sequence[CellSummary], noun: str) -> str:
    movable = can_move(cells)
    if not movable:
        return "Layer-wise, nothing can move: every layer is zero by construction."
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        return f"Layer-wise, no layer has a clear effect; {nearest(movable, noun)}."
    best = largest(clear)
    return (
        f"Layer-wise, layer {best.layer} has the largest clear mean {noun}, {share(best.effect)}"
        f"{beyond_nulls(best)}; {have_clear(clear, movable, 'layers')}."
    )


def position(cells: Sequence[CellSummary], noun: str) -> str:
    movable = can_move(cells)
    if not movable:
        return "Position-wise, nothing can move: every cell is zero by construction."
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        return f"Position-wise, no cell has a clear effect; {nearest(movable, noun)}."
    found = {cell.site for cell in clear}
    silent = [site for site in dict.fromkeys(cell.site for cell in movable) if site not in found]
    text = f"Position-wise, {_clear_and_best(clear, movable, 'cells')}"
    return f"{text}; at {listed(silent)} no layer has one." if silent else f"{text}; every position has one somewhere."


def relay(cells: Sequence[CellSummary], noun: str) -> str:
    movable = can_move(cells)
    steps = {cell.step for cell in cells}
    blocked = len(steps) > 1 and all(cell.step == 0 for cell in movable)
    caveat = "; later steps are zero by construction and say nothing about the thoughts" if blocked else ""
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        closest = f"; {nearest(movable, noun)}" if movable else ""
        return f"In the relay no step has a clear effect{closest}{caveat}."
    last = max(cell.step for cell in clear)
    best = largest([cell for cell in clear if cell.step == last])
    at_most = f"at most {share(best.effect)}, at layer {best.layer}"
    if last == 0:
        return f"In the relay only step 0 has a clear effect, {at_most}{caveat}."
    return f"In the relay the last step with a clear effect is {last} of 0 to {max(steps)}, {at_most}."


def cumulative(cells: Sequence[CellSummary], noun: str) -> str:
    movable = can_move(cells)
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        closest = f"; {nearest(movable, noun)}" if movable else ""
        return f"Written cumulatively, no step has a clear effect{closest}."
    best = largest(clear)
    same_way = [cell for cell in movable if cell.layer == best.layer and cell.effect.sign == best.effect.sign]
    half = min(cell.step for cell in same_way if cell.effect.size >= best.effect.size / 2)
    return (
        f"Written cumulatively, the largest clear mean {noun} is {share(best.effect)}, at layer {best.layer} and "
        f"step {best.step}; half of it is reached at step {half}."
    )


def leave_one_out(cells: Sequence[CellSummary], noun: str) -> str:
    movable = can_move(cells)
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        closest = f"; {nearest(movable, noun)}" if movable else ""
        return f"With one thought left out, the others have no clear effect in any cell{closest}."
    text = f"With one thought left out, {_clear_and_best(clear, movable, 'cells')}"
    costs = [(cell, cell.lost) for cell in cells if cell.lost and cell.lost.mean is not None]
    if not costs:
        return f"{text}."
    dear = [(cell, lost) for cell, lost in costs if differs(lost)]
    if not dear:
        return f"{text}; beside all thoughts, no single one is clearly missed."
    worst, cost = _furthest(dear)
    text += (
        f"; leaving one out changes the {noun} clearly in {len(dear)} cells, most at {place(worst)}, where "
        f"{written(cost.size)} of the gap is {'lost' if cost.sign > 0 else 'gained'} (95 % interval "
        f"{limits(_upright(cost))})"
    )
    missed = {cell.site for cell, _ in dear}
    spare = [site for site in dict.fromkeys(cell.site for cell, _ in costs) if site not in missed]
    return f"{text}; {listed(spare)} can be left out at every layer without a clear change." if spare else f"{text}."


def window(cells: Sequence[CellSummary], noun: str) -> str:
    movable = can_move(cells)
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        closest = f"; {nearest(movable, noun)}" if movable else ""
        return f"Written at several layers in a row, no site has a clear effect{closest}."
    text = f"Written at several layers in a row, {_clear_and_best(clear, movable, 'cells')}"
    gains = [(cell, cell.gain) for cell in movable if cell.gain and cell.gain.over_mean.mean is not None]
    if not gains:
        return f"{text}."
    better = [(cell, gain.over_mean) for cell, gain in gains if _beats_every_layer(gain)]
    if not better:
        return f"{text}; no window does clearly more than each of its layers alone."
    best, over = _furthest(better)
    return (
        f"{text}; {len(better)} of {len(gains)} do clearly more than each of their layers alone, most at "
        f"{place(best)}: {written(over.mean)} of the gap (95 % interval {limits(over)}) more than these on average."
    )


# What asks a question of its own has a sentence of its own; every other kind is told as sets of sites are.
SENTENCES: dict[str, Callable[[Sequence[CellSummary], str], str]] = {
    "layer": layer,
    "position": position,
    "relay": relay,
    "cumulative": cumulative,
    "leave_one_out": leave_one_out,
    "window": window,
}


def sentence(experiment: str, cells: Sequence[CellSummary], noun: str) -> str:
    """What the cells of an experiment, in one direction, say; `noun` is what is measured: recovery or destruction."""
    if experiment in SENTENCES:
        return SENTENCES[experiment](cells, noun)
    kind = kind_of(experiment)
    return _joint(cells, noun, kind.phrase or kind.label)


def _joint(cells: Sequence[CellSummary], noun: str, how: str) -> str:
    """Sets of sites: their effect, and where it is clearly more or less than the sum of its parts."""
    movable = can_move(cells)
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        closest = f"; {nearest(movable, noun)}" if movable else ""
        return f"{how}, no sites have a clear effect{closest}."
    text = f"{how}, {_clear_and_best(clear, movable, 'cells')}"
    sums = [(cell, cell.synergy) for cell in movable if cell.synergy and cell.synergy.mean is not None]
    if not sums:
        return f"{text}."
    uneven = [(cell, synergy) for cell, synergy in sums if differs(synergy)]
    parts = []
    for word, sign, caveat in (("less", -1, " (they must where each alone moves more than half)"), ("more", 1, "")):
        that_way = [(cell, synergy) for cell, synergy in uneven if synergy.sign == sign]
        if that_way:
            most, synergy = _furthest(that_way)
            parts.append(
                f"in {len(that_way)} they do clearly {word} than the sum of each alone{caveat}, most at {place(most)}, "
                f"by {share(_upright(synergy))}"
            )
    return f"{text}; {listed(parts) if parts else 'nowhere is that clearly more or less than the sum of each alone'}."


def _clear_and_best(clear: Sequence[CellSummary], movable: Sequence[CellSummary], what: str) -> str:
    best = largest(clear)
    return f"{have_clear(clear, movable, what)}, the largest at {place(best)}: {share(best.effect)}{beyond_nulls(best)}"


def _furthest(differences: Sequence[tuple[CellSummary, Tested]]) -> tuple[CellSummary, Tested]:
    """The cell whose difference is furthest from zero, and that difference."""
    return max(differences, key=lambda each: each[1].size)


def _upright(estimate: Tested) -> Tested:
    """The estimate with a positive mean; the words around it tell its sign."""
    if estimate.mean is None or estimate.low is None or estimate.high is None or estimate.mean >= 0:
        return estimate
    return replace(estimate, mean=-estimate.mean, low=-estimate.high, high=-estimate.low)


def _beats_every_layer(gain: Gain) -> bool:
    alone = gain.over_layers.values()
    return is_clear_estimate(gain.over_mean, gain.over_every_layer.q) and all(
        each.low is not None and each.low > 0 for each in alone
    )
