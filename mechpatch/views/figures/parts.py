"""What the figures share: the cells of one group, their means, and the words and marks that qualify them."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import PercentFormatter

from mechpatch.catalogue import PAIRED, Measure, direction_label, donor_label, is_null, role_of
from mechpatch.errors import SpecError
from mechpatch.formats import written
from mechpatch.kinds import kind_of
from mechpatch.points import POINTS, RESID_POST
from mechpatch.stats import Cells, Interval, bootstrap_mean, groups, select
from mechpatch.stats.cell_values import Gain, SetDifference
from mechpatch.stats.cells import Group, nulls_beside
from mechpatch.stats.clear import is_clear_value
from mechpatch.stats.contrasts import against, aligned, held_at
from mechpatch.stats.sets import Difference, beyond_parts
from mechpatch.stats.switching import SHARES, proportion_limits, shares
from mechpatch.views.figures.theme import DIFFERENCES, HATCH, HATCH_INK, MUTED, NOT_RUN, SHARE, STRUCTURAL, ink_on

CLAIMED = (*SHARES, "effect", "recovery", "answer_logprob_change")  # what is held against the controls

SEED = 0  # of the intervals: a figure drawn twice is the same figure
BY_CONSTRUCTION = "zero by construction"


def cells_of(table: pa.Table, group: Group, include_incorrect: bool) -> Cells:
    found = groups(table)
    if group not in found:
        raise SpecError(
            f"the records have no rows of {', '.join(group)} (experiment, direction, donor, hook point); "
            f"they have {'; '.join(', '.join(each) for each in found) or 'none'}. Run it, or draw one of these."
        )
    return select(table, group, include_incorrect)


def titled(group: Group, about: Measure) -> str:
    """What a figure shows of a group; the hook point is named where it is not the usual one."""
    label = POINTS[group.hook].label if group.hook in POINTS else group.hook
    where = "" if group.hook == RESID_POST else f", {label}"
    return f"{kind_of(group.experiment).label}{where}: {about.label}"


def interval_of(cells: Cells, metric: str) -> Interval:
    """Mean and interval of each cell; those of a share are exact."""
    return interval_of_values(cells.values(read_as(metric)), metric)


def mean_over_pairs(values: Float[np.ndarray, " pair *cell"]) -> Float[np.ndarray, "*cell"]:
    """Mean of the defined values of each cell; NaN where there is none."""
    known = (~np.isnan(values)).sum(axis=0)
    return np.divide(np.nansum(values, axis=0), known, out=np.full(known.shape, np.nan), where=known > 0)


def interval_of_values(values: Float[np.ndarray, " pair *cell"], metric: str) -> Interval:
    """As `interval_of`, from what `Cells.values` gives."""
    found = bootstrap_mean(values, SEED)
    if metric not in SHARES:
        return found
    low, high = proportion_limits((values == 1).sum(axis=0), found.n)
    return replace(found, low=low, high=high, method=np.full(found.n.shape, "exact"))


def interval_of_difference(difference: Difference) -> Interval:
    return bootstrap_mean(difference.values, SEED)


def clear_cells(table: pa.Table, group: Group, of: str, include_incorrect: bool) -> Bool[np.ndarray, "layer column"]:
    """Where a quantity may be claimed, by the one rule that words and page follow (`mechpatch.stats.clear`)."""
    alike = [each for each in groups(table) if (each.direction, each.hook) == (group.direction, group.hook)]
    laid_out = {each: select(table, each, include_incorrect) for each in alike}
    cells = laid_out[group]
    clear = np.zeros(cells.structural.shape, dtype=bool)
    if of in DIFFERENCES:
        clear[...] = [[_is_clear_set(each.get(of)) for each in row] for row in beyond_parts(group, laid_out, SEED)]
        return clear
    if of not in CLAIMED:
        return clear
    beside = nulls_beside(group, laid_out)
    nulls = {donor: aligned(cells, null, null.values(read_as(of))) for donor, null in beside.items()}
    if of in SHARES:
        found = shares(cells.values(of), nulls, cells.structural, cells.left_out)
    else:
        held = against(cells.values(read_as(of)), nulls, cells.structural, SEED, cells.left_out)
        found = [held_at(held, at) for at in np.ndindex(clear.shape)]
    clear[...] = np.reshape([is_clear_value(each) for each in found], clear.shape)
    return clear & ~cells.structural


def _is_clear_set(found: SetDifference | Gain | None) -> bool:
    return isinstance(found, SetDifference) and not found.structural and is_clear_value(found)


def read_as(metric: str) -> str:
    """The values by which a metric is drawn: of noise, the share that is destroyed."""
    return "effect" if metric == "recovery" else metric


def best_control(
    table: pa.Table, group: Group, metric: str, include_incorrect: bool
) -> Float[np.ndarray, "layer column"] | None:
    """The largest mean of any control in each cell of a group; NaN where none has one, None where none was run."""
    cells = select(table, group, include_incorrect)
    means = []
    for each in groups(table):
        if role_of(each.donor) == "control" and each._replace(donor=group.donor) == group != each:
            control = select(table, each, include_incorrect)
            values = aligned(cells, control, control.values(read_as(metric)))
            means.append(mean_over_pairs(values))
    return np.fmax.reduce(means) if means else None


def controls_note(cells: Cells, best: Float[np.ndarray, "layer column"] | None, about: Measure) -> str:
    """How much the controls do, at most."""
    if best is None:
        return "no control was run"
    most = movable(cells, best)
    if np.isnan(most).all():
        return ""
    return (
        f"controls: at most {text_of(float(np.nanmax(most)), about)}{' %' if about.unit == SHARE else ''} in any cell"
    )


def text_of(value: float, about: Measure) -> str:
    """How a cell's value is written: shares in percent, without the sign."""
    if np.isnan(value):
        return written(None)
    return f"{100 * value:.0f}" if about.unit == SHARE else written(value, about.format)


