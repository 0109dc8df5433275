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
    alone = run_of(table, group._replace(experiment="position"), include_incorrect)
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
    means, sure, dead = _squares(cells, sites, interval, structural, alone, single)
    sure &= about.signed  # a distance is never below zero, so that it is above says nothing
    across = min(4, math.ceil(math.sqrt(len(cells.layers))))
    down = math.ceil(len(cells.layers) / across)
    width = min(CELL[0], WIDEST / (across * len(sites)))
    height = width * CELL[1] / CELL[0]
    numbered = width >= NARROWEST_NUMBER and height >= LOWEST_NUMBER
    key = "bold: 95 % interval excludes 0" if numbered and sure.any() else ""
    notes = [direction_note(direction, PAIRED), note, pairs_note(interval, cells, key, structural)]
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
                write_numbers(axes, means[at], present, sure[at], about.format, colour_map, scale)
            _panel_axes(axes, f"layer {cells.layers[at]}", sites, at + across >= len(cells.layers), at % across == 0)
        figure.text(0.1 / wide, 1 - 0.08 / high, title, fontsize=9, fontweight="bold", va="top")
        figure.text(0.1 / wide, 1 - 0.27 / high, "\n".join(notes), fontsize=7, color=MUTED, va="top")
        bar = figure.colorbar(panels[0, 0].images[0], ax=panels, label=about.unit, fraction=0.03, pad=0.02, aspect=30)
        bar.outline.set_visible(False)
        if dead.any():
            figure.legend(handles=[structural_key()], loc="outside lower left")
    return figure


def _sites(cells: Cells) -> list[str]:
    """The sites of all pairs, in the order of the sequence, in which the columns are."""
    return list(dict.fromkeys(site for column in cells.columns for site in column.site.split(JOIN)))


def _squares(
    cells: Cells,
    sites: list[str],
    interval: Interval,
    structural: Bool[np.ndarray, "layer column"],
    alone: Cells | None,
    single: Interval | None,
) -> tuple[
    Float[np.ndarray, "layer site site"], Bool[np.ndarray, "layer site site"], Bool[np.ndarray, "layer site site"]
]:
    """Means, whether their intervals exclude zero, and which are zero by construction; NaN where there is nothing."""
    shape = (len(cells.layers), len(sites), len(sites))
    means, sure, dead = np.full(shape, np.nan), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)

    def place(at: tuple[int, int], layer: slice | np.ndarray, column: int, of: Interval, zero: np.ndarray) -> None:
        row, across = at
        excludes = (of.low[layer, column] > 0) | (of.high[layer, column] < 0)
        dead[:, row, across] = zero[layer, column]
        means[:, row, across] = np.where(zero[layer, column], np.nan, of.mean[layer, column])
        sure[:, row, across] = excludes

    for index, column in enumerate(cells.columns):
        one, other = (sites.index(site) for site in column.site.split(JOIN))
        place((one, other), slice(None), index, interval, structural)
    if alone is not None and single is not None and set(cells.layers) <= set(alone.layers):
        layers = np.searchsorted(alone.layers, cells.layers)
        for index, site in enumerate(sites):
            if Column(site, 0) in alone.columns:
                place((index, index), layers, alone.columns.index(Column(site, 0)), single, alone.structural)
    return means, sure, dead


def _panel_axes(axes: Axes, name: str, sites: list[str], lowest: bool, leftmost: bool) -> None:
    places = range(len(sites))
    axes.set_xticks(places, labels=sites if lowest else [""] * len(sites), rotation=0 if len(sites) < 6 else 45)
    axes.set_yticks(places, labels=sites if leftmost else [""] * len(sites))
    separate_cells(axes, (len(sites), len(sites)))
    axes.set_title(name, loc="left", fontsize=8, fontweight="normal", color=INK)
