"""Tables as probes write them, in which it is known what they find."""

from collections.abc import Mapping

import pyarrow as pa

LAYERS, SITES = 2, ("bot", "t0", "t1", "answer")


def probe_table(scores: Mapping[tuple[str, int, str], float], control: float = 0.0, pairs: int = 12) -> pa.Table:
    """A table in which every question has the score that is named by target, layer and site; 0 elsewhere.

    Args:
        control: what probes of shuffled labels score everywhere.
    """
    return pa.Table.from_pylist(
        [
            {
                "pair_index": pair,
                "pair_id": f"pair-{pair}",
                "both_correct": True,
                "side": side,
                "hook": "resid_post",
                "layer": layer,
                "site": site,
                "site_index": number,
                "target": target,
                "numeric": True,
                "truth": "1",
                "predicted": "1",
                "score": scores.get((target, layer, site), 0.0),
                "control": control,
            }
            for target in dict.fromkeys(name for name, _, _ in scores)
            for pair in range(pairs)
            for side in ("clean", "corrupted")
            for layer in range(LAYERS)
            for number, site in enumerate(SITES)
        ]
    )
