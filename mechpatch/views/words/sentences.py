"""One sentence for each experiment, from the cells of one direction. Only clear effects and differences are claimed."""

from collections.abc import Callable, Sequence

from mechpatch.kinds import kind_of
from mechpatch.views.words.claims import (
    Cell,
    beyond_nulls,
    can_move,
    differs,
    have_clear,
    is_clear,
    largest,
    limits,
    listed,
    nearest,
    place,
    share,
    written,
)


def layer(cells: Sequence[Cell], noun: str) -> str:
    movable = can_move(cells)
    if not movable:
        return "Layer-wise, nothing can move: every layer is zero by construction."
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        return f"Layer-wise, no layer has a clear effect; {nearest(movable, noun)}."
    best = largest(clear)
    return (
        f"Layer-wise, layer {best['layer']} has the largest clear mean {noun}, {share(best['effect'])}"
        f"{beyond_nulls(best)}; {have_clear(clear, movable, 'layers')}."
    )


def position(cells: Sequence[Cell], noun: str) -> str:
    movable = can_move(cells)
    if not movable:
        return "Position-wise, nothing can move: every cell is zero by construction."
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        return f"Position-wise, no cell has a clear effect; {nearest(movable, noun)}."
    found = {cell["site"] for cell in clear}
    silent = [site for site in dict.fromkeys(cell["site"] for cell in movable) if site not in found]
    text = f"Position-wise, {_clear_and_best(clear, movable, 'cells')}"
    return f"{text}; at {listed(silent)} no layer has one." if silent else f"{text}; every position has one somewhere."


def relay(cells: Sequence[Cell], noun: str) -> str:
    movable = can_move(cells)
    steps = {cell["step"] for cell in cells}
    blocked = len(steps) > 1 and all(cell["step"] == 0 for cell in movable)
    caveat = "; later steps are zero by construction and say nothing about the thoughts" if blocked else ""
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        closest = f"; {nearest(movable, noun)}" if movable else ""
        return f"In the relay no step has a clear effect{closest}{caveat}."
    last = max(cell["step"] for cell in clear)
    best = largest([cell for cell in clear if cell["step"] == last])
    at_most = f"at most {share(best['effect'])}, at layer {best['layer']}"
    if last == 0:
        return f"In the relay only step 0 has a clear effect, {at_most}{caveat}."
    return f"In the relay the last step with a clear effect is {last} of 0 to {max(steps)}, {at_most}."


def cumulative(cells: Sequence[Cell], noun: str) -> str:
    movable = can_move(cells)
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        closest = f"; {nearest(movable, noun)}" if movable else ""
        return f"Written cumulatively, no step has a clear effect{closest}."
    best = largest(clear)
    goal = best["effect"]["mean"] / 2
    own = [cell for cell in movable if cell["layer"] == best["layer"]]
    half = min(cell["step"] for cell in own if cell["effect"]["mean"] / goal >= 1)
    return (
        f"Written cumulatively, the largest clear mean {noun} is {share(best['effect'])}, at layer {best['layer']} and "
        f"step {best['step']}; half of it is reached at step {half}."
    )


def leave_one_out(cells: Sequence[Cell], noun: str) -> str:
    movable = can_move(cells)
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        closest = f"; {nearest(movable, noun)}" if movable else ""
        return f"With one thought left out, the others have no clear effect in any cell{closest}."
    text = f"With one thought left out, {_clear_and_best(clear, movable, 'cells')}"
    measured = [cell for cell in cells if cell["sets"]["lost"] and cell["sets"]["lost"]["mean"] is not None]
    if not measured:
        return f"{text}."
    dear = [cell for cell in measured if differs(cell["sets"]["lost"])]
    if not dear:
        return f"{text}; beside all thoughts, no single one is clearly missed."
    worst = _furthest(dear, "lost")
    cost = worst["sets"]["lost"]
    text += (
        f"; leaving one out changes the {noun} clearly in {len(dear)} cells, most at {place(worst)}, where "
        f"{written(abs(cost['mean']))} of the gap is {'lost' if cost['mean'] > 0 else 'gained'} (95 % interval "
        f"{limits(_upright(cost))})"
    )
    missed = {cell["site"] for cell in dear}
    spare = [site for site in dict.fromkeys(cell["site"] for cell in measured) if site not in missed]
    return f"{text}; {listed(spare)} can be left out at every layer without a clear change." if spare else f"{text}."


