"""Heat maps: layers upwards, positions along the sequence or the steps of a chain across."""

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mechpatch.stats import Cells
from mechpatch.stats.cells import Group
from mechpatch.views.parts import add_title, cells_of, direction_note, interval_of, movable, pairs_note, structural_key
from mechpatch.views.theme import (
    EXPERIMENTS,
    HATCH,
    HATCH_INK,
    MUTED,
    STRUCTURAL,
    colours,
    describe,
    ink_on,
    shown_as,
    style,
)

CELL_WIDTH, CELL_HEIGHT, LARGEST_GRID = 0.54, 0.3, (9.0, 9.0)  # inches; the grid as (height, width)
NARROWEST_NUMBER, LOWEST_NUMBER = 0.36, 0.17  # a smaller cell has no room for its value


def heatmap(
    table: pa.Table,
    metric: str = "recovery",
    experiment: str = "position",
    direction: str = "denoise",
    donor: str = "paired",
    include_incorrect: bool = False,
) -> Figure:
    """Mean over pairs of every layer (upwards) and column (along the sequence, or the steps of a chain).

    For direction `noise`, `recovery` is drawn as 1 − recovery, the share that is destroyed.

    Raises:
        SpecError: the table has no such experiment.
    """
    cells = cells_of(table, Group(experiment, direction, donor), include_incorrect)
    interval = interval_of(cells, metric)
    about = describe(shown_as(metric, direction))
    shape = cells.structural.shape
    height, width = (
        min(size, limit / n) for size, limit, n in zip((CELL_HEIGHT, CELL_WIDTH), LARGEST_GRID, shape, strict=True)
    )
    with style():
        figure = Figure(figsize=(width * shape[1] + 1.9, height * shape[0] + 1.35), layout="constrained")
        axes = figure.add_subplot()
        shown = movable(cells, interval.mean)
        colour_map, scale = colours(about, shown)
        image = axes.imshow(shown, cmap=colour_map, norm=scale, origin="lower", aspect="auto")
        _mark_structural(axes, cells)
        sure = (interval.low > 0) | (interval.high < 0) if about.signed else np.zeros(shape, dtype=bool)
        numbered = width >= NARROWEST_NUMBER and height >= LOWEST_NUMBER
        if numbered:
            for (row, column), value in np.ndenumerate(shown):
                if not cells.structural[row, column]:
                    text = "–" if np.isnan(value) else _written(value, about.format)
                    axes.text(
                        column,
                        row,
                        text,
                        ha="center",
                        va="center_baseline",
                        fontsize=7,
                        fontweight="bold" if sure[row, column] else "normal",
                        color=MUTED if np.isnan(value) else ink_on(colour_map(scale(value))),
                    )
        _grid_axes(axes, cells, upright=width < NARROWEST_NUMBER)
        key = "bold: 95 % interval excludes 0" if sure.any() and numbered else ""
        notes = [direction_note(direction, donor), pairs_note(interval, cells, key)]
        add_title(axes, f"{EXPERIMENTS.get(experiment, experiment)}: {about.label}", notes)
        bar = figure.colorbar(image, ax=axes, label=about.unit, fraction=0.08, pad=0.02, aspect=7 * height * shape[0])
        bar.outline.set_visible(False)
        if cells.structural.any():
            figure.legend(handles=[structural_key()], loc="outside lower left")
    return figure


def _written(value: float, form: str) -> str:
    """A value in its format, with a true minus and no minus on a rounded zero."""
    text = format(value, form)
    return text.lstrip("-") if not float(text) else text.replace("-", "−")


def _grid_axes(axes: Axes, cells: Cells, upright: bool) -> None:
    chained = len({column.step for column in cells.columns}) > 1
    names = [str(column.step) if chained else column.site for column in cells.columns]
    every = max(1, -(-len(cells.layers) // 40))
    axes.set_xticks(range(len(names)), labels=names, rotation=90 if upright else 0)
    axes.set_yticks(range(0, len(cells.layers), every), labels=[str(layer) for layer in cells.layers[::every]])
    axes.set(xlabel="Step" if chained else "Position", ylabel="Layer")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    # White lines between cells, drawn as a grid on the minor ticks.
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(cells.layers) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)


def _mark_structural(axes: Axes, cells: Cells) -> None:
    for row, column in np.argwhere(cells.structural):
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5), 1, 1, facecolor=STRUCTURAL, hatch=HATCH, edgecolor=HATCH_INK, linewidth=0
            )
        )
