"""Components: the cells of all hook points that move the answer most, one below the other, with their controls."""

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from mechpatch.catalogue import PAIRED, direction_label, donor_label, measure_of, role_of
from mechpatch.kinds.cells import ALL
from mechpatch.points import part_named
from mechpatch.stats import Cells, groups, select
from mechpatch.stats.cells import Column, Group
from mechpatch.views.figures.parts import add_title, interval_of, movable
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
    intervals = {group: interval_of(cells, metric) for group, cells in effects.items()}
    means = {group: movable(cells, intervals[group].mean) for group, cells in effects.items()}
    known = [(group, *at) for group, values in means.items() for at in np.argwhere(~np.isnan(values)).tolist()]
    ranked = sorted(known, key=lambda each: -abs(means[each[0]][each[1:]]))[:SHOWN]
    if not ranked:
        return None
    about = measure_of(shown_as(metric, direction))
    controls = [donor for donor in dict.fromkeys(group.donor for group in found) if role_of(donor) == "control"]
    marks = dict(zip(controls, MARKS, strict=False))
    beside = {group: select(table, group, include_incorrect) for group in found if group.donor in marks}
    with style():
        figure = Figure(figsize=(6.4, 0.19 * len(ranked) + 1.5), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=RULE, linewidth=0.8, zorder=0)
        names = []
        for line, (group, row, column) in enumerate(ranked):
            cells = effects[group]
            layer, place = int(cells.layers[row]), cells.columns[column]
            names.append(component(group, layer, place))
            interval = intervals[group]
            mean, low, high = (each[row, column] for each in (interval.mean, interval.low, interval.high))
            axes.plot([low, high], [line, line], color=BLUE, linewidth=1.4, zorder=2)
            axes.plot(mean, line, "o", color=BLUE, markersize=4, zorder=3)
            for donor, mark in marks.items():
                if (other := beside.get(group._replace(donor=donor))) is not None:
                    value = _mean_at(other, metric, layer, place)
                    axes.plot(value, line, mark, color=MUTED, markersize=6, zorder=1)
        axes.set_yticks(range(len(names)), labels=names)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(about.axis)
        for donor, mark in marks.items():
            axes.plot([], [], mark, color=MUTED, markersize=6, label=donor_label(donor))
        notes = [direction_label(direction), "bars: 95 % intervals of each cell alone; the largest of all were picked"]
        notes += [] if controls else ["no control was run"]
        add_title(axes, f"Components that move the answer most: {about.label}", notes)
        if controls:
            figure.legend(loc="outside lower left", ncols=2)
    return figure


def component(group: Group, layer: int, column: Column) -> str:
    """A component as a short label: `z, layer 3, head 5, t4`."""
    site = "all thoughts" if column.site == ALL else column.site
    return ", ".join(filter(None, (group.hook, f"layer {layer}", part_named(group.hook, column.head), site)))


def _read(metric: str) -> str:
    return "effect" if metric == "recovery" else metric


def _mean_at(cells: Cells, metric: str, layer: int, column: Column) -> float:
    """The mean of one cell; NaN where it was not run."""
    if layer not in cells.layers or column not in cells.columns:
        return float("nan")
    values = cells.values(_read(metric))[:, int(np.searchsorted(cells.layers, layer)), cells.columns.index(column)]
    return float(np.nanmean(values)) if (~np.isnan(values)).any() else float("nan")
