"""Two cells of a run, or the same cells of two runs, compared pair by pair on the pairs that both have.

A pair that the unpatched model gets wrong on either side of a comparison is left out of it, unless asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mechpatch.errors import SpecError
from mechpatch.kinds.cells import spelt
from mechpatch.names import not_known
from mechpatch.points import POINTS
from mechpatch.stats.answers import asks_for_answers
from mechpatch.stats.cells import DERIVED, FLAGS, Cells, Column, Group, groups, nulls_beside, select
from mechpatch.stats.common_pairs import common_pairs, ids_of, renumbered
from mechpatch.stats.compare_answers import compare_answers
from mechpatch.stats.comparison import (
    OTHER_RUN,
    CellComparison,
    ComparedCell,
    ComparedPlaces,
    PairCounts,
    Place,
    RunComparison,
)
from mechpatch.stats.contrasts import LEVEL, aligned, contrast, estimate_at, number, tested_at
from mechpatch.stats.estimates import bootstrap_mean, effect_size, minimum_detectable_effect, standard_deviation
from mechpatch.stats.switching import SHARES, paired_shares, shares

ADJUSTED = "adjusted Wald"  # see `paired_difference_limits`


def compare_cells(
    table: pa.Table, one: Place, other: Place, metric: str = "effect", seed: int = 0, include_incorrect: bool = False
) -> CellComparison:
    """The mean of `metric` at two cells of one run, and `one` − `other` pair by pair, tested.

    Raises:
        SpecError: the run has no such cell, or the metric is no number.
    """
    _require_number(table, metric)
    (a, at), (b, place) = (_find(table, each, include_incorrect) for each in (one, other))
    pairs = np.union1d(a.pairs, b.pairs)
    values_a, values_b = np.full((2, len(pairs)), np.nan)
    values_a[np.searchsorted(pairs, a.pairs)] = a.values(metric)[:, *at]
    values_b[np.searchsorted(pairs, b.pairs)] = b.values(metric)[:, *place]
    structural = np.array([a.structural[at] and b.structural[place]])
    (found,) = _compared(values_a[:, None], values_b[:, None], structural, seed, metric)
    cell = ComparedPlaces(places=(one, other), **found)
    return CellComparison(metric=metric, seed=seed, level=LEVEL, cells=(cell,))


def compare_runs(
    a: pa.Table,
    b: pa.Table,
    metric: str = "effect",
    seed: int = 0,
    include_incorrect: bool = False,
    unlike: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> RunComparison:
    """The mean of `metric` in two runs on the pairs that both have, and a − b pair by pair, for every cell of both.

    Beside it stand the pairs that switch in each, by McNemar's exact test. Experiments that ask for answers are told
    by these alone, see `compare_answers`.

    Args:
        unlike: pairs that are left out although both runs have their id, see `unlike_questions`.

    Raises:
        SpecError: no pair or no cell is in both, or the metric is no number.
    """
    for table in (a, b):
        _require_number(table, metric)
    both = common_pairs(ids_of(a), ids_of(b), unlike)
    only = [len(ids_of(table).keys() - both - unlike.keys()) for table in (a, b)]
    a, b = (table.filter(pc.field("pair_id").isin(both)) for table in (a, b))
    b = renumbered(b, ids_of(a))
    found_a, found_b = groups(a), groups(b)
    laid_out = {group: select(a, group, include_incorrect) for group in found_a if not asks_for_answers(group)}
    cells, answers = [], compare_answers(a, b)
    for group, one in laid_out.items():
        if group not in found_b:
            continue
        other = select(b, group, include_incorrect)
        grid = [
            (row, column)
            for row, layer in enumerate(one.layers)
            for column, name in enumerate(one.columns)
            if one.run[row, column] and _has(other, int(layer), name)
        ]
        if not grid or one.width != other.width:
            continue
        rows, columns = np.array(grid).T

        def placed(cells: Cells, name: str, one: Cells = one, at: Any = (slice(None), rows, columns)) -> np.ndarray:
            return aligned(one, cells, cells.values(name))[at]

        layers = np.searchsorted(other.layers, one.layers[rows])
        places = [other.columns.index(one.columns[column]) for column in columns]
        structural = one.structural[rows, columns] & other.structural[layers, places]
        left_out = max(one.left_out, other.left_out)
        compared = _compared(placed(one, metric), placed(other, metric), structural, seed, metric, left_out)
        rival = placed(other, "switched")
        nulls = {donor: placed(null, "switched") for donor, null in nulls_beside(group, laid_out).items()}
        switched = np.where(np.isnan(rival), np.nan, placed(one, "switched"))
        found_shares = shares(switched, {OTHER_RUN: rival, **nulls}, one.structural[rows, columns], left_out)
        cells += [
            ComparedCell(
                **group._asdict(),
                layer=int(one.layers[row]),
                width=one.width,
                **one.columns[column]._asdict(),
                switched=share,
                **found,
            )
            for (row, column), found, share in zip(grid, compared, found_shares, strict=True)
        ]
    if not cells and not answers:
        raise SpecError(
            f"the runs have no cell in common: one has {_named(found_a)}, the other {_named(found_b)}; "
            "run the same experiment on both"
        )
    sizes = [_size(table, include_incorrect) for table in (a, b)]
    return RunComparison(
        metric=metric,
        seed=seed,
        level=LEVEL,
        counts=PairCounts(
            pairs=len(both),
            only_in_a=only[0],
            only_in_b=only[1],
            unlike=len(unlike),
            used_a=sizes[0][0],
            used_b=sizes[1][0],
        ),
        only_in_a=sizes[0][1] - len(cells) - len(answers),
        only_in_b=sizes[1][1] - len(cells) - len(answers),
        cells=tuple(cells),
        answers=answers,
    )


def unlike_questions(a: Mapping[str, Mapping[str, Any]], b: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The pairs of two runs that have one id and were asked different things, with the parts that differ."""
    parts = {
        pair_id: [part for part in a[pair_id] if a[pair_id][part] != b[pair_id].get(part)]
        for pair_id in a
        if pair_id in b
    }
    return {pair_id: differing for pair_id, differing in parts.items() if differing}


