"""Maps of heads of which a screen left some out: what was not run is grey, and never a zero."""

import numpy as np
import pyarrow as pa
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from records import planted

from mechpatch.views.figures.files import heatmap
from mechpatch.views.figures.theme import NOT_RUN

RUN = {(0, "t0", 0), (1, "t0", 3), (1, "t1", 1)}  # layer, site, head


def drawn(candidates: int | None) -> Figure:
    table = planted(
        {(f"position@z.{head}", "denoise", "paired", layer, site): [0.5] * 8 for layer, site, head in sorted(RUN)}
    )
    if candidates is not None:
        table = table.append_column("candidates", pa.array([candidates] * len(table), pa.int64()))
    return heatmap(table, "recovery", hook="z")


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def test_what_was_not_run_is_grey_and_has_a_key():
    figure = drawn(100)
    panels = [axes for axes in figure.axes if axes.images]
    shown = [np.ma.filled(np.ma.asarray(axes.images[0].get_array()), np.nan) for axes in panels]
    assert [values.shape for values in shown] == [(2, 3), (2, 3)]  # heads 0, 1 and 3 at either position
    known = {
        (layer, site, (0, 1, 3)[column])
        for site, values in zip(("t0", "t1"), shown, strict=True)
        for layer, column in np.argwhere(~np.isnan(values)).tolist()
    }
    assert known == RUN
    assert all(axes.get_facecolor() == to_rgba(NOT_RUN) for axes in panels)
    assert legend(figure) == ["not run: a screen left it out"]


def test_a_map_that_was_run_whole_has_no_such_key():
    figure = drawn(None)
    assert legend(figure) == []
    assert all(axes.get_facecolor() != to_rgba(NOT_RUN) for axes in figure.axes)


def test_a_list_of_neurons_says_of_how_many_nothing_is_known():
    effects = {(f"position@post.{neuron}", "denoise", "paired", 1, "t0"): [0.5] * 8 for neuron in (3, 70)}
    table = planted(effects)
    few = table.append_column("candidates", pa.array([1000] * len(table), pa.int64()))
    told = [
        " ".join(text.get_text() for text in heatmap(each, "recovery", hook="post").axes[0].texts)
        for each in (table, few)
    ]
    assert "screen" not in told[0]
    assert "of 998 more cells, which a screen left out, nothing is known" in told[1]