def mark_controls(
    axes: Axes,
    best: Float[np.ndarray, "layer column"],
    shown: Float[np.ndarray, "layer column"],
    colour_map: Colormap,
    scale: Normalize,
) -> None:
    """A tick at the foot of each cell, at the value of the best control: 0 at its left edge, 1 at its right edge."""
    for row, column in np.argwhere(~np.isnan(best) & ~np.isnan(shown)):
        at = column - 0.5 + np.clip(best[row, column], 0.02, 0.98)
        colour = ink_on(colour_map(scale(float(shown[row, column]))))
        axes.plot([at, at], [row - 0.48, row - 0.26], color=colour, linewidth=1.1, solid_capstyle="butt", zorder=4)


def add_bar(figure: Figure, image: Any, about: Measure, values: np.ndarray, **where: Any) -> None:
    """A colour bar with its unit; of a signed scale, which is the same on both sides, only the part that is used."""
    share = about.unit == SHARE
    bar = figure.colorbar(
        image, label="pairs" if share else about.unit, format=PercentFormatter(1.0, 0, " %") if share else None, **where
    )
    bar.outline.set_visible(False)
    if about.signed and (~np.isnan(values)).any():
        reach = 0.05 * float(np.nanmax(np.abs(values)))
        bar.ax.set_ylim(min(0.0, float(np.nanmin(values))) - reach, max(0.0, float(np.nanmax(values))) + reach)


def label_lines(axes: Axes, ends: Sequence[tuple[str, float, str]], room: float) -> None:
    """Names beside the right ends of lines, spread so that none covers another.

    Args:
        ends: name, height of the end, and colour of each line.
        room: how far apart two names must be, as a share of the height.
    """
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    least, lowest = room * (high - low), -np.inf
    for name, y, colour in sorted(ends, key=lambda end: end[1]):
        lowest = max(y, lowest + least)
        axes.text(right + 0.01 * (right - left), lowest, name, color=colour, fontsize=7, va="center", clip_on=False)


