"""What the log says of one pair: the cell that moves it most, and whether its answer switches there."""

from typing import Any

import pyarrow as pa

from mechpatch.catalogue import PAIRED
from mechpatch.kinds.cells import ALL, JOIN, spelt
from mechpatch.values import answer_value

NAMES = ("experiment", "direction", "donor", "hook", "head", "layer", "site", "recovery", "outcome", "structural")
GIVEN = {"denoise": "clean", "noise": "corrupted"}  # the answer of the side that is written


def headline(table: pa.Table) -> dict[str, object]:
    """{pair_id, both_correct, cell, switched, effect, recovery} of the records of one pair, in its first direction.

    The cell is the best thought of `position`, if that was run, else the best thought of all experiments: one at which
    the answer switches before one at which it does not, then by effect, the share of the gap that the write moves:
    recovery, or 1 − recovery where corrupted vectors are written. `switched` is left out for a pair that the unpatched
    model gets wrong, and for one whose answers are equal in value.
    """
    first = table.slice(0, 1).to_pylist()[0]
    correct = first["both_correct"]
    can_switch = correct and answer_value(first["clean_answer"]) != answer_value(first["corrupted_answer"])
    found: dict[str, object] = {"pair_id": first["pair_id"], "both_correct": correct}
    rows = [
        row | {"effect": _effect(row), "switched": row["outcome"] == GIVEN[row["direction"]]}
        for row in table.select(NAMES).to_pylist()
        if (row["direction"], row["donor"]) == (first["direction"], PAIRED) and not row["structural"]
    ]
    for wanted in (_at_thoughts, lambda row: row["experiment"] == "position"):
        rows = [row for row in rows if wanted(row)] or rows
    if not rows:
        return found
    best = max(rows, key=lambda row: (can_switch and row["switched"], abs(row["effect"] or 0)))
    found["cell"] = f"{spelt(best['experiment'], best['hook'], best['head'])}:{best['layer']}:{best['site']}"
    if best["direction"] != "denoise":
        found["cell"] += f":{best['direction']}"
    if can_switch:
        found["switched"] = best["switched"]
    if best["effect"] is not None:
        found |= {"effect": round(best["effect"], 3), "recovery": round(best["recovery"], 3)}
    return found


def _effect(row: dict[str, Any]) -> float | None:
    if row["recovery"] is None:
        return None
    return row["recovery"] if row["direction"] == "denoise" else 1 - row["recovery"]


def _at_thoughts(row: dict[str, Any]) -> bool:
    return all(site == ALL or site[1:].isdecimal() for site in row["site"].split(JOIN))
