"""Curves: the effect over layers, and over the steps of chained runs."""

from itertools import cycle

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mechpatch.catalogue import PAIRED, Measure, donor_label, measure_of, role_of
from mechpatch.formats import capital
from mechpatch.points import RESID_POST
from mechpatch.stats import Cells, groups, select
from mechpatch.stats.cells import Group
from mechpatch.views.figures.parts import (
    BY_CONSTRUCTION,
    add_title,
    best_control,
    cells_of,
    controls_note,
    direction_note,
    interval_of,
    label_lines,
    movable,
    pairs_note,
    structural_key,
    titled,
    wrapped,
)
from mechpatch.views.figures.theme import (
    BLUE,
    COLUMNS,
    HATCH,
    MUTED,
    RULE,
    SHARE,
    STRUCTURAL,
    layer_colours,
    shown_as,
    style,
)

NAMED = 8  # layers that have their names at their lines; more have a colour bar
NULL_LINES = ((0, (1, 1)), (0, (4, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (8, 2)))


def layer_profile(
    table: pa.Table,
    metric: str = "recovery",
    direction: str = "denoise",
    include_incorrect: bool = False,
    hook: str = RESID_POST,
    column: str = "double",
) -> Figure:
    """Layer-wise mean with its 95 % interval; other donors as grey lines, each with its name at its end.

    Raises:
        SpecError: the table has no layer-wise experiment.
    """
    group = Group("layer", direction, PAIRED, hook)
    cells = cells_of(table, group, include_incorrect)
    interval = interval_of(cells, metric)
    about = measure_of(shown_as(metric, direction))
    nulls = [each for each in groups(table) if each != group and each._replace(donor=PAIRED) == group]
    width = COLUMNS[column]
    notes = [direction_note(direction, PAIRED), pairs_note(interval, cells, "band: 95 % intervals")]
    notes += [] if any(role_of(other.donor) == "control" for other in nulls) else ["no control was run"]
    title, notes = wrapped(titled(group, about), notes, width - 0.6)
    with style():
        figure = Figure(figsize=(width, 2.9), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(0, color=RULE, linewidth=0.8, zorder=0)
        ends = []
        for dashes, other in zip(cycle(NULL_LINES), nulls, strict=False):
            null = select(table, other, include_incorrect)
            heights = movable(null, interval_of(null, metric).mean)[:, 0]
            axes.plot(null.layers, heights, color=MUTED, linestyle=dashes, linewidth=1.1)
            ends += _end(donor_label(other.donor), heights, MUTED)
        mean, low, high = (movable(cells, each)[:, 0] for each in (interval.mean, interval.low, interval.high))
        axes.plot(cells.layers, mean, color=BLUE, marker="o", zorder=3)
        axes.fill_between(cells.layers, low, high, color=BLUE, alpha=0.2, linewidth=0, zorder=2)
        ends += _end(donor_label(PAIRED), mean, BLUE)
        for layer in cells.layers[cells.structural[:, 0]]:
            axes.axvspan(layer - 0.5, layer + 0.5, facecolor=STRUCTURAL, hatch=HATCH, linewidth=0, zorder=0)
        axes.set(xlabel="Layer", ylabel=_axis(about), xlim=(cells.layers[0] - 0.5, cells.layers[-1] + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=17))
        _reach(axes, about)
        add_title(axes, title, notes)
        label_lines(axes, ends, 0.075)
        if cells.structural.any():
            figure.legend(handles=[structural_key()], loc="outside lower left")
    return figure


def trajectories(
    table: pa.Table,
    mode: str = "relay",
    direction: str = "denoise",
    include_incorrect: bool = False,
    hook: str = RESID_POST,
    metric: str = "recovery",
    column: str = "double",
) -> Figure:
    """Chained runs, one line per layer: mean with its interval, best control, and what the written vectors resemble.

    Steps that are zero by construction have no line. Without recorded similarities there is one panel.

    Raises:
        SpecError: the table has no such experiment.
    """
    group = Group(mode, direction, PAIRED, hook)
    cells = cells_of(table, group, include_incorrect)
    interval = interval_of(cells, metric)
    about = measure_of(shown_as(metric, direction))
    best = best_control(table, group, metric, include_incorrect)
    steps = np.array([column.step for column in cells.columns])
    similarity = {
        name: movable(cells, interval_of(cells, name).mean) for name in ("similarity_clean", "similarity_corrupted")
    }
    resembles = column == "double" and any((~np.isnan(mean)).any() for mean in similarity.values())
    named = len(cells.layers) <= NAMED
    width = COLUMNS[column]
    notes = [direction_note(direction, PAIRED), pairs_note(interval, cells, "bars: 95 % intervals")]
    notes.append(controls_note(cells, best, about))
    title, notes = wrapped(f"{titled(group, about)} by step", notes, (0.55 if resembles else 0.85) * width)
    with style():
        figure = Figure(figsize=(width, 3.3), layout="constrained")
        layout = [["main", "similarity_clean"], ["main", "similarity_corrupted"]] if resembles else [["main"]]
        panels = figure.subplot_mosaic(layout, sharex=True, width_ratios=[1.5, 1] if resembles else None)  # pyright: ignore
        scale = BoundaryNorm(np.append(cells.layers - 0.5, cells.layers[-1] + 0.5), 256)
        colour_map = layer_colours()
        main = panels.pop("main")
        main.axhline(0, color=RULE, linewidth=0.8, zorder=0)
        mean = movable(cells, interval.mean)
        below, above = np.abs(mean - interval.low), np.abs(interval.high - mean)
        aside = np.linspace(-0.14, 0.14, len(cells.layers)) if len(cells.layers) > 1 else [0.0]  # bars side by side
        line, ends = {"marker": "o", "markersize": 2.6}, []
        if best is not None:
            heights = np.fmax.reduce(movable(cells, best))
            main.plot(steps, heights, color=MUTED, linestyle=NULL_LINES[0], linewidth=1.1, zorder=1)
            ends += _end("best control", heights, MUTED)
        for row, layer in enumerate(cells.layers):
            line["color"] = colour_map(scale(layer))
            main.errorbar(steps + aside[row], mean[row], yerr=(below[row], above[row]), elinewidth=0.8, **line)
            ends += _end(f"layer {layer}", mean[row], to_hex(line["color"])) if named else []
            for name, panel in panels.items():
                panel.plot(steps, similarity[name][row], **line)
        main.set(xlabel="Step", ylabel=_axis(about), xlim=(steps[0] - 0.5, steps[-1] + 0.5))
        main.xaxis.set_major_locator(MaxNLocator(integer=True))
        _reach(main, about)
        handles = _mark_steps([main, *panels.values()], cells, steps)
        if resembles:
            _scale_similarities(panels, similarity)
        add_title(main, title, notes)
        label_lines(main, ends, 0.06)
        if not named:
            _layer_bar(figure, [main, *panels.values()], cells, ScalarMappable(scale, colour_map))
        if handles:
            figure.legend(handles=handles, loc="outside lower left")
    return figure


def _layer_bar(figure: Figure, panels: list[Axes], cells: Cells, colours: ScalarMappable) -> None:
    """Which colour is which layer, where there are too many to name each at its line."""
    bar = figure.colorbar(colours, ax=panels, label="Layer", fraction=0.03, pad=0.1)
    shown = cells.layers[:: max(1, len(cells.layers) // 8)]
    bar.minorticks_off()
    bar.set_ticks(shown.tolist(), labels=[str(layer) for layer in shown])
    bar.outline.set_visible(False)


def _end(name: str, heights: Float[np.ndarray, " point"], colour: str) -> list[tuple[str, float, str]]:
    """The name of a line at its last point, for `label_lines`; none where no point is drawn."""
    drawn = heights[~np.isnan(heights)]
    return [(name, float(drawn[-1]), colour)] if len(drawn) else []


def _axis(about: Measure) -> str:
    return capital(about.label) if about.unit == SHARE else about.axis


def _reach(axes: Axes, about: Measure) -> None:
    """Widen the y axis to the smallest limit of the metric; a share's is 0 to 100 %, always."""
    if about.unit == SHARE:
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, 0, " %"))
        return
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -about.smallest_limit / 4), max(high, about.smallest_limit))


