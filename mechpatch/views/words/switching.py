"""What was found in one direction: how many pairs switch to the other side's answer, beside the controls.

Where the switch of the leading cell is not clear, the sentences say that and why, and claim nothing. They are of one
map, that of the leading cell, whose hook point they name; the maps of the other hook points have a sentence together.
"""

from collections.abc import Sequence

from mechpatch.catalogue import PAIRED, donor_label
from mechpatch.formats import percent
from mechpatch.points import RESID_POST, part_named
from mechpatch.stats.cell_values import CellSummary
from mechpatch.stats.cells import Group, at_thoughts
from mechpatch.stats.clear import FEWEST_PAIRS, controls, is_clear
from mechpatch.stats.maximum import Best
from mechpatch.stats.others import OtherAnswer
from mechpatch.stats.summary_values import Summary
from mechpatch.views.words.claims import (
    GIVEN,
    NOUN,
    alone,
    called,
    can_move,
    counted,
    largest,
    listed,
    place,
    portion,
    quoted,
    why_not,
)

INTO = {"denoise": ("clean", "corrupted"), "noise": ("corrupted", "clean")}


def finding(summary: Summary, cell: CellSummary) -> str:
    """What is found at a leading cell, and at those of its map that are as good."""
    told = _switch if is_clear(cell) else _no_switch
    return " ".join(
        filter(None, (*told(summary, cell), _silent(summary, cell), _wrecked(summary, cell), _others(summary, cell)))
    )


def of_hook(hook: str) -> str:
    """What follows a word for what is written: " of z"; empty for `resid_post`."""
    return "" if hook == RESID_POST else f" of {hook}"


def other_maps(summary: Summary, cell: CellSummary) -> list[CellSummary]:
    """The first of `top` at each other hook point, of the same experiment and direction as `cell`."""
    first: dict[str, CellSummary] = {}
    for each in summary.top:
        if (each.experiment, each.direction) == (cell.experiment, cell.direction) and each.hook != cell.hook:
            first.setdefault(each.hook, each)
    return [*first.values()]


def map_of(summary: Summary, cell: CellSummary) -> list[CellSummary]:
    """The cells of the effect that are drawn in one map with `cell`."""
    group = _group(cell)._replace(donor=PAIRED)
    return [each for each in summary.cells if _group(each) == group]


def of_the_best(best: Best | None) -> str:
    """The interval of a share that is the largest of a map."""
    if best is None:
        return ""
    chosen = f", of the best of {best.cells} cells" if best.cells > 1 else ""
    if best.left_out:
        left = f"the screen left {best.left_out:,} of the map out"
        chosen = f", the largest of {counted(best.cells, 'cell')} that were run; {left}"
    return f" (95 % interval {percent(best.low)} to {percent(best.high)}{chosen})"


def _switch(summary: Summary, cell: CellSummary) -> Sequence[str]:
    source, run = INTO[cell.direction]
    best = [
        each
        for each in map_of(summary, cell)
        if at_thoughts(each.site) == at_thoughts(cell.site)
        and each.switched.share == cell.switched.share
        and is_clear(each)
    ]
    if cell.experiment == "position":
        at = f"at a thought of the {run} run" if _alone(summary, cell) else f"into the {run} run"
        how, alone = f"Writing one {source} vector{of_hook(cell.hook)} {at} makes", ""
        where = _spots(best)
    else:
        how, alone = f"With {_by(cell)},", _alone(summary, cell)
        where = place(cell)
    reached = f"up to {portion(cell.switched)} of {cell.switched.n} pairs"
    interval = of_the_best(summary.best_of(cell))
    text = f"{how} {reached}{interval} give the {GIVEN[cell.direction]} answer{alone}, at {where}."
    return text, _strongest_control(summary, cell)


def _no_switch(summary: Summary, cell: CellSummary) -> Sequence[str]:
    switched, answer = cell.switched, GIVEN[cell.direction]
    if not switched.n:
        return ("No pair has two different answers that are both given right, so none can switch.",)
    if not switched.count:
        where = "by a write at thoughts alone" if at_thoughts(cell.site) else "anywhere"
        where += ", of the cells that were run" if _partly_run(summary, cell) else ""
        text = (
            f"With {_by(cell)} no pair switches to the {answer} answer {where}: 0 of {switched.n}, at "
            f"most {percent(switched.high)} in each cell (95 % interval)."
        )
    else:
        interval = of_the_best(summary.best_of(cell))
        text = (
            f"With {_by(cell)} at most {switched.count} of {counted(switched.n, 'pair')} give the {answer} "
            f"answer{_alone(summary, cell)}, {portion(switched)}{interval}, at {place(cell)}{why_not(switched)}."
        )
    return text, _moved(summary, cell)


def _moved(summary: Summary, cell: CellSummary) -> str:
    """Where no switch is clear, a clear mean effect is still a finding."""
    movable = can_move(map_of(summary, cell))
    clear = [each for each in movable if is_clear(each, "effect")]
    if not clear:
        return ""
    best = largest(clear)
    return (
        f"The mean {NOUN[cell.direction]} is clear in {len(clear)} of {counted(len(movable), 'cell')}, the largest at "
        f"{place(best)}: {alone(best.effect)}."
    )


