"""What the figures share: the cells of one group, their means, and the words and marks that qualify them."""

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.patches import Patch, Rectangle

from mechpatch.catalogue import PAIRED, Measure, direction_label, donor_label, is_null
from mechpatch.errors import SpecError
from mechpatch.formats import written
from mechpatch.kinds import kind_of
from mechpatch.points import POINTS, RESID_POST
from mechpatch.stats import Cells, Interval, bootstrap_mean, groups, select
from mechpatch.stats.cells import Group
from mechpatch.stats.sets import Difference
from mechpatch.views.figures.theme import HATCH, HATCH_INK, MUTED, STRUCTURAL, ink_on

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
    return bootstrap_mean(cells.values("effect" if metric == "recovery" else metric), SEED)


def interval_of_difference(difference: Difference) -> Interval:
    return bootstrap_mean(difference.values, SEED)


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
    form: str,
    colour_map: Colormap,
    scale: Normalize,
) -> None:
    """Write the value of every `present` cell on it, a dash where it has none, bold where it is `sure`."""
    for row, column in np.argwhere(present):
        value = float(shown[row, column])
        axes.text(
            column,
            row,
            written(None if np.isnan(value) else value, form),
            ha="center",
            va="center_baseline",
            fontsize=7,
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
    dead = cells.structural if structural is None else structural
    n: Int[np.ndarray, " cell"] = interval.n[~dead] if not dead.all() else interval.n.ravel()
    low, high = n.min(), n.max()
    counted = f"mean over {high} pairs" if low == high else f"mean over {low} to {high} pairs"
    return f"{counted}; {key}" if key else counted


def structural_key() -> Patch:
    return Patch(facecolor=STRUCTURAL, hatch=HATCH, edgecolor=HATCH_INK, linewidth=0, label=BY_CONSTRUCTION)
