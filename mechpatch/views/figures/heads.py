"""Heads: a map of layers × heads for every position, and which thought is read by which head.

Where a screen left cells out, these are grey: nobody knows what they do.
"""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mechpatch.catalogue import PAIRED, Measure, measure_of
from mechpatch.kinds.cells import ANSWER
from mechpatch.stats import Cells
from mechpatch.stats.cells import Group
from mechpatch.views.figures.parts import (
    add_bar,
    add_title,
    direction_note,
    interval_of,
    mark_structural,
    not_run_key,
    pairs_note,
    room_for,
    run_of,
    separate_cells,
    structural_key,
    titled,
)
from mechpatch.views.figures.theme import NOT_RUN, colours, shown_as, style

ACROSS = 4  # maps in a row
HEAD, LAYER = 0.16, 0.17  # inches
WIDEST, HIGHEST = 2.3, 2.4  # inches of one map
Place = tuple[int, str]  # step and site


def head_maps(group: Group, cells: Cells, metric: str, note: str = "") -> Figure:
    """Mean over pairs of every layer (upwards) and head (across), a map for each position or step.

    Args:
        cells: the cells of a hook point with heads.
        note: what the controls do.
    """
    about, interval = measure_of(shown_as(metric, group.direction)), interval_of(cells, metric)
    shown = np.where(cells.structural, np.nan, interval.mean)
    places = list(dict.fromkeys((column.step, column.site) for column in cells.columns))
    chained = len({step for step, _ in places}) > 1
    names = [f"step {step}" if chained else site for step, site in places]
    across = min(ACROSS, len(places))
    down = math.ceil(len(places) / across)
    notes = [*filter(None, (direction_note(group.direction, group.donor), note, pairs_note(interval, cells)))]
    title = titled(group, about)
    with style():
        wide, high = _size(cells, len(cells.heads))
        size = max(across * (wide + 0.35) + 1.3, room_for(title, notes)), down * (high + 0.4) + 1.1
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        colour_map, scale = colours(about, shown)
        for axes in panels.flat[len(places) :]:
            axes.set_visible(False)
        for axes, name, place in zip(panels.flat, names, places, strict=False):
            values, dead = (_at(cells, each, place) for each in (shown, cells.structural.astype(float)))
            _map(axes, cells, values, dead == 1, colour_map, scale)
            _label_heads(axes, cells.heads)
            axes.set_title(name, fontsize=8, pad=3)
        figure.supxlabel("Head", fontsize=8)
        figure.supylabel("Layer", fontsize=8)
        _finish(figure, panels.ravel()[: len(places)], title, notes, about, _keys(cells))
    return figure


def _at(cells: Cells, values: Float[np.ndarray, "layer column"], place: Place) -> Float[np.ndarray, "layer head"]:
    """The values at one place, head by head; NaN for a head that was not run there."""
    found = np.full((len(cells.layers), len(cells.heads)), np.nan)
    number = {head: at for at, head in enumerate(cells.heads)}
    for at, column in enumerate(cells.columns):
        if (column.step, column.site) == place:
            found[:, number[column.head or 0]] = values[:, at]
    return found


def _keys(*found: Cells) -> list[Patch]:
    """What the marks of cells without a number mean, where there are any."""
    keys = [structural_key()] if any(cells.structural.any() for cells in found) else []
    return [*keys, *([not_run_key()] if any(cells.left_out for cells in found) else [])]


def readers(
    table: pa.Table, metric: str = "switched", direction: str = "denoise", include_incorrect: bool = False
) -> Figure | None:
    """What the heads of the answer token read, beside where the thoughts are read from; None without both in the run.

    Left: `z` of every head at `answer`, which carries what that head has read. Right: `kv` of every thought, all that
    any head of a layer can read of it. A head that matters on the left reads a thought that matters on the right.
    """
    heads = run_of(table, Group("position", direction, PAIRED, "z"), include_incorrect)
    cached = run_of(table, Group("position", direction, PAIRED, "kv"), include_incorrect)
    if heads is None or cached is None or ANSWER not in {column.site for column in heads.columns}:
        return None
    at_answer = [i for i, column in enumerate(heads.columns) if column.site == ANSWER]
    about = measure_of(shown_as(metric, direction))
    means = [interval_of(cells, metric).mean for cells in (heads, cached)]
    left = np.where(heads.structural, np.nan, means[0])[:, at_answer]
    right = np.where(cached.structural, np.nan, means[1])
    title = f"Who reads which thought: {about.label}"
    notes = [direction_note(direction, PAIRED), pairs_note(interval_of(cached, metric), cached)]
    with style():
        (wide, high), (other, _) = _size(heads, len(at_answer)), _size(cached, 2 * len(cached.columns))
        figure = Figure(figsize=(max(wide + other + 2.6, room_for(title, notes)), high + 1.6), layout="constrained")
        one, two = figure.subplots(1, 2, width_ratios=(wide, other))
        colour_map, scale = colours(about, np.concatenate([left.ravel(), right.ravel()]))
        _map(one, heads, left, heads.structural[:, at_answer], colour_map, scale)
        _map(two, cached, right, cached.structural, colour_map, scale)
        _label_heads(one, [heads.columns[i].head for i in at_answer])
        two.set_xticks(range(len(cached.columns)), labels=[column.site for column in cached.columns], fontsize=7)
        one.set(xlabel="Head, z at the answer", ylabel="Layer")
        two.set(xlabel="Position, keys and values")
        _finish(figure, [one, two], title, notes, about, _keys(heads, cached))
    return figure


def _size(cells: Cells, across: int) -> tuple[float, float]:
    """Width and height of one map, inches."""
    return max(0.7, min(WIDEST, HEAD * across)), max(0.7, min(HIGHEST, LAYER * len(cells.layers)))


def _map(
    axes: Axes,
    cells: Cells,
    shown: Float[np.ndarray, "layer column"],
    structural: np.ndarray,
    colour_map: Colormap,
    scale: Normalize,
) -> None:
    axes.imshow(shown, cmap=colour_map, norm=scale, origin="lower", aspect="auto")
    if cells.left_out:
        axes.set_facecolor(NOT_RUN)
    mark_structural(axes, structural)
    every = max(1, -(-len(cells.layers) // 8))
    axes.set_yticks(range(0, len(cells.layers), every), labels=[str(layer) for layer in cells.layers[::every]])
    separate_cells(axes, structural.shape)


def _label_heads(axes: Axes, heads: Sequence[int | None]) -> None:
    every = max(1, -(-len(heads) // 8))
    axes.set_xticks(range(0, len(heads), every), labels=[str(head) for head in heads[::every]])


def _finish(
    figure: Figure,
    panels: Sequence[Axes] | np.ndarray,
    title: str,
    notes: list[str],
    about: Measure,
    keys: list[Patch],
) -> None:
    """Title, colour bar and key of several maps with one scale; the first map's own name stands under the notes."""
    first = panels[0]
    name = first.get_title("left")
    add_title(first, title, [*notes, ""] if name else notes)
    first.title.set_fontsize(9)
    first.annotate(name, (0, 1), (0, 3), "axes fraction", "offset points", fontsize=8, fontweight="bold", va="bottom")
    shown = np.concatenate([np.ma.filled(np.ma.asarray(axes.images[0].get_array()), np.nan).ravel() for axes in panels])
    add_bar(figure, first.images[0], about, shown, ax=list(panels), fraction=0.05, pad=0.02)
    if keys:
        figure.legend(handles=keys, loc="outside lower left", ncols=len(keys))
