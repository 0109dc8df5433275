"""Heat maps: layers upwards, positions along the sequence or the steps of a chain across."""

import numpy as np
import pyarrow as pa
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mechpatch.catalogue import PAIRED, Measure, measure_of
from mechpatch.kinds import kind_of
from mechpatch.points import RESID_POST
from mechpatch.stats import Cells, Interval
from mechpatch.stats.cells import JOIN, Group
from mechpatch.stats.sets import lost, synergy
from mechpatch.views.figures.heads import head_maps
from mechpatch.views.figures.parts import (
    add_title,
    cells_of,
    direction_note,
    interval_of,
    interval_of_difference,
    mark_structural,
    pairs_note,
    room_for,
    run_of,
    separate_cells,
    structural_key,
    titled,
    write_numbers,
)
from mechpatch.views.figures.theme import DIFFERENCES, colours, shown_as, style

CELL_WIDTH, CELL_HEIGHT, LARGEST_GRID = 0.54, 0.3, (9.0, 9.0)  # inches; the grid as (height, width)
NARROWEST_NUMBER, LOWEST_NUMBER = 0.36, 0.17  # a smaller cell has no room for its value


def heatmap(
    table: pa.Table,
    metric: str = "recovery",
    experiment: str = "position",
    direction: str = "denoise",
    donor: str = PAIRED,
    include_incorrect: bool = False,
    hook: str = RESID_POST,
) -> Figure:
    """Mean over pairs of every layer (upwards) and column (along the sequence, or the steps of a chain).

    A hook point with heads has a map of layers × heads for every column.

    For direction `noise`, `recovery` is drawn as 1 − recovery, the share that is destroyed.

    Raises:
        SpecError: the table has no such experiment.
    """
    group = Group(experiment, direction, donor, hook)
    cells = cells_of(table, group, include_incorrect)
    if cells.heads:
        return head_maps(group, cells, metric)
    about = measure_of(shown_as(metric, direction))
    return _draw(group, cells, interval_of(cells, metric), cells.structural, about, "")


def difference_map(
    table: pa.Table,
    experiment: str,
    direction: str = "denoise",
    include_incorrect: bool = False,
    hook: str = RESID_POST,
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
    return _draw(group, cells, interval_of_difference(found), found.structural, about, note)


def _draw(
    group: Group,
    cells: Cells,
    interval: Interval,
    structural: Bool[np.ndarray, "layer column"],
    about: Measure,
    note: str,
) -> Figure:
    """One mean for each layer and column; `note` says what is shown where the title cannot."""
    shape = structural.shape
    height, width = (
        min(size, limit / n) for size, limit, n in zip((CELL_HEIGHT, CELL_WIDTH), LARGEST_GRID, shape, strict=True)
    )
    shown = np.where(structural, np.nan, interval.mean)
    sure = (interval.low > 0) | (interval.high < 0) if about.signed else np.zeros(shape, dtype=bool)
    numbered = width >= NARROWEST_NUMBER and height >= LOWEST_NUMBER
    key = "bold: 95 % interval excludes 0" if sure.any() and numbered else ""
    notes = [direction_note(group.direction, group.donor), note, pairs_note(interval, cells, key, structural)]
    title = titled(group, about)
    with style():
        size = max(width * shape[1] + 1.9, room_for(title, notes)), height * shape[0] + 1.35
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        colour_map, scale = colours(about, shown)
        image = axes.imshow(shown, cmap=colour_map, norm=scale, origin="lower", aspect="auto")
        mark_structural(axes, structural)
        if numbered:
            write_numbers(axes, shown, ~structural, sure, about.format, colour_map, scale)
        _grid_axes(axes, group.experiment, cells, upright=width < NARROWEST_NUMBER)
        add_title(axes, title, [*filter(None, notes)])
        bar = figure.colorbar(image, ax=axes, label=about.unit, fraction=0.08, pad=0.02, aspect=7 * height * shape[0])
        bar.outline.set_visible(False)
        if structural.any():
            figure.legend(handles=[structural_key()], loc="outside lower left")
    return figure


def _grid_axes(axes: Axes, experiment: str, cells: Cells, upright: bool) -> None:
    chained = len({column.step for column in cells.columns}) > 1
    names = [str(column.step) if chained else column.site for column in cells.columns]
    every = max(1, -(-len(cells.layers) // 40))
    if any(JOIN in name for name in names) and not upright:
        names = [name.replace(JOIN, f"\n{JOIN} ") for name in names]
    axes.set_xticks(range(len(names)), labels=names, rotation=90 if upright else 0)
    axes.set_yticks(range(0, len(cells.layers), every), labels=[str(layer) for layer in cells.layers[::every]])
    kind = kind_of(experiment)
    axes.set(xlabel="Step" if chained else kind.across, ylabel=kind.up)
    separate_cells(axes, cells.structural.shape)
