"""Components: the cells of all hook points that move the answer most, one below the other, with their controls."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from mechpatch.catalogue import PAIRED, direction_label, donor_label, measure_of, role_of
from mechpatch.kinds import kind_of
from mechpatch.kinds.cells import ALL
from mechpatch.points import POINTS, part_named
from mechpatch.stats import Cells, groups, select
from mechpatch.stats.cells import Column, Group
from mechpatch.views.figures.parts import (
    add_title,
    cells_of,
    direction_note,
    interval_of_values,
    mean_over_pairs,
    movable,
)
from mechpatch.views.figures.theme import BLUE, MUTED, RULE, shown_as, style

SHOWN = 24  # components
MARKS = ("|", "x", "+", "1")


def component_ranking(
    table: pa.Table,
    experiment: str = "position",
    metric: str = "switched",
    direction: str = "denoise",
    include_incorrect: bool = False,
) -> Figure | None:
    """The components with the largest mean, of every hook point that was run; None where only one without parts was.

    A component is a layer of a hook point, or a head or neuron of it, at one position. Each has its 95 % interval, and
    the mean of every control at the same place.
    """
    found = [each for each in groups(table) if (each.experiment, each.direction) == (experiment, direction)]
    effects = {group: select(table, group, include_incorrect) for group in found if group.donor == PAIRED}
    if len(effects) < 2 and not any(cells.heads for cells in effects.values()):
        return None
    controls = [group for group in found if role_of(group.donor) == "control"]
    beside = {group: select(table, group, include_incorrect) for group in controls}
    return _ranking(effects, beside, metric, direction_label(direction), "Components")


def neuron_ranking(table: pa.Table, group: Group, metric: str = "switched", include_incorrect: bool = False) -> Figure:
    """The neurons with the largest mean in one group of cells, as `component_ranking` draws them; a map of thousands of
    neurons could not be read.

    Raises:
        SpecError: the table has no such cells.
    """
    effects = {group: cells_of(table, group, include_incorrect)}
    controls = [
        each
        for each in groups(table)
        if group.donor == PAIRED and role_of(each.donor) == "control" and each._replace(donor=PAIRED) == group
    ]
    beside = {each: select(table, each, include_incorrect) for each in controls}
    note = f"{kind_of(group.experiment).label}, {direction_note(group.direction, group.donor)}"
    return _ranking(effects, beside, metric, note, "Neurons") or _nothing(metric, note)


def _nothing(metric: str, note: str) -> Figure:
    """What stands where no pair has a value of a metric."""
    with style():
        figure = Figure(figsize=(6.4, 1.5), layout="constrained")
        axes = figure.add_subplot()
        axes.set_axis_off()
        add_title(axes, f"Neurons: {measure_of(metric).label}", [note, "no pair has a value"])
    return figure


def _ranking(
    effects: Mapping[Group, Cells], controls: Mapping[Group, Cells], metric: str, note: str, what: str
) -> Figure | None:
    """The cells with the largest mean, with intervals, and marks for the controls at the same place; None without.

    Where equally many pairs switch, as with most neurons none do, the larger mean effect comes first.
    """
    direction = next(iter(effects)).direction
    values = {group: cells.values(_read(metric)) for group, cells in effects.items()}
    means = {group: movable(cells, mean_over_pairs(values[group])) for group, cells in effects.items()}
    known = [(group, *at) for group, values in means.items() for at in np.argwhere(~np.isnan(values)).tolist()]
    then = {group: np.nan_to_num(mean_over_pairs(cells.values("effect"))) for group, cells in effects.items()}
    size = [(-abs(means[group][at, of]), -abs(then[group][at, of])) for group, at, of in known]
    ranked = [known[place] for place in sorted(range(len(known)), key=size.__getitem__)[:SHOWN]]
    if not ranked:
        return None
    # Intervals take time, so only what is drawn has one.
    drawn = [interval_of_values(values[group][:, [row], [column]], metric) for group, row, column in ranked]
    about = measure_of(shown_as(metric, direction))
    marks = dict(zip(dict.fromkeys(group.donor for group in controls), MARKS, strict=False))
    with style():
        figure = Figure(figsize=(6.4, 0.19 * len(ranked) + 1.5), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=RULE, linewidth=0.8, zorder=0)
        names = []
        for line, (group, row, column) in enumerate(ranked):
            cells = effects[group]
            layer, place = int(cells.layers[row]), cells.columns[column]
            names.append(component(group, layer, place, named=len(effects) > 1 or not POINTS[group.hook].of_neurons))
            mean, low, high = (float(each[0]) for each in (drawn[line].mean, drawn[line].low, drawn[line].high))
            axes.plot([low, high], [line, line], color=BLUE, linewidth=1.4, zorder=2)
            axes.plot(mean, line, "o", color=BLUE, markersize=4, zorder=3)
            for donor, mark in marks.items():
                if (other := controls.get(group._replace(donor=donor))) is not None:
                    value = _mean_at(other, metric, layer, place)
                    axes.plot(value, line, mark, color=MUTED, markersize=6, zorder=1)
        axes.set_yticks(range(len(names)), labels=names)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(about.axis)
        for donor, mark in marks.items():
            axes.plot([], [], mark, color=MUTED, markersize=6, label=donor_label(donor))
        picked = "all cells" if len(ranked) == len(known) else f"the largest {len(ranked)} of {len(known):,} cells"
        notes = [note, f"{picked}; bars: 95 % intervals of each cell alone"]
        notes += ["an interval does not know that its cell was picked"] if len(ranked) < len(known) else []
        notes += [] if marks else ["no control was run"]
        left_out = sum(cells.left_out for cells in effects.values())
        notes += [f"of {left_out:,} more cells, which a screen left out, nothing is known"] if left_out else []
        moving = any(means[group][row, column] for group, row, column in ranked)
        title = f"{what} that move the answer most" if moving else f"{what}, all of them at 0"
        add_title(axes, f"{title}: {about.label}", notes)
        if marks:
            figure.legend(loc="outside lower left", ncols=2)
    return figure


def component(group: Group, layer: int, column: Column, named: bool = True) -> str:
    """A component as a short label: `z, layer 3, head 5, t4`; without its hook point where only one is drawn."""
    site = "all thoughts" if column.site == ALL else column.site
    parts = (group.hook if named else "", f"layer {layer}", part_named(group.hook, column.head), site)
    return ", ".join(filter(None, parts))


def _read(metric: str) -> str:
    return "effect" if metric == "recovery" else metric


def _mean_at(cells: Cells, metric: str, layer: int, column: Column) -> float:
    """The mean of one cell; NaN where it was not run."""
    if layer not in cells.layers or column not in cells.columns:
        return float("nan")
    values = cells.values(_read(metric))[:, int(np.searchsorted(cells.layers, layer)), cells.columns.index(column)]
    return float(np.nanmean(values)) if (~np.isnan(values)).any() else float("nan")
