"""How every figure looks, and what everything that is measured is called.

Nothing here touches matplotlib's global state: draw and save inside `style()`.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize

INK, MUTED, RULE, STRUCTURAL = "#1a1a1a", "#6b6b6b", "#c8c8c8", "#e6e6e6"
HATCH, HATCH_INK = "/////", "#b0b0b0"
# Of Okabe and Ito's palette, which is told apart with any common colour blindness.
BLUE = "#0072b2"

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
    "svg.fonttype": "path",  # outlines print alike where the font is missing
    "svg.hashsalt": "mechpatch",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What a number is called and how it is written.

    Attributes:
        label: as it stands within a sentence.
        unit: "" where it has none.
        signed: zero is neutral and both signs mean something.
        format: of one cell's value.
        smallest_limit: colour scales and axes reach at least this far, so that noise cannot fill them.
    """

    label: str
    unit: str = ""
    signed: bool = False
    format: str = ".2f"
    smallest_limit: float = 0.0

    @property
    def axis(self) -> str:
        """Label and unit, to stand alone."""
        label = self.label[:1].upper() + self.label[1:]
        return f"{label} ({self.unit})" if self.unit else label


METRICS = {
    "recovery": Metric(label="recovery", unit="share of gap", signed=True, smallest_limit=0.1),
    "destruction": Metric(label="destruction", unit="share of gap", signed=True, smallest_limit=0.1),
    "answer_logprob_change": Metric(
        label="change of answer log-probability difference", unit="nats", signed=True, format=".1f"
    ),
    "answer_logprob_diff": Metric(label="answer log-probability difference", unit="nats", signed=True, format=".1f"),
    "answer_logit_diff": Metric(label="answer logit difference", unit="logits", signed=True, format=".1f"),
    "clean_score": Metric(label="logit of the clean answer", unit="logits", signed=True, format=".1f"),
    "corrupted_score": Metric(label="logit of the corrupted answer", unit="logits", signed=True, format=".1f"),
    "divergent_logit_diff": Metric(
        label="logit difference at the diverging token", unit="logits", signed=True, format=".1f"
    ),
    "kl_divergence": Metric(label="KL divergence from baseline", unit="nats", smallest_limit=0.01),
    "l2_logit_difference": Metric(label="L2 distance of logits", unit="logits", format=".1f"),
    "rms_logit_difference": Metric(label="RMS difference of logits", unit="logits"),
    "prediction_change_rate": Metric(label="changed predictions", unit="share of positions", smallest_limit=0.1),
    "switched": Metric(label="pairs that switch", unit="share of pairs", smallest_limit=0.1),
    "neither": Metric(label="pairs with neither answer", unit="share of pairs", smallest_limit=0.1),
    "similarity_clean": Metric(label="similarity to clean", unit="cosine", signed=True),
    "similarity_corrupted": Metric(label="similarity to corrupted", unit="cosine", signed=True),
    "bias": Metric(label="bias towards clean", unit="difference of cosines", signed=True),
}
# What sets do beyond their parts, and how that is measured.
DIFFERENCES = {
    "lost": (
        Metric(label="effect lost without one thought", unit="share of gap", signed=True, smallest_limit=0.1),
        "effect of all thoughts − effect without this one",
    ),
    "synergy": (
        Metric(label="effect beyond the sum of the parts", unit="share of gap", signed=True, smallest_limit=0.1),
        "effect of the set − sum of the effects of each position alone",
    ),
}
EXPERIMENTS = {
    "layer": "Layer-wise patching",
    "position": "Position-wise patching",
    "relay": "Relay",
    "cumulative": "Cumulative patching",
    "leave_one_out": "Leave-one-out patching",
    "pairwise": "Pairwise patching",
    "subset": "Patching of sets",
    "window": "Patching of layer windows",
}
DIRECTIONS = {"denoise": "clean vectors into the corrupted run", "noise": "corrupted vectors into the clean run"}
DONORS = {
    "paired": "the pair's other side",
    "self": "the run's own vectors",
    "other_pair": "vectors of another pair",
    "same_value": "a donor with an equal answer",
    "noise": "Gaussian noise",
}


def style() -> AbstractContextManager[None]:
    """The settings of every figure, for the length of a `with` block."""
    return mpl.rc_context(_RC)  # pyright: ignore[reportArgumentType]  # its key type is private


def shown_as(metric: str, direction: str) -> str:
    """Name in `METRICS` under which a metric is drawn: what denoise recovers, noise destroys."""
    return "destruction" if metric == "recovery" and direction == "noise" else metric


def describe(metric: str) -> Metric:
    """Entry of `METRICS`; a column that it does not list is drawn as signed, under its own name."""
    return METRICS.get(metric) or Metric(label=metric, signed=True)


def colours(metric: Metric, values: Float[np.ndarray, "*cell"]) -> tuple[Colormap, Normalize]:
    """Colour map and scale: symmetric about a white zero if signed, else from white at zero upwards."""
    largest = float(np.nanmax(np.abs(values))) if (~np.isnan(values)).any() else 0.0
    limit = max(largest, metric.smallest_limit) or 1.0
    if metric.signed:
        return mpl.colormaps["RdBu_r"], Normalize(-limit, limit)
    return _SEQUENTIAL, Normalize(0.0, limit)


def layer_colours() -> Colormap:
    """From the first layer to the last, dark to light; the palest end, which print loses, is cut off."""
    return LinearSegmentedColormap.from_list("layers", mpl.colormaps["viridis"](np.linspace(0.0, 0.88, 256)))


def ink_on(rgba: tuple[float, float, float, float]) -> str:
    """Text colour that can be read on a cell of this colour."""
    red, green, blue, _ = rgba
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK


_SEQUENTIAL = LinearSegmentedColormap.from_list("from_white", mpl.colormaps["Purples"](np.linspace(0.0, 1.0, 256)))
