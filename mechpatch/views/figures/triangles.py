"""Two sites at once: for each layer a triangle, the first site down and the second across."""

import math

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mechpatch.catalogue import PAIRED, measure_of
from mechpatch.errors import SpecError
from mechpatch.points import RESID_POST
from mechpatch.stats import Cells, Interval
from mechpatch.stats.cells import JOIN, Column, Group
from mechpatch.stats.sets import synergy
from mechpatch.views.figures.heatmaps import LOWEST_NUMBER, NARROWEST_NUMBER
from mechpatch.views.figures.parts import (
    add_bar,
    best_control,
    cells_of,
    clear_cells,
    controls_note,
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
from mechpatch.views.figures.theme import DIFFERENCES, INK, MUTED, colours, shown_as, style

CELL, WIDEST = (0.4, 0.26), 11.0  # inches: width and height of a cell, width of all panels


def pair_maps(
    table: pa.Table,
    what: str = "recovery",
    direction: str = "denoise",
    include_incorrect: bool = False,
    hook: str = RESID_POST,
) -> Figure:
    """Mean over pairs of every two sites, one triangle for each layer; on the diagonal each site alone, if it was run.

    Args:
        what: `synergy` (effect of both − sum of each alone, which needs the position-wise experiment) or a metric.

    Raises:
        SpecError: the table has no such experiment.
    """
    group = Group("pairwise", direction, PAIRED, hook)
    cells = cells_of(table, group, include_incorrect)
    alone_group = group._replace(experiment="position")
    alone = run_of(table, alone_group, include_incorrect)
    if what == "synergy":
        if alone is None:
            raise SpecError("synergy needs the position-wise experiment in the same run: run `position pairwise`")
        found, (about, note) = synergy(cells, alone), DIFFERENCES["synergy"]
        interval, structural, alone = interval_of_difference(found), found.structural, None
    else:
        interval, structural, about = interval_of(cells, what), cells.structural, measure_of(shown_as(what, direction))
        note = "on the diagonal: one position alone" if alone is not None else ""
    sites = _sites(cells)
    single = interval_of(alone, what) if alone is not None else None
    clear = clear_cells(table, group, what, include_incorrect)
    clear_alone = clear_cells(table, alone_group, what, include_incorrect) if alone is not None else None
    means, sure, dead = _squares(cells, sites, (interval.mean, clear, structural), alone, single, clear_alone)
    across = min(4, math.ceil(math.sqrt(len(cells.layers))))
    down = math.ceil(len(cells.layers) / across)
    width = min(CELL[0], WIDEST / (across * len(sites)))
    height = width * CELL[1] / CELL[0]
    numbered = width >= NARROWEST_NUMBER and height >= LOWEST_NUMBER
    key = "bold: clear" if numbered and sure.any() else ""
    best = None if what == "synergy" else best_control(table, group, what, include_incorrect)
    beside = "" if what == "synergy" else controls_note(cells, best, about)
    notes = [direction_note(direction, PAIRED), note, beside, pairs_note(interval, cells, key, structural)]
    notes = [each for each in notes if each]
    title = titled(group, about)
    with style():
        wide = max(across * (width * len(sites) + 0.3) + 1.4, room_for(title, notes))
        high = down * (height * len(sites) + 0.5) + 1.3
        figure = Figure(figsize=(wide, high), layout="constrained")
        heading = 0.3 + 0.13 * len(notes)  # inches over the panels
        layout = figure.get_layout_engine()
        assert layout is not None
        layout.set(rect=(0, 0, 1, 1 - heading / high))  # pyright: ignore[reportCallIssue]
        panels = figure.subplots(down, across, squeeze=False)
        colour_map, scale = colours(about, means)
        for at, axes in enumerate(panels.flat):
            if at >= len(cells.layers):
                axes.set_axis_off()
                continue
            axes.imshow(means[at], cmap=colour_map, norm=scale, aspect="auto")
            mark_structural(axes, dead[at])
            if numbered:
                present = ~np.isnan(means[at])
                write_numbers(axes, means[at], present, sure[at], about, colour_map, scale)
            _panel_axes(axes, f"layer {cells.layers[at]}", sites, at + across >= len(cells.layers), at % across == 0)
        figure.text(0.1 / wide, 1 - 0.08 / high, title, fontsize=9, fontweight="bold", va="top")
        figure.text(0.1 / wide, 1 - 0.27 / high, "\n".join(notes), fontsize=7, color=MUTED, va="top")
        add_bar(figure, panels[0, 0].images[0], about, means, ax=panels, fraction=0.03, pad=0.02, aspect=30)
        if dead.any():
            figure.legend(handles=[structural_key()], loc="outside lower left")
    return figure


def _sites(cells: Cells) -> list[str]:
    """The sites of all pairs, in the order of the sequence, in which the columns are."""
    return list(dict.fromkeys(site for column in cells.columns for site in column.site.split(JOIN)))


def _squares(
    cells: Cells,
    sites: list[str],
    shown: tuple[Float[np.ndarray, "layer column"], Bool[np.ndarray, "layer column"], Bool[np.ndarray, "layer column"]],
    alone: Cells | None,
    single: Interval | None,
    clear_alone: Bool[np.ndarray, "layer2 column2"] | None,
) -> tuple[
    Float[np.ndarray, "layer site site"], Bool[np.ndarray, "layer site site"], Bool[np.ndarray, "layer site site"]
]:
    """Means, whether they are clear, and which are zero by construction; NaN where there is nothing."""
    size = (len(cells.layers), len(sites), len(sites))
    means, sure, dead = np.full(size, np.nan), np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)

    def place(at: tuple[int, int], values: np.ndarray, clear: np.ndarray, zero: np.ndarray) -> None:
        row, across = at
        dead[:, row, across], sure[:, row, across] = zero, clear
        means[:, row, across] = np.where(zero, np.nan, values)

    for index, column in enumerate(cells.columns):
        one, other = (sites.index(site) for site in column.site.split(JOIN))
        place((one, other), *(each[:, index] for each in shown))
    if alone is not None and single is not None and clear_alone is not None and set(cells.layers) <= set(alone.layers):
        layers = np.searchsorted(alone.layers, cells.layers)
        for index, site in enumerate(sites):
            if Column(site, 0) in alone.columns:
                at = alone.columns.index(Column(site, 0))
                place((index, index), *(each[layers, at] for each in (single.mean, clear_alone, alone.structural)))
    return means, sure, dead


def _panel_axes(axes: Axes, name: str, sites: list[str], lowest: bool, leftmost: bool) -> None:
    places = range(len(sites))
    axes.set_xticks(places, labels=sites if lowest else [""] * len(sites), rotation=0 if len(sites) < 6 else 45)
    axes.set_yticks(places, labels=sites if leftmost else [""] * len(sites))
    separate_cells(axes, (len(sites), len(sites)))
    axes.set_title(name, loc="left", fontsize=8, fontweight="normal", color=INK)
