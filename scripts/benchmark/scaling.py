"""What the engine's cost depends on: pairs, layers, thoughts and length of the question, one at a time; and the figure.

Measured with latent thoughts: both unpatched runs, and the position sweep. Drawn is CPU time, which other processes
disturb less. From the count of rows one expects

    pairs      both grow as the pairs do; less, as long as few rows waste the matrix products
    layers     a patch recomputes the blocks above it, L(L-1)/2 of them for each thought: slope 2; base runs 1
    thoughts   K patches recompute K/2 thoughts each and the continuations, slope between 1 and 2; base runs nearly 0
    question   the sweep reads its keys and recomputes none of it, slope nearly 0; base runs 1
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmark.cases import Case, Model, first_blocks, make_case
from benchmark.clock import timed
from benchmark.journal import Journal
from benchmark.measure import sweep, warm_up
from mechpatch.views.figures.theme import BLUE, MUTED, style

THOUGHTS, QUESTION = 5, 100
KIND = "latent"
PURPLE = "#6a51a3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One thing that is varied.

    Attributes:
        values: by shape; what a shape does not name takes the last.
        why: what the slope should be, for the figure.
    """

    name: str
    label: str
    values: Mapping[str, tuple[int, ...]]
    case: Callable[[Model, int], Case]
    why: str

    def points(self, shape: str, depth: int) -> tuple[int, ...]:
        """The values to measure."""
        values = self.values.get(shape, self.values["other"])
        return tuple(value for value in values if self.name != "layers" or value <= depth)


AXES = (
    Axis(
        name="pairs",
        label="pairs in one batch",
        values={"1b": (1, 2), "tiny": (1, 2), "other": (1, 2, 4, 8, 16)},
        case=lambda model, value: make_case(model, KIND, THOUGHTS, QUESTION, pairs=value),
        why="each pair adds its rows: slope 1,\nless while a product has few rows",
    ),
    Axis(
        name="layers",
        label="layers",
        values={"1b": (4, 8, 16), "tiny": (2, 3), "demo": (2, 3, 4), "other": (3, 6, 12, 24)},
        case=lambda model, value: make_case(first_blocks(model, value), KIND, THOUGHTS, QUESTION),
        why="a patch recomputes the blocks above it:\nL·(L−1)/2 for each thought, slope towards 2",
    ),
    Axis(
        name="thoughts",
        label="latent thoughts",
        values={"1b": (2, 4, 6), "tiny": (1, 2), "other": (2, 4, 8, 16)},
        case=lambda model, value: make_case(model, KIND, value, QUESTION),
        why="K patches recompute later thoughts and\nthe answers: slope from 1 towards 2",
    ),
    Axis(
        name="question",
        label="tokens of the question",
        values={
            "1b": (50, 100, 200),
            "tiny": (10, 20),
            "demo": (25, 50, 100, 200),
            "other": (25, 50, 100, 200, 400),
        },
        case=lambda model, value: make_case(model, KIND, THOUGHTS, value),
        why="the sweep reads the question's keys and\nrecomputes none of it: slope near 0",
    ),
)
SERIES = {"sweep": ("position sweep", PURPLE), "base": ("two unpatched runs", BLUE)}


def measure_scaling(
    model: Model, key: Mapping[str, Any], journal: Journal, rounds: int, say: Callable[[str], None]
) -> None:
    """Measure every point that the journal lacks."""
    warm_up(model)
    for number in range(rounds):
        for axis in AXES:
            for value in axis.points(key["shape"], model.depth):
                point = {**key, "kind": KIND, "axis": axis.name, "value": value, "round": number}
                if journal.has(**point, what="base"):
                    continue
                say(f"{key['shape']} {key['dtype']} round {number + 1}/{rounds}: {value} {axis.label}")
                case = axis.case(model, value)
                (base, donor), unpatched = timed(case.base_runs)
                _, swept = timed(lambda case=case, base=base, donor=donor: sweep(base, donor, case.position()))
                journal.add(**point, what="sweep", **swept)
                journal.add(**point, what="base", **unpatched)


def draw(journal: Journal) -> bytes:
    """A PNG of four panels, one for each axis; a line for each shape and part of the work."""
    with style():
        figure = Figure(figsize=(9.0, 7.0), layout="constrained")
        for axis, panel in zip(AXES, figure.subplots(2, 2).flat, strict=True):
            _draw_axis(journal, axis, panel)
        image = io.BytesIO()
        figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


def _draw_axis(journal: Journal, axis: Axis, panel: Axes) -> None:
    records = [*journal.find(axis=axis.name)]
    cases = dict.fromkeys((each["shape"], each["dtype"]) for each in records)
    ticks = sorted({each["value"] for each in records})
    for marker, (shape, dtype) in zip("os^v", cases, strict=False):
        for what, (label, colour) in SERIES.items():
            mine = [each for each in records if (each["shape"], each["dtype"], each["what"]) == (shape, dtype, what)]
            values = sorted({each["value"] for each in mine})
            taken = [median(each["cpu"] for each in mine if each["value"] == value) for value in values]
            slope = slope_of(values, taken)
            style_of = "-" if shape == "1b" else "--"
            panel.plot(
                values, taken, style_of, marker=marker, color=colour, label=f"{shape}, {label}: slope {slope:.2f}"
            )
    panel.set(xscale="log", yscale="log", xlabel=axis.label, ylabel="CPU seconds, all cores")
    panel.set_xticks(ticks, map(str, ticks))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_title(f"Cost by {axis.label}", pad=30)
    panel.annotate(axis.why, (0, 1), (0, 4), "axes fraction", "offset points", fontsize=7, color=MUTED, va="bottom")
    panel.legend(fontsize=6.5)
    low, high = panel.get_ylim()
    panel.set_ylim(low, high * 4)  # room for the legend


def slope_of(values: list[int], seconds: list[float]) -> float:
    """Exponent over the upper half of the points, by least squares of the logarithms."""
    start = min(len(values) // 2, len(values) - 2)
    if start < 0:
        return float("nan")
    return float(np.polyfit(np.log(values[start:]), np.log(seconds[start:]), 1)[0])
