"""What a screen missed: its sentences, and one picture of estimates against effects that needs no script."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

from mechpatch.formats import capital, written
from mechpatch.points import POINTS
from mechpatch.reprs import short_repr
from mechpatch.stats.screens import Screened
from mechpatch.views.words.claims import called, place
from mechpatch.views.words.screens import screen_told

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 460, 340, 52, 14, 44  # of the picture, and of its margins, in pixels
MARGIN = 0.06  # of the range, beside the outermost points
NARROWEST = 0.02  # of the range: a share of the gap, so that rounding does not fill the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One cell that was run: where it stands, and what is said of it."""

    x: float
    y: float
    why: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One value of an axis: where it stands, and how it is written."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenPart:
    """One screen.

    Attributes:
        dots: random cells after the top ones, so that none of the few is hidden; none where nothing was left out.
        equal: ends of the line at which estimate and effect are equal, (x, y) twice.
        across, up: ticks of the estimate and of the effect.
    """

    title: str
    told: Sequence[str]
    dots: Sequence[Dot]
    equal: tuple[float, float, float, float]
    across: Sequence[Tick]
    up: Sequence[Tick]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    bottom: int = HEIGHT - BOTTOM
    top: int = TOP

    __repr__ = short_repr


def screen_parts(screens: Sequence[Screened]) -> list[ScreenPart]:
    """One part for each screen."""
    return [_part(found) for found in screens]


def _part(found: Screened) -> ScreenPart:
    known = [cell for cell in found.cells if cell.estimate is not None and cell.effect is not None]
    estimates, effects = np.array([(cell.estimate, cell.effect) for cell in known], dtype=float).reshape(-1, 2).T
    (left, right), (low, high) = _range(estimates), _range(effects)

    def x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT) * (value - left) / (right - left), 1)

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - BOTTOM - TOP) * (high - value) / (high - low), 1)

    dots = [
        Dot(
            x=x(estimate),
            y=y(effect),
            why=cell.why,
            said=f"{place(cell)} ({cell.why}): estimate {written(float(estimate))}, effect {written(float(effect))}",
        )
        for cell, estimate, effect in zip(known, estimates, effects, strict=True)
    ]
    first, last = max(left, low), min(right, high)
    label = POINTS[found.hook].label if found.hook in POINTS else found.hook
    return ScreenPart(
        title=f"{capital(label)}, {called(found.experiment)}, {found.direction}",
        told=[*screen_told(found)],
        dots=dots if found.left_out else [],
        equal=(x(first), y(first), x(last), y(last)),
        across=[Tick(at=x(value), text=text) for value, text in _ticks(left, right)],
        up=[Tick(at=y(value), text=text) for value, text in _ticks(low, high)],
    )


def _range(values: np.ndarray) -> tuple[float, float]:
    """From the smallest to the largest value, zero included, and a little more."""
    low, high = float(min(0.0, *values, 0.0)), float(max(0.0, *values, 0.0))
    more = MARGIN * max(high - low, NARROWEST)
    return low - more, high + more


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round values of a range, with as many decimals as they have, and at least two."""
    values = np.asarray(MaxNLocator(6).tick_values(low, high))
    small = (values[1] - values[0]) / 100
    decimals = next(count for count in range(2, 20) if np.allclose(values, values.round(count), rtol=0, atol=small))
    return [(float(value), written(float(value), f".{decimals}f")) for value in values if low <= value <= high]
