"""Time `summarise` on a table as large as a real run's.

OMP_NUM_THREADS=1 python scripts/measure_stats.py
"""

import argparse
import time

import numpy as np
import pyarrow as pa

from mechpatch.stats import summarise

EXPERIMENTS = ("layer", "position", "relay", "cumulative")
DONORS = ("paired", "self", "other_pair", "same_value", "gaussian")


def records(pairs: int, layers: int, sites: int, experiments: tuple[str, ...] = EXPERIMENTS) -> pa.Table:
    """Random records with `sites` columns in every experiment, five donors and both directions."""
    shape = (2, len(DONORS), len(experiments), pairs, layers, sites)
    direction, donor, experiment, pair, layer, site = (index.ravel() for index in np.indices(shape))
    generator = np.random.default_rng(0)
    moved = generator.normal(0.3, 0.3, direction.size) * (donor == 0)
    recovery = np.where(direction == 0, moved, 1 - moved)
    chained = np.isin(np.array(experiments)[experiment], ("relay", "cumulative"))
    columns = {
        "experiment": np.array(experiments)[experiment],
        "direction": np.array(("denoise", "noise"))[direction],
        "donor": np.array(DONORS)[donor],
        "pair_index": pair,
        "pair_id": np.char.add("pair-", pair.astype(str)),
        "layer": layer,
        "width": np.ones(direction.size, dtype=np.int64),
        "site": np.char.add("t", site.astype(str)),
        "site_index": site,
        "step": np.where(chained, site, 0),
        "both_correct": np.ones(direction.size, dtype=bool),
        "structural": np.zeros(direction.size, dtype=bool),
        "kl_divergence": moved**2,
        "recovery": recovery,
        "answer_logprob_diff": 12 * recovery - 6,
        "outcome": np.where(recovery > 0.5, "clean", "corrupted"),
        "clean_answer": np.full(direction.size, "18"),
        "corrupted_answer": np.full(direction.size, "21"),
        "answer_logprob_diff_clean_run": np.full(direction.size, 6.0),
        "answer_logprob_diff_corrupted_run": np.full(direction.size, -6.0),
    }
    return pa.table(columns)


def main() -> None:
    """Build the table, summarise it, say how long that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=57)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--sites", type=int, default=8)
    asked = parser.parse_args()
    table = records(asked.pairs, asked.layers, asked.sites)
    started = time.perf_counter(), time.process_time()
    found = summarise(table, seed=0)
    wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    print(f"{table.num_rows} rows, {len(found.cells)} cells: {wall:.1f} s, {cpu:.1f} s of CPU")  # noqa: T201


if __name__ == "__main__":
    main()