def window(cells: Sequence[Cell], noun: str) -> str:
    movable = can_move(cells)
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        closest = f"; {nearest(movable, noun)}" if movable else ""
        return f"Written at several layers in a row, no site has a clear effect{closest}."
    text = f"Written at several layers in a row, {_clear_and_best(clear, movable, 'cells')}"
    measured = [
        cell for cell in movable if cell["sets"]["gain"] and cell["sets"]["gain"]["over_mean"]["mean"] is not None
    ]
    if not measured:
        return f"{text}."
    better = [cell for cell in measured if _beats_every_layer(cell)]
    if not better:
        return f"{text}; no window does clearly more than each of its layers alone."
    best = max(better, key=lambda cell: cell["sets"]["gain"]["over_mean"]["mean"])
    over = best["sets"]["gain"]["over_mean"]
    return (
        f"{text}; {len(better)} of {len(measured)} do clearly more than each of their layers alone, most at "
        f"{place(best)}: {written(over['mean'])} of the gap (95 % interval {limits(over)}) more than these on average."
    )


# What asks a question of its own has a sentence of its own; every other kind is told as sets of sites are.
SENTENCES: dict[str, Callable[[Sequence[Cell], str], str]] = {
    "layer": layer,
    "position": position,
    "relay": relay,
    "cumulative": cumulative,
    "leave_one_out": leave_one_out,
    "window": window,
}


def sentence(experiment: str, cells: Sequence[Cell], noun: str) -> str:
    """What the cells of an experiment, in one direction, say; `noun` is what is measured: recovery or destruction."""
    if experiment in SENTENCES:
        return SENTENCES[experiment](cells, noun)
    kind = kind_of(experiment)
    return _joint(cells, noun, kind.phrase or kind.label)


def _joint(cells: Sequence[Cell], noun: str, how: str) -> str:
    """Sets of sites: their effect, and where it is clearly more or less than the sum of its parts."""
    movable = can_move(cells)
    clear = [cell for cell in movable if is_clear(cell)]
    if not clear:
        closest = f"; {nearest(movable, noun)}" if movable else ""
        return f"{how}, no sites have a clear effect{closest}."
    text = f"{how}, {_clear_and_best(clear, movable, 'cells')}"
    sums = [(cell, cell["sets"].get("synergy")) for cell in movable]
    measured = [cell for cell, beyond in sums if beyond and beyond["mean"] is not None]
    if not measured:
        return f"{text}."
    uneven = [cell for cell in measured if differs(cell["sets"]["synergy"])]
    parts = []
    for word, sign, caveat in (("less", -1, " (they must where each alone moves more than half)"), ("more", 1, "")):
        own = [cell for cell in uneven if sign * cell["sets"]["synergy"]["mean"] > 0]
        if own:
            most = _furthest(own, "synergy")
            amount = _upright(most["sets"]["synergy"])
            parts.append(
                f"in {len(own)} they do clearly {word} than the sum of each alone{caveat}, most at {place(most)}, by "
                f"{share(amount)}"
            )
    return f"{text}; {listed(parts) if parts else 'nowhere is that clearly more or less than the sum of each alone'}."


def _clear_and_best(clear: Sequence[Cell], movable: Sequence[Cell], what: str) -> str:
    best = largest(clear)
    return (
        f"{have_clear(clear, movable, what)}, the largest at {place(best)}: {share(best['effect'])}{beyond_nulls(best)}"
    )


def _furthest(cells: Sequence[Cell], name: str) -> Cell:
    return max(cells, key=lambda cell: abs(cell["sets"][name]["mean"]))


def _upright(estimate: dict) -> dict:
    """An estimate whose sign is told by the words around it."""
    if estimate["mean"] >= 0:
        return estimate
    return {"mean": -estimate["mean"], "low": -estimate["high"], "high": -estimate["low"]}


def _beats_every_layer(cell: Cell) -> bool:
    gain = cell["sets"]["gain"]
    alone = gain["over_layers"].values()
    return differs(gain["over_mean"] | {"q": gain["over_every_layer"]["q"]}) and all(
        each["low"] is not None and each["low"] > 0 for each in alone
    )
