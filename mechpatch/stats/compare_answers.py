"""Thoughts taken away, counted and swapped in two runs: the same share of the same pairs, one run against the other."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from mechpatch.catalogue import from_question
from mechpatch.stats.answers import asks_for_answers
from mechpatch.stats.cell_values import Share
from mechpatch.stats.cells import Cells, Group, groups, nulls_beside, select
from mechpatch.stats.comparison import OTHER_RUN, ComparedAnswers
from mechpatch.stats.contrasts import aligned
from mechpatch.stats.switching import shares

COMPARED = ("kept", "followed")


def compare_answers(a: pa.Table, b: pa.Table) -> tuple[ComparedAnswers, ...]:
    """Every cell that both runs have of an experiment that asks for answers.

    Args:
        a, b: records of the same pairs, with the same `pair_index`. A pair that the unpatched model of either run gets
            wrong does not count.
    """
    laid_out = {group: select(a, group, include_incorrect=True) for group in groups(a) if asks_for_answers(group)}
    there = {*groups(b)}
    return tuple(
        cell
        for group, one in laid_out.items()
        if group in there
        for cell in _compared(group, one, select(b, group, include_incorrect=True), laid_out)
    )


def _compared(group: Group, one: Cells, other: Cells, laid_out: Mapping[Group, Cells]) -> list[ComparedAnswers]:
    if one.width != other.width:
        return []
    grid = [
        (row, column)
        for row, layer in enumerate(one.layers)
        for column, name in enumerate(one.columns)
        if layer in other.layers and name in other.columns
    ]
    if not grid:
        return []
    rows, columns = np.array(grid).T
    to_layer = np.searchsorted(other.layers, one.layers[rows])
    to_column = [other.columns.index(one.columns[column]) for column in columns]
    # Where one run cannot move, a difference is no finding: so without recurrence at thoughts of the last layer.
    structural = one.structural[rows, columns] | other.structural[to_layer, to_column]
    nulls = {donor: cells for donor, cells in nulls_beside(group, laid_out).items() if not from_question(donor)}

    def share_of(name: str) -> list[Share]:
        own, rival, *controls = (
            aligned(one, cells, cells.values(name))[:, rows, columns] for cells in (one, other, *nulls.values())
        )
        own = np.where(np.isnan(rival), np.nan, own)
        return shares(own, {OTHER_RUN: rival, **dict(zip(nulls, controls, strict=True))}, structural)

    found = {name: share_of(name) for name in COMPARED}
    return [
        ComparedAnswers(
            **group._asdict(),
            layer=int(one.layers[row]),
            width=one.width,
            **one.columns[column]._asdict(),
            structural=bool(structural[at]),
            kept=found["kept"][at],
            followed=found["followed"][at],
        )
        for at, (row, column) in enumerate(grid)
    ]
