"""How every figure looks.

Nothing here touches matplotlib's global state: draw and save inside `style()`.
"""

from contextlib import AbstractContextManager

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize

from mechpatch.catalogue import Measure

INK, MUTED, RULE, STRUCTURAL = "#1a1a1a", "#6b6b6b", "#c8c8c8", "#e6e6e6"
NOT_RUN = "#dedede"
HATCH, HATCH_INK = "/////", "#b0b0b0"
# Of Okabe and Ito's palette, which is told apart with any common colour blindness.
BLUE = "#0072b2"
COLUMNS = {"single": 3.4, "double": 7.0}  # inches: the columns of a journal's page
SHARE = "share of pairs"

_RC = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so a figure looks the same everywhere
    "font.size": 8,
    "hatch.color": HATCH_INK,
    "hatch.linewidth": 0.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "savefig.dpi": 250,
    "pdf.fonttype": 42,  # text stays text, which a drawing program can edit
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "mechpatch",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


# What sets do beyond their parts, and how that is measured.
DIFFERENCES = {
    "lost": (
        Measure(label="effect lost without one thought", unit="share of gap", signed=True, smallest_limit=0.1),
        "effect of all thoughts − effect without this one",
    ),
    "synergy": (
        Measure(label="effect beyond the sum of the parts", unit="nats", signed=True, format=".1f", smallest_limit=0.1),
        "what the set does − sum of what each position does alone, towards the answer of the side that is written",
    ),
}


def style() -> AbstractContextManager[None]:
    """The settings of every figure, for the length of a `with` block."""
    return mpl.rc_context(_RC)  # pyright: ignore[reportArgumentType]  # its key type is private


def shown_as(metric: str, direction: str) -> str:
    """Name in `MEASURES` under which a metric is drawn: what denoise recovers, noise destroys."""
    return "destruction" if metric == "recovery" and direction == "noise" else metric


def colours(metric: Measure, values: Float[np.ndarray, "*cell"]) -> tuple[Colormap, Normalize]:
    """Colour map and scale: symmetric about a white zero if signed, else from white at zero; shares up to 100 %."""
    if metric.unit == SHARE:
        return _SEQUENTIAL, Normalize(0.0, 1.0)
    largest = float(np.nanmax(np.abs(values))) if (~np.isnan(values)).any() else 0.0
    limit = max(largest, metric.smallest_limit) or 1.0
    if metric.signed:
        return mpl.colormaps["RdBu"], Normalize(-limit, limit)
    return _SEQUENTIAL, Normalize(0.0, limit)


def layer_colours() -> Colormap:
    """From the first layer to the last, dark to light; the palest end, which print loses, is cut off."""
    return LinearSegmentedColormap.from_list("layers", mpl.colormaps["viridis"](np.linspace(0.0, 0.88, 256)))


def ink_on(rgba: tuple[float, float, float, float]) -> str:
    """Text colour that can be read on a cell of this colour."""
    red, green, blue, _ = rgba
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK


# Blue is towards the clean answer, in every figure and in the page.
_SEQUENTIAL = LinearSegmentedColormap.from_list("from_white", mpl.colormaps["Blues"](np.linspace(0.0, 1.0, 256)))
