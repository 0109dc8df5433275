"""What the figures share: the cells of one group, their means, and the words and marks that qualify them."""

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from mechpatch.errors import SpecError
from mechpatch.stats import Cells, Interval, bootstrap_mean, groups, select
from mechpatch.stats.cells import Group
from mechpatch.views.theme import DIRECTIONS, DONORS, HATCH, HATCH_INK, MUTED, STRUCTURAL

SEED = 0  # of the intervals: a figure drawn twice is the same figure
BY_CONSTRUCTION = "zero by construction"


def cells_of(table: pa.Table, group: Group, include_incorrect: bool) -> Cells:
    found = groups(table)
    if group not in found:
        raise SpecError(
            f"the records have no rows of {', '.join(group)} (experiment, direction, donor); "
            f"they have {'; '.join(', '.join(each) for each in found) or 'none'}. Run it, or draw one of these."
        )
    return select(table, group, include_incorrect)


def interval_of(cells: Cells, metric: str) -> Interval:
    return bootstrap_mean(cells.values("effect" if metric == "recovery" else metric), SEED)


def movable(cells: Cells, values: Float[np.ndarray, "layer column"]) -> Float[np.ndarray, "layer column"]:
    """The values without those that are zero by construction."""
    return np.where(cells.structural, np.nan, values)


def add_title(axes: Axes, title: str, notes: list[str]) -> None:
    """A bold title, and under it in small type what the reader must know."""
    axes.set_title(title, pad=10 * len(notes) + 7)
    axes.annotate(
        "\n".join(notes), (0, 1), (0, 4), "axes fraction", "offset points", fontsize=7, color=MUTED, va="bottom"
    )


def direction_note(direction: str, donor: str) -> str:
    what = DIRECTIONS.get(direction, direction)
    return what if donor == "paired" else f"null donor, {DONORS.get(donor, donor)}; {what}"


def pairs_note(interval: Interval, cells: Cells, key: str = "") -> str:
    """How many pairs the means are of, where anything could move; then `key`, which says how to read them."""
    if not len(cells.pairs):
        return "no pair is answered right on both sides: nothing to average"
    n: Int[np.ndarray, " cell"] = interval.n[~cells.structural] if not cells.structural.all() else interval.n.ravel()
    low, high = n.min(), n.max()
    counted = f"mean over {high} pairs" if low == high else f"mean over {low} to {high} pairs"
    return f"{counted}; {key}" if key else counted


def structural_key() -> Patch:
    return Patch(facecolor=STRUCTURAL, hatch=HATCH, edgecolor=HATCH_INK, linewidth=0, label=BY_CONSTRUCTION)
