"""Records of experiments that ask for answers, made by hand: own answer 21, the other side's 18, an expected one."""

from collections.abc import Sequence

import pyarrow as pa

OWN, OTHER, NEITHER, THIRD = "corrupted", "clean", "other", "expected"
Cell = tuple[str, str, str, int, Sequence[str]]  # experiment, donor, site, step, outcome of each pair


def answer_table(*cells: Cell, expected: str | None = "39", wrong: Sequence[int] = ()) -> pa.Table:
    """One row for each cell and pair.

    Args:
        wrong: pairs that the unpatched model gets wrong.
    """
    numbers = {f"answer_logprob_diff{run}": 0.0 for run in ("", "_clean_run", "_corrupted_run")}
    rows = [
        {"experiment": experiment, "direction": "denoise", "donor": donor, "hook": "thought", "head": None, "layer": 0,
         "width": 1, "site": site, "site_index": step, "step": step, "pair_index": pair, "pair_id": f"pair-{pair}",
         "both_correct": pair not in wrong, "structural": False, "outcome": outcome, "clean_answer": "18",
         "corrupted_answer": "21", "expected_answer": expected if experiment == "swap" else None,
         "expected_logprob_change": 0.0, **numbers}
        for experiment, donor, site, step, outcomes in cells
        for pair, outcome in enumerate(outcomes)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=None).cast(_schema(rows))


def _schema(rows: Sequence[dict]) -> pa.Schema:
    kinds = {str: pa.string(), int: pa.int64(), bool: pa.bool_(), float: pa.float64()}
    given = {name: next((type(row[name]) for row in rows if row[name] is not None), str) for name in rows[0]}
    return pa.schema([(name, pa.int64() if name == "head" else kinds[kind]) for name, kind in given.items()])