def movable(cells: Cells, values: Float[np.ndarray, "layer column"]) -> Float[np.ndarray, "layer column"]:
    """The values without those that are zero by construction."""
    return np.where(cells.structural, np.nan, values)


def run_of(table: pa.Table, group: Group, include_incorrect: bool) -> Cells | None:
    """As `cells_of`, but None where the group was not run."""
    return select(table, group, include_incorrect) if group in groups(table) else None


def write_numbers(
    axes: Axes,
    shown: Float[np.ndarray, "row column"],
    present: Bool[np.ndarray, "row column"],
    sure: Bool[np.ndarray, "row column"],
    about: Measure,
    colour_map: Colormap,
    scale: Normalize,
    size: float = 7.0,
) -> None:
    """Write the value of every `present` cell on it, a dash where it has none, bold where it is `sure`."""
    for row, column in np.argwhere(present):
        value = float(shown[row, column])
        axes.text(
            column,
            row,
            text_of(value, about),
            ha="center",
            va="center_baseline",
            fontsize=size,
            fontweight="bold" if sure[row, column] else "normal",
            color=MUTED if np.isnan(value) else ink_on(colour_map(scale(value))),
        )


def mark_structural(axes: Axes, structural: Bool[np.ndarray, "row column"]) -> None:
    """Grey and hatch the cells that are zero by construction."""
    for row, column in np.argwhere(structural):
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5), 1, 1, facecolor=STRUCTURAL, hatch=HATCH, edgecolor=HATCH_INK, linewidth=0
            )
        )


def separate_cells(axes: Axes, shape: tuple[int, int]) -> None:
    """White lines between cells, drawn as a grid on the minor ticks; no frame."""
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(shape[0] + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)


def wrapped(title: str, notes: Sequence[str], width: float) -> tuple[str, list[str]]:
    """A title and notes in lines that fit into `width` inches."""
    lines = [line for note in notes if note for line in textwrap.wrap(note, int(width / 0.056))]
    return "\n".join(textwrap.wrap(title, int(width / 0.085))), lines


def add_title(axes: Axes, title: str, notes: list[str]) -> None:
    """A bold title, and under it in small type what the reader must know."""
    axes.set_title(title, pad=10 * len(notes) + 7)
    axes.annotate(
        "\n".join(notes), (0, 1), (0, 4), "axes fraction", "offset points", fontsize=7, color=MUTED, va="bottom"
    )


def room_for(title: str, notes: list[str]) -> float:
    """Inches that a figure needs so that its title and notes are not cut off."""
    return max(0.085 * len(title), 0.056 * max(map(len, notes))) + 0.6


def direction_note(direction: str, donor: str) -> str:
    what = direction_label(direction)
    return what if donor == PAIRED else f"{'null donor' if is_null(donor) else 'donor'}, {donor_label(donor)}; {what}"


def pairs_note(
    interval: Interval, cells: Cells, key: str = "", structural: Bool[np.ndarray, "layer column"] | None = None
) -> str:
    """How many pairs the means are of, where anything could move; then `key`, which says how to read them."""
    if not len(cells.pairs):
        return "no pair is answered right on both sides: nothing to average"
    dead = (cells.structural if structural is None else structural) | ~cells.run
    n: Int[np.ndarray, " cell"] = interval.n[~dead] if not dead.all() else interval.n.ravel()
    low, high = n.min(), n.max()
    counted = f"mean over {high} pairs" if low == high else f"mean over {low} to {high} pairs"
    return f"{counted}; {key}" if key else counted


def not_run_key() -> Patch:
    return Patch(facecolor=NOT_RUN, label="not run: a screen left it out")


def structural_key() -> Patch:
    return Patch(facecolor=STRUCTURAL, hatch=HATCH, edgecolor=HATCH_INK, linewidth=0, label=BY_CONSTRUCTION)
