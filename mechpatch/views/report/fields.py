"""Fields of pairs as facets: each field of the user's file splits the pairs into a few groups that can be compared.

Few values are groups of their own; many numbers are cut into ranges of about equal size; of many texts the most
frequent are kept and the rest is one group. A field with a single value splits nothing and is left out.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

PREFIX = "field."
MOST_VALUES, RANGES = 8, 4


def describe_fields(table: pa.Table, pairs: Sequence[int]) -> list[dict[str, Any]]:
    """Facets of the pairs `pairs` (pair_index): {name, groups: labels, of: group of each pair, in the same order}."""
    names = [name for name in table.column_names if name.startswith(PREFIX)]
    rows = {row["pair_index"]: row for row in first_rows(table).to_pylist()}
    columns = {name.removeprefix(PREFIX): [rows[pair][name] for pair in pairs] for name in names}
    facets = []
    for name, values in _without_mirrors(columns).items():
        labels, of = split(values)
        if len(labels) > 1:
            facets.append({"name": name, "groups": labels, "of": of})
    return facets


def first_rows(table: pa.Table) -> pa.Table:
    """One row for each pair, in the order of `pair_index`: for what does not depend on the cell."""
    _, first = np.unique(table["pair_index"].to_numpy(), return_index=True)
    return table.take(first)


def split(values: Sequence[Any]) -> tuple[list[str], list[int]]:
    """Labels of the groups, and the group of each value; NaN and infinity count as missing."""
    values = [None if isinstance(value, float) and not math.isfinite(value) else value for value in values]
    distinct = sorted({_label(value): value for value in values}.items(), key=lambda item: _order(item[1]))
    if len(distinct) <= MOST_VALUES:
        labels = [label for label, _ in distinct]
        return labels, [labels.index(_label(value)) for value in values]
    numbers = [value for value in values if _is_number(value)]
    if len(numbers) == sum(value is not None for value in values):
        return _ranges(values, numbers)
    return _frequent([_label(value) for value in values])


def _ranges(values: Sequence[Any], numbers: Sequence[int | float]) -> tuple[list[str], list[int]]:
    edges = np.unique(np.quantile(numbers, np.arange(1, RANGES) / RANGES))
    of = [int(np.searchsorted(edges, value)) if _is_number(value) else len(edges) + 1 for value in values]
    kept = sorted(set(of))
    labels = []
    for group in kept:
        inside = [value for value, each in zip(values, of, strict=True) if each == group]
        low, high = (inside[0], inside[0]) if inside[0] is None else (min(inside), max(inside))
        labels.append(_label(low) if low == high else f"{_label(low)} – {_label(high)}")
    return labels, [kept.index(group) for group in of]


def _frequent(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    kept = [text for text, _ in Counter(texts).most_common(MOST_VALUES - 1)]
    rest = len(set(texts)) - len(kept)
    labels = [*kept, f"{rest} other values"]
    return labels, [kept.index(text) if text in kept else len(kept) for text in texts]


def _without_mirrors(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """A field that both sides of every pair share is one field."""
    found = dict(columns)
    for name in columns:
        base = name.removeprefix("clean.")
        other = f"corrupted.{base}"
        if name.startswith("clean.") and base not in columns and columns.get(other) == columns[name]:
            del found[name], found[other]
            found[base] = columns[name]
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then texts, then what is missing."""
    if _is_number(value):
        return 0, float(value), ""
    return (2 if value is None else 1), 0.0, str(value)


def _label(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case _:
            return str(value)
