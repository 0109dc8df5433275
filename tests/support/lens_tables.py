"""Tables as a lens writes them, in which it is known what is hit."""

from collections.abc import Mapping

import pyarrow as pa

from mechpatch.readings.table import LENS_SCHEMA

LAYERS, SITES = 2, ("bot", "t0", "t1", "answer")
MISS = 50
Where = tuple[str, str, int, str]  # side, target, layer, site


def lens_table(
    hits: Mapping[Where, int],
    controls: Mapping[str, Mapping[Where, int]] | None = None,
    pairs: int = 12,
    *,
    wrong: int = 0,
    shared: int = 0,
    tokens: int = 1,
    steps: int = 2,
) -> pa.Table:
    """A table in which the first so many pairs are hit at each place that is named, and no others.

    Args:
        controls: the same for each control that was run; by default two that are hit nowhere.
        wrong: how many of the last pairs the model gets wrong.
        shared: how many of the first pairs have another value with the token of step 1.
        tokens: how many tokens every value has.
    """
    run = {"other_question": {}, "shuffled_values": {}} if controls is None else controls
    targets = (*(f"step{number + 1}" for number in range(steps)), "clean_answer", "corrupted_answer")
    rows = [
        {
            "pair_index": pair,
            "pair_id": f"pair-{pair}",
            "both_correct": pair < pairs - wrong,
            "side": side,
            "hook": "resid_post",
            "layer": layer,
            "site": site,
            "site_index": at,
            "target": target,
            "value": str(pair),
            "token": pair,
            "token_text": str(pair),
            "tokens": tokens,
            "shared": "step2" if target == "step1" and pair < shared else "",
            "rank": 1 if pair < hits.get((side, target, layer, site), 0) else MISS,
            "logprob": -1.0,
            "top": [],
        }
        | {
            f"rank_{name}": 1 if pair < found.get((side, target, layer, site), 0) else MISS
            for name, found in run.items()
        }
        for pair in range(pairs)
        for side in ("clean", "corrupted")
        for layer in range(LAYERS)
        for at, site in enumerate(SITES)
        for target in targets
    ]
    return pa.Table.from_pylist(rows, schema=LENS_SCHEMA)
