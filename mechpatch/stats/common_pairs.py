"""The pairs that two runs have in common, under the indices of the first."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mechpatch.errors import SpecError


def ids_of(table: pa.Table) -> dict[str, int]:
    """Index of each pair, by its id."""
    pairs = table.group_by(["pair_id", "pair_index"]).aggregate([]).sort_by("pair_index")
    return dict(zip(pairs["pair_id"].to_pylist(), pairs["pair_index"].to_pylist(), strict=True))


def common_pairs(a: Mapping[str, Any], b: Mapping[str, Any], unlike: Mapping[str, Sequence[str]]) -> list[str]:
    """Ids of the pairs that both runs have. Raises `SpecError` if there are none."""
    if both := [pair_id for pair_id in a if pair_id in b and pair_id not in unlike]:
        return both
    said = f"the first has {_some(list(a))}, the second {_some(list(b))}"
    if unlike:
        pair_id, parts = next(iter(unlike.items()))
        said = f"{len(unlike)} ids agree, but what was asked differs: {pair_id} in {', '.join(parts)}"
    raise SpecError(f"the runs have no pair in common: {said}. Run both on one file of pairs")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def renumbered(table: pa.Table, ids: dict[str, int]) -> pa.Table:
    """`table` with the pair indices of `ids`."""
    present = ids_of(table)
    index = np.zeros(max(present.values(), default=0) + 1, dtype=np.int64)
    for pair_id, place in present.items():
        index[place] = ids[pair_id]
    at = table.column_names.index("pair_index")
    return table.set_column(at, "pair_index", pa.array(index[table["pair_index"].to_numpy()]))
