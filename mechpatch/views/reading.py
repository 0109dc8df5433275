"""A few plain sentences about a run, made from its summary and nothing else.

An effect is called *clear* where its interval excludes zero, its false discovery rate is at most 5 %, it would not be
written as 0.00, and it is not zero by construction. Only clear effects are claimed.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from mechpatch.stats.cells import DONORS as KNOWN_DONORS
from mechpatch.views.theme import DONORS, EXPERIMENTS

Cell = dict[str, Any]

NOUN = {"denoise": "recovery", "noise": "destruction"}
FALSE_DISCOVERIES = 0.05
SMALLEST = 0.005
FEWEST_PAIRS = 6  # five pairs that all agree still have p = 2 / 2**5 > 0.05


def reading(summary: dict[str, Any]) -> str:
    """Say what was found, what was not, and what cannot count, for a summary made by `summarise`."""
    return " ".join(paragraphs(summary))


def paragraphs(summary: dict[str, Any]) -> list[str]:
    """The sentences of `reading`: the pairs and the first direction, each other direction, then what cannot count."""
    found, rest = [[_pairs(summary)]], []
    if summary["counts"]["used"]:
        paired = [cell for cell in summary["cells"] if cell["donor"] == "paired"]
        for number, direction in enumerate(sorted({cell["direction"] for cell in paired})):
            own = [cell for cell in paired if cell["direction"] == direction]
            if number:
                found.append([])
            for experiment, say in _SAY.items():
                cells = [cell for cell in own if cell["experiment"] == experiment]
                if cells:
                    found[-1].append(say(cells, NOUN[direction]))
        rest = [_structural(paired), _controls(summary["cells"])]
    rest.append(_checks(summary["checks"]))
    joined = (" ".join(sentence for sentence in sentences if sentence) for sentences in (*found, rest))
    return [paragraph for paragraph in joined if paragraph]


def _pairs(summary: dict[str, Any]) -> str:
    counts = summary["counts"]
    if summary["note"]:
        return summary["note"]
    used = "all of them" if summary["include_incorrect"] else "those"
    text = (
        f"The unpatched model answers {counts['both_correct']} of {counts['pairs']} pairs right on both sides, and "
        f"means are over {used}"
    )
    if counts["undefined_recovery"]:
        text += f"; in {counts['undefined_recovery']} the gap is too small for a share"
    if counts["used"] - counts["undefined_recovery"] < FEWEST_PAIRS:
        text += f"; fewer than {FEWEST_PAIRS} pairs cannot make any effect clear"
    return f"{text}."


def _layer(cells: Sequence[Cell], noun: str) -> str:
    movable = _movable(cells)
    if not movable:
        return "Layer-wise, nothing can move: every layer is zero by construction."
    clear = [cell for cell in movable if _clear(cell)]
    if not clear:
        return f"Layer-wise, no layer has a clear effect; {_nearest(movable, noun)}{_detectable(_largest(movable))}."
    best = _largest(clear)
    return (
        f"Layer-wise, layer {best['layer']} has the largest clear mean {noun}, {_share(best)}{_beyond(best)}; "
        f"{len(clear)} of {len(movable)} layers {'has' if len(clear) == 1 else 'have'} a clear effect."
    )


def _position(cells: Sequence[Cell], noun: str) -> str:
    movable = _movable(cells)
    if not movable:
        return "Position-wise, nothing can move: every cell is zero by construction."
    clear = [cell for cell in movable if _clear(cell)]
    if not clear:
        return f"Position-wise, no cell has a clear effect; {_nearest(movable, noun)}."
    best = _largest(clear)
    found = {cell["site"] for cell in clear}
    silent = [site for site in dict.fromkeys(cell["site"] for cell in movable) if site not in found]
    text = (
        f"Position-wise, {len(clear)} of {len(movable)} cells {'has' if len(clear) == 1 else 'have'} a clear effect, "
        f"the largest at {_place(best)}: {_share(best)}{_beyond(best)}"
    )
    return f"{text}; at {_listed(silent)} no layer has one." if silent else f"{text}; every position has one somewhere."


def _relay(cells: Sequence[Cell], noun: str) -> str:
    movable = _movable(cells)
    steps = {cell["step"] for cell in cells}
    blocked = len(steps) > 1 and all(cell["step"] == 0 for cell in movable)
    caveat = "; later steps are zero by construction and say nothing about the thoughts" if blocked else ""
    clear = [cell for cell in movable if _clear(cell)]
    if not clear:
        nearest = f"; {_nearest(movable, noun)}" if movable else ""
        return f"In the relay no step has a clear effect{nearest}{caveat}."
    last = max(cell["step"] for cell in clear)
    best = _largest([cell for cell in clear if cell["step"] == last])
    if last == 0:
        return f"In the relay only step 0 has a clear effect, at most {_share(best)}, at layer {best['layer']}{caveat}."
    return (
        f"In the relay the last step with a clear effect is {last} of 0 to {max(steps)}, at most {_share(best)}, "
        f"at layer {best['layer']}."
    )


def _cumulative(cells: Sequence[Cell], noun: str) -> str:
    movable = _movable(cells)
    clear = [cell for cell in movable if _clear(cell)]
    if not clear:
        nearest = f"; {_nearest(movable, noun)}" if movable else ""
        return f"Written cumulatively, no step has a clear effect{nearest}."
    best = _largest(clear)
    goal = best["effect"]["mean"] / 2
    own = [cell for cell in movable if cell["layer"] == best["layer"] and cell["effect"]["mean"] is not None]
    half = min(cell["step"] for cell in own if cell["effect"]["mean"] / goal >= 1)
    return (
        f"Written cumulatively, the largest clear mean {noun} is {_share(best)}, at layer {best['layer']} and step "
        f"{best['step']}; half of it is reached at step {half}."
    )


_SAY = {"layer": _layer, "position": _position, "relay": _relay, "cumulative": _cumulative}


def _structural(paired: Sequence[Cell]) -> str:
    counts: dict[str, int] = {}
    for cell in paired:
        if cell["structural"]:
            counts[cell["experiment"]] = counts.get(cell["experiment"], 0) + 1
    if not counts:
        return ""
    listed = _listed([f"{n} of {_called(name)}" for name, n in counts.items()])
    return f"Zero by construction, and so no findings, are these cells: {listed}."


def _controls(cells: Sequence[Cell]) -> str:
    donors = [donor for donor in KNOWN_DONORS[1:] if any(cell["donor"] == donor for cell in cells)]
    if not donors:
        return "No null donors were run, so nothing says that another vector would not have done the same."
    quiet, loud = [], []
    for donor in donors:
        own = _movable([cell for cell in cells if cell["donor"] == donor])
        clear = [cell for cell in own if _clear(cell)]
        if clear:
            best = _largest(clear)
            where = f"{_called(best['experiment'])} at {_place(best)}"
            loud.append(f"{DONORS[donor]} in {len(clear)} of {len(own)} cells, at most {_share(best)}, {where}")
        else:
            quiet.append(DONORS[donor])
    parts = [f"no clear effect anywhere with {_listed(quiet)}"] if quiet else []
    parts += [f"a clear effect with {each}" for each in loud]
    return f"Null donors had {'; '.join(parts)}."


def _checks(checks: Sequence[dict[str, Any]]) -> str:
    asserted = [check for check in checks if check["kind"] == "asserted"]
    failed = [check for check in asserted if not check["holds"]]
    if failed:
        listed = _listed(
            [f"{_named(check)} ({check['value']:.2g}, at most {check['tolerance']:.2g})" for check in failed]
        )
        return f"{len(failed)} of {len(asserted)} checks fail, so do not rely on these numbers: {listed}."
    return f"All {len(asserted)} checks of the records hold." if asserted else ""


def _named(check: dict[str, Any]) -> str:
    name = check["name"].replace("_", " ")
    return f"{name}, {check['direction']}" if check["direction"] else name


def _movable(cells: Iterable[Cell]) -> list[Cell]:
    """Cells that could have moved and have a mean."""
    return [cell for cell in cells if not cell["structural"] and cell["effect"]["mean"] is not None]


def _clear(cell: Cell) -> bool:
    effect = cell["effect"]
    return (
        effect["low"] is not None
        and (effect["low"] > 0 or effect["high"] < 0)
        and abs(effect["mean"]) >= SMALLEST
        and cell["q"] is not None
        and cell["q"] <= FALSE_DISCOVERIES
    )


def _largest(cells: Iterable[Cell]) -> Cell:
    return max(cells, key=lambda cell: abs(cell["effect"]["mean"]))


def _nearest(movable: Sequence[Cell], noun: str) -> str:
    best = _largest(movable)
    return f"the largest mean {noun} is {_share(best)}, at {_place(best)}"


def _detectable(cell: Cell) -> str:
    """What this many pairs could have shown, where an interval includes zero."""
    effect, detectable = cell["effect"], cell["minimum_detectable_effect"]
    if effect["low"] is None or not detectable or not effect["low"] <= 0 <= effect["high"]:
        return ""
    return f", where {effect['n']} pairs would show {detectable:.2f} or more four times in five"


def _beyond(cell: Cell) -> str:
    """How the effect compares with that of the null donors at the same cell."""
    if not cell["beyond"]:
        return ""
    sign = 1 if cell["effect"]["mean"] > 0 else -1
    near = [
        DONORS[donor]
        for donor, difference in cell["beyond"].items()
        if difference["low"] is None or min(sign * difference["low"], sign * difference["high"]) <= 0
    ]
    return f", which is not clearly more than with {_listed(near)}" if near else ", more than with any null donor"


def _share(cell: Cell) -> str:
    effect = cell["effect"]
    if effect["low"] is None:
        return f"{_number(effect['mean'])} of the gap (one pair, no interval)"
    return f"{_number(effect['mean'])} of the gap (95 % interval {_number(effect['low'])} to {_number(effect['high'])})"


def _number(value: float) -> str:
    text = f"{value:.2f}"
    return text.lstrip("-") if not float(text) else text.replace("-", "−")


def _place(cell: Cell) -> str:
    if cell["experiment"] == "layer":
        return f"layer {cell['layer']}"
    chained = cell["experiment"] in ("relay", "cumulative")
    return f"layer {cell['layer']}, " + (f"step {cell['step']}" if chained else cell["site"])


def _called(experiment: str) -> str:
    return EXPERIMENTS.get(experiment, experiment).lower()


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