def _has(cells: Cells, layer: int, column: Column) -> bool:
    """Whether a cell was run."""
    if layer not in cells.layers or column not in cells.columns:
        return False
    return bool(cells.run[np.searchsorted(cells.layers, layer), cells.columns.index(column)])


def _compared(
    a: np.ndarray, b: np.ndarray, structural: np.ndarray, seed: int, metric: str, left_out: int = 0
) -> list[dict[str, Any]]:
    """The fields of `Compared` for each cell of two arrays (pair × cell), over the pairs that have both."""
    undefined = np.isnan(a - b)
    a, b = np.where(undefined, np.nan, a), np.where(undefined, np.nan, b)
    difference = contrast(a - b, structural, seed, left_out)
    if metric in SHARES:  # exact, where flips of signs are drawn
        test = paired_shares(a, b, structural, left_out)
        interval = replace(
            difference.interval, low=test["low"], high=test["high"], method=np.full(len(structural), ADJUSTED)
        )
        difference = replace(difference, interval=interval, p=test["p"], q=test["q"])
    means = [bootstrap_mean(values, seed, LEVEL) for values in (a, b)]
    size = effect_size(a - b)
    detectable = minimum_detectable_effect(standard_deviation(a - b), difference.interval.n)
    return [
        {
            "structural": bool(structural[at]),
            "a": estimate_at(means[0], (at,)),
            "b": estimate_at(means[1], (at,)),
            "difference": tested_at(difference, (at,)),
            "effect_size": number(size, (at,)),
            "minimum_detectable_difference": number(detectable, (at,)),
        }
        for at in range(len(structural))
    ]


def _find(table: pa.Table, place: Place, include_incorrect: bool) -> tuple[Cells, tuple[int, int]]:
    """The cells of a place's group, and its layer and column among them."""
    found = groups(table)
    directions = [place.direction] if place.direction else [group.direction for group in found]
    wanted = [Group(place.experiment, direction, place.donor, place.hook) for direction in directions]
    group = next((each for each in wanted if each in found), None)
    if group is None:
        raise SpecError(f"the run has no cell {_spelt(place)}; {_instead(place, found)}")
    cells = select(table, group, include_incorrect)
    columns = [
        index
        for index, column in enumerate(cells.columns)
        if column.site == place.site and place.head in (column.head, None)
    ]
    word = POINTS[place.hook].part if place.hook in POINTS else "head"
    if cells.heads and place.head is None:
        raise SpecError(
            f"the run has no cell {_spelt(place)} without a {word}; name one, as in "
            f"{place.experiment}@{place.hook}.{cells.heads[0]}"
        )
    if place.layer not in cells.layers or not columns:
        raise SpecError(
            f"the run has no cell {_spelt(place)}; {group.experiment} has the layers "
            f"{', '.join(map(str, cells.layers))}"
            f"{f', the {word}s {_few(cells.heads)}' if cells.heads else ''} and the sites "
            f"{', '.join(dict.fromkeys(column.site for column in cells.columns))}"
        )
    at = int(np.searchsorted(cells.layers, place.layer)), columns[0]
    if not cells.run[at]:
        raise SpecError(f"the screen left {_spelt(place)} out: it was not run; compare one that was, or run it")
    return cells, at


def _instead(place: Place, groups: Sequence[Group]) -> str:
    """What a run has of the part of a place's name that none of its groups has."""
    name = spelt(place.experiment, place.hook, None)
    here = [each for each in groups if spelt(each.experiment, each.hook, None) == name]
    if not here:
        experiments = dict.fromkeys(spelt(each.experiment, each.hook, None) for each in groups)
        return f"it has {', '.join(experiments) or 'nothing'}"
    directions = dict.fromkeys(each.direction for each in here)
    if place.direction not in (None, *directions):
        return f"{name} has the direction {', '.join(directions)}"
    return f"{name} has the donors {', '.join(dict.fromkeys(each.donor for each in here))}"


def _few(parts: list[int]) -> str:
    """The first of some numbers, and the last of many."""
    return ", ".join(map(str, parts)) if len(parts) <= 64 else f"{', '.join(map(str, parts[:8]))}, …, {parts[-1]}"


def _spelt(place: Place) -> str:
    cell = spelt(place.experiment, place.hook, place.head), place.layer, place.site, place.direction, place.donor
    return ":".join(str(part) for part in cell if part is not None)


def _named(found: list[Group]) -> str:
    named = (f"{spelt(each.experiment, each.hook, None)}, {each.direction}, {each.donor}" for each in found)
    return "; ".join(named) or "nothing"


def _require_number(table: pa.Table, metric: str) -> None:
    if metric in DERIVED:
        return
    numbers = [
        field.name
        for field in table.schema
        if (pa.types.is_floating(field.type) or pa.types.is_boolean(field.type))
        and field.name not in FLAGS
        and not field.name.endswith("_run")
    ]
    if metric not in numbers:
        raise SpecError(not_known("--metric", [metric], [*DERIVED, *numbers]))


def _size(table: pa.Table, include_incorrect: bool) -> tuple[int, int]:
    """Pairs that are used, and cells."""
    used = table if include_incorrect else table.filter(pc.field("both_correct"))
    cells = table.group_by([*Group._fields, "layer", *Column._fields]).aggregate([])
    return len(used["pair_index"].unique()), cells.num_rows
