"""Heat maps: layers upwards, positions along the sequence or the steps of a chain across."""

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mechpatch.catalogue import PAIRED, Measure, measure_of
from mechpatch.kinds import kind_of
from mechpatch.points import POINTS, RESID_POST
from mechpatch.stats import Cells, Interval
from mechpatch.stats.cells import JOIN, Group
from mechpatch.stats.sets import lost, synergy
from mechpatch.views.figures.components import neuron_ranking
from mechpatch.views.figures.heads import head_maps
from mechpatch.views.figures.parts import (
    add_bar,
    add_title,
    best_control,
    cells_of,
    clear_cells,
    controls_note,
    direction_note,
    interval_of,
    interval_of_difference,
    mark_controls,
    mark_structural,
    pairs_note,
    run_of,
    separate_cells,
    structural_key,
    titled,
    wrapped,
    write_numbers,
)
from mechpatch.views.figures.theme import COLUMNS, DIFFERENCES, colours, shown_as, style

CELL_WIDTH, CELL_HEIGHT, HIGHEST, BESIDE = 0.6, 0.3, 9.0, 1.25  # inches: of a cell, of all layers, beside the cells
NARROWEST_NUMBER, LOWEST_NUMBER = 0.25, 0.17  # a smaller cell has no room for its value
LETTER = 0.075  # inches, of a column's name
TICKED = ("switched", "neither", "recovery", "effect")  # from 0 to 1, as far as a control goes


def heatmap(
    table: pa.Table,
    metric: str = "recovery",
    experiment: str = "position",
    direction: str = "denoise",
    donor: str = PAIRED,
    include_incorrect: bool = False,
    hook: str = RESID_POST,
    column: str = "double",
) -> Figure:
    """Mean over pairs of every layer (upwards) and column (along the sequence, or the steps of a chain).

    A hook point with heads has a map of layers × heads for every column; of neurons, too many for a map, the cells with
    the largest means stand one below the other.

    Bold is clear; the tick in a cell is the best control. For direction `noise`, `recovery` is drawn as 1 − recovery,
    the share that is destroyed.

    Raises:
        SpecError: the table has no such experiment.
    """
    group = Group(experiment, direction, donor, hook)
    if hook in POINTS and POINTS[hook].of_neurons:
        return neuron_ranking(table, group, metric, include_incorrect)
    cells = cells_of(table, group, include_incorrect)
    about = measure_of(shown_as(metric, direction))
    best = best_control(table, group, metric, include_incorrect) if donor == PAIRED else None
    note = controls_note(cells, best, about) if donor == PAIRED else ""
    if cells.heads:
        return head_maps(group, cells, metric, note)
    if metric not in TICKED:
        best = None
    clear = clear_cells(table, group, metric, include_incorrect)
    return _draw(group, cells, interval_of(cells, metric), cells.structural, about, note, clear, column, best)


def difference_map(
    table: pa.Table,
    experiment: str,
    direction: str = "denoise",
    include_incorrect: bool = False,
    hook: str = RESID_POST,
    column: str = "double",
) -> Figure | None:
    """What `leave_one_out` loses against `layer`, or a `subset` does beyond `position`; None without those in the run.

    Raises:
        SpecError: the table has no such experiment.
    """
    group = Group(experiment, direction, PAIRED, hook)
    cells = cells_of(table, group, include_incorrect)
    single = run_of(table, group._replace(experiment="position"), include_incorrect)
    whole = run_of(table, group._replace(experiment="layer"), include_incorrect)
    name = kind_of(experiment).gives
    if name == "lost" and whole is not None:
        found = lost(cells, whole, single)
    elif name == "synergy" and single is not None:
        found = synergy(cells, single)
    else:
        return None
    about, note = DIFFERENCES[name]
    clear = clear_cells(table, group, name, include_incorrect)
    return _draw(group, cells, interval_of_difference(found), found.structural, about, note, clear, column)


def _draw(
    group: Group,
    cells: Cells,
    interval: Interval,
    structural: Bool[np.ndarray, "layer column"],
    about: Measure,
    note: str,
    clear: Bool[np.ndarray, "layer column"],
    column: str,
    best: Float[np.ndarray, "layer column"] | None = None,
) -> Figure:
    """One mean for each layer and column; `note` says what is shown where the title cannot."""
    shape, widest = structural.shape, COLUMNS[column]
    height = min(CELL_HEIGHT, HIGHEST / shape[0])
    width = min(CELL_WIDTH, (widest - BESIDE) / shape[1])
    shown = np.where(structural, np.nan, interval.mean)
    numbered = width >= NARROWEST_NUMBER and height >= LOWEST_NUMBER
    key = "bold: clear" if clear.any() and numbered else ""
    ticks = "tick: the best control, from 0 to 100 % across the cell" if best is not None else ""
    size = max(width * shape[1] + BESIDE, COLUMNS["single"])
    notes = [direction_note(group.direction, group.donor), note, ticks, pairs_note(interval, cells, key, structural)]
    title, notes = wrapped(titled(group, about), notes, size - 0.6)
    with style():
        high = height * shape[0] + 0.95 + 0.14 * (len(notes) + title.count("\n"))
        figure = Figure(figsize=(size, high), layout="constrained")
        axes = figure.add_subplot()
        colour_map, scale = colours(about, shown)
        image = axes.imshow(shown, cmap=colour_map, norm=scale, origin="lower", aspect="auto")
        mark_structural(axes, structural)
        if numbered:
            small = 7.0 if width >= 0.4 else 6.0
            write_numbers(axes, shown, ~structural, clear, about, colour_map, scale, small)
        if best is not None:
            mark_controls(axes, best, shown, colour_map, scale)
        _grid_axes(axes, group.experiment, cells, width)
        add_title(axes, title, notes)
        add_bar(figure, image, about, shown, ax=axes, fraction=0.08, pad=0.02, aspect=7 * height * shape[0])
        if structural.any():
            figure.legend(handles=[structural_key()], loc="outside lower left")
    return figure


def _grid_axes(axes: Axes, experiment: str, cells: Cells, width: float) -> None:
    """Name the axes; the names of columns stand upright where they are wider than a cell of `width` inches."""
    chained = len({column.step for column in cells.columns}) > 1
    names = [str(column.step) if chained else column.site for column in cells.columns]
    every = max(1, -(-len(cells.layers) // 40))
    broken = [name.replace(JOIN, f"\n{JOIN} ") for name in names]
    upright = max(len(line) for name in broken for line in name.split("\n")) * LETTER > width
    names = names if upright else broken
    axes.set_xticks(range(len(names)), labels=names, rotation=90 if upright else 0)
    axes.set_yticks(range(0, len(cells.layers), every), labels=[str(layer) for layer in cells.layers[::every]])
    kind = kind_of(experiment)
    axes.set(xlabel="Step" if chained else kind.across, ylabel=kind.up)
    separate_cells(axes, cells.structural.shape)
