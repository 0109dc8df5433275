"""The cells of a summary as DataFrames: the address of a cell, and the values that a script asks for most often."""

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING

from mechpatch.stats.answers import SHARES, AnswerCell
from mechpatch.stats.cell_values import CellAddress, CellSummary, Estimate, Share

if TYPE_CHECKING:
    import pandas as pd

_ADDRESS = tuple(each.name for each in fields(CellAddress))


def cells_frame(cells: Iterable[CellSummary]) -> "pd.DataFrame":
    """One row per cell and donor: its address, the share that switches and the mean effect with their intervals, q."""
    import pandas as pd

    rows = []
    for cell in cells:
        row = _named(cell) | {"structural": cell.structural, "pairs": cell.switched.n, "q": cell.q}
        row |= _with_interval("switched", cell.switched, cell.switched.share) | {"neither": cell.neither.share}
        row |= _with_interval("effect", cell.effect, cell.effect.mean) | {"recovery": cell.recovery.mean}
        rows.append(row)
    return pd.DataFrame(rows)


def answers_frame(cells: Iterable[AnswerCell]) -> "pd.DataFrame":
    """One row per cell and donor: its address, and each share of pairs with its interval and number of pairs."""
    import pandas as pd

    rows = []
    for cell in cells:
        row = _named(cell) | {"structural": cell.structural}
        for name in SHARES:
            share: Share = getattr(cell, name)
            row |= _with_interval(name, share, share.share) | {f"{name}_pairs": share.n}
        rows.append(row)
    return pd.DataFrame(rows)


def _named(cell: CellAddress) -> dict[str, object]:
    return {name: getattr(cell, name) for name in _ADDRESS}


def _with_interval(name: str, found: Share | Estimate, value: float | None) -> dict[str, object]:
    return {name: value, f"{name}_low": found.low, f"{name}_high": found.high}