def _strongest_control(summary: Summary, leading: CellSummary) -> str:
    """The largest share of any control at any cell of the map."""
    shares = [
        (test.share, donor, cell)
        for cell in _movable(summary, leading)
        for donor, test in cell.switched.beyond.items()
        if donor in controls(cell.switched) and test.share is not None
    ]
    if not shares:
        return ""
    most, donor, cell = max(shares, key=lambda each: each[0])
    anywhere = "at any cell that was run" if _partly_run(summary, leading) else "at any cell"
    if not most:
        return f"With the controls none does, {anywhere}."
    return f"No control exceeds {percent(most)} {anywhere} ({donor_label(donor)}, {place(cell)})."


def _partly_run(summary: Summary, cell: CellSummary) -> bool:
    """Whether a screen left cells of this map out."""
    screen = summary.screen_of(cell)
    return screen is not None and screen.left_out > 0


def _silent(summary: Summary, leading: CellSummary) -> str:
    """Positions at which no pair switches at any layer that could move, with what so many pairs can exclude."""
    if leading.experiment != "position" or leading.switched.n < FEWEST_PAIRS or not leading.switched.count:
        return ""
    if _partly_run(summary, leading):
        return ""  # nobody knows what passes there by the cells that were not run
    by_site: dict[str, list[CellSummary]] = {}
    for cell in _movable(summary, leading):
        by_site.setdefault(cell.site, []).append(cell)
    silent = [site for site, cells in by_site.items() if not any(cell.switched.count for cell in cells)]
    if not silent:
        return ""
    bounds = [cell.switched.high for site in silent for cell in by_site[site] if cell.switched.high is not None]
    where = listed(silent) if leading.hook == RESID_POST else f"{leading.hook} at {listed(silent)}"
    return f"Nothing passes through {where} (no pair at any layer; at most {percent(max(bounds))} in each cell)."


def _others(summary: Summary, leading: CellSummary) -> str:
    """The largest share at each other hook point, and whether it is clear."""
    others = [cell for cell in other_maps(summary, leading) if cell.switched.n]
    if not others:
        return ""
    told = [
        f"at most {portion(cell.switched)} at {place(cell)} ({'clear' if is_clear(cell) else 'not clear'})"
        if cell.switched.count
        else f"no pair at {cell.hook}"
        for cell in others
    ]
    where = ", by a write at thoughts alone" if all(at_thoughts(cell.site) for cell in others) else ""
    ran = ", of the cells that were run" if any(_partly_run(summary, cell) for cell in others) else ""
    point = "points" if len(others) > 1 else "point"
    return f"At the other hook {point}{where}{ran}: {listed(told)}."


def _alone(summary: Summary, cell: CellSummary) -> str:
    """Says that a largest share is one of thoughts, where other positions were written, too: they may have more."""
    if at_thoughts(cell.site) and not all(at_thoughts(each.site) for each in map_of(summary, cell)):
        return " by a write at thoughts alone"
    return ""


def _by(cell: CellSummary) -> str:
    return f"{called(cell.experiment)}{of_hook(cell.hook)}"


def _wrecked(summary: Summary, cell: CellSummary) -> str:
    if not cell.neither.count:
        return ""
    return f"At {place(cell)} {portion(cell.neither)} of the pairs give neither answer{_said(summary.other_at(cell))}."


def _said(other: OtherAnswer | None) -> str:
    """What pairs say that give neither answer, where the run kept it."""
    if other is None:
        return ""
    text = f"‘{quoted(other.said)}’" if other.said else "nothing"
    if other.n == 1:
        return f" (one pair, which says {text})"
    if other.count == 1:
        return f" (no two of these {other.n} say the same; one says {text})"
    if other.count == other.n:
        return f" (all {other.n} say {text})"
    return f" ({other.count} of these {other.n} say {text}, and nothing is said more often)"


def _movable(summary: Summary, cell: CellSummary) -> list[CellSummary]:
    return [each for each in map_of(summary, cell) if not each.structural and each.switched.n]


def _group(cell: CellSummary) -> Group:
    return Group(*(getattr(cell, name) for name in Group._fields))


def _spots(cells: Sequence[CellSummary]) -> str:
    """Sites with the layers at which they are: "t4 (layers 0–1) and t3 (layer 3)", "t4, head 1 (layer 2)"."""
    layers: dict[str, list[int]] = {}
    for cell in sorted(cells, key=lambda cell: cell.layer):
        name = ", ".join(filter(None, (cell.site, part_named(cell.hook, cell.head))))
        layers.setdefault(name, []).append(cell.layer)
    return listed([f"{site} ({_layers(found)})" for site, found in layers.items()])


def _layers(numbers: Sequence[int]) -> str:
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    named = ", ".join(f"{span[0]}–{span[-1]}" if len(span) > 1 else str(span[0]) for span in spans)
    return f"layer{'s' if len(numbers) > 1 else ''} {named}"