def _mark_steps(panels: list[Axes], cells: Cells, steps: Int[np.ndarray, " column"]) -> list[Patch]:
    """Hatch the steps at which no layer can move; the legend names the layers that cannot at the others."""
    everywhere = cells.structural.all(axis=0)
    for step in steps[everywhere]:
        for axes in panels:
            axes.axvspan(step - 0.5, step + 0.5, facecolor=STRUCTURAL, hatch=HATCH, linewidth=0, zorder=0)
    handles = [structural_key()] if everywhere.any() else []
    for layer, hidden in zip(cells.layers, cells.structural & ~everywhere, strict=True):
        if hidden.any():
            listed = ", ".join(str(step) for step in steps[hidden])
            handles.append(Patch(facecolor="none", label=f"not drawn, {BY_CONSTRUCTION}: layer {layer}, step {listed}"))
    return handles


def _scale_similarities(panels: dict[str, Axes], similarity: dict[str, Float[np.ndarray, "layer column"]]) -> None:
    """One scale for both panels: they are compared."""
    means = np.concatenate([mean.ravel() for mean in similarity.values()])
    limits = np.nanmin(means) - 0.05, np.nanmax(means) + 0.05
    for name, axes in panels.items():
        axes.set_title(measure_of(name).axis, fontweight="normal", fontsize=8)
        axes.set_ylim(*limits)
    panels["similarity_corrupted"].set_xlabel("Step")
