"""What thoughts and the answer position attend to, layer by layer, and which heads read the thoughts."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mechpatch.catalogue import Measure
from mechpatch.stats.attention import ANSWER, AttentionSummary
from mechpatch.stats.cells import at_thoughts
from mechpatch.views.figures.parts import separate_cells
from mechpatch.views.figures.theme import MUTED, RULE, SHARE, colours, style
from mechpatch.views.words.attention import group_label

PANEL, LAYER, ACROSS = 1.7, 0.22, 4  # inches: width of a panel, height of a layer; panels in a row
# Grey before the thoughts and after them, so that colour is for thoughts alone.
GREYS = {"start": RULE, "question": "#a0a0a0", "bot": MUTED, "rest": "#dddddd", "eot": "#4a4a4a", "prefix": "#2b2b2b"}


def attention_figure(found: AttentionSummary) -> Figure:
    """Shares of each query by layer, heads averaged; and what each head puts on thoughts at the answer position."""
    thoughts = [group for group in found.groups if at_thoughts(group)]
    shades = colormaps["viridis"](np.linspace(0.1, 0.95, max(2, len(thoughts))))
    colour = {**GREYS, **dict(zip(thoughts, shades, strict=False))}
    layers = found.shares.shape[1]
    panels = len(found.sites) + 1
    down = -(-panels // ACROSS)
    with style():
        size = (ACROSS * PANEL + 1.5, down * (min(4.5, LAYER * layers) + 0.75) + 0.4)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(down, min(ACROSS, panels), squeeze=False)
        for axes, (row, site) in zip(grid.flat, enumerate(found.sites), strict=False):
            left = np.zeros(layers)
            for column, group in enumerate(found.groups):
                share = np.nan_to_num(found.shares[row, :, :, column].mean(axis=1))
                axes.barh(np.arange(layers), share, left=left, color=colour[group], height=0.85)
                left = left + share
            axes.set(xlim=(0, 1), title=site if site != ANSWER else "answer position")
            axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"])
            axes.title.set_fontsize(8)
        _heads(grid.flat[panels - 1], found)
        for axes in grid.flat[panels:]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("Layer")
        handles = [Patch(color=colour[group], label=group_label(group)) for group in found.groups]
        figure.legend(handles=handles, loc="outside right upper", fontsize=7)
        figure.suptitle(
            f"What is attended to, {found.side} questions, {found.used} pairs, mean over heads",
            x=0.01, ha="left", fontsize=9, fontweight="bold",
        )  # fmt: skip
    return figure


def _heads(axes: Axes, found: AttentionSummary) -> None:
    row = found.sites.index(ANSWER)
    on_thoughts = np.nansum(found.shares[row][..., [at_thoughts(group) for group in found.groups]], axis=-1)
    colour_map, scale = colours(Measure(label="", unit=SHARE), on_thoughts)
    axes.imshow(on_thoughts, cmap=colour_map, norm=scale, origin="lower", aspect="auto")
    separate_cells(axes, (on_thoughts.shape[0], on_thoughts.shape[1]))
    if on_thoughts.shape[1] <= 8:
        for (layer, head), share in np.ndenumerate(on_thoughts):
            ink = "white" if share > 0.55 else "black"
            axes.text(head, layer, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color=ink)
    axes.set(title="heads: answer on thoughts", xlabel="Head")
    axes.title.set_fontsize(8)
