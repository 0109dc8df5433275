"""How often the words of a run are wrong, on simulated maps whose cells are known.

    python scripts/simulate_claims.py --maps 20
    python scripts/simulate_claims.py --maximum --maps 600

The first prints, for each world and kind of experiment, how many of the cells that carry nothing are claimed, and how
many of those that carry the answer are not, before and after means and sets were held against the controls. The second
prints how often the interval of the largest share of a map misses the truth, and how often that of the best cell does.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from scipy.stats import norm

from mechpatch.kinds import kind_of
from mechpatch.stats import CellSummary, summarise_cells
from mechpatch.stats.cell_values import Gain, Held, Tested
from mechpatch.stats.clear import FALSE_DISCOVERIES, FEWEST_PAIRS, SMALLEST, is_clear
from mechpatch.stats.maximum import largest_share_limits
from mechpatch.stats.switching import proportion_limits

LAYERS, SITES, PAIRS = 4, ("t0", "t1", "t2", "t3"), 40
KINDS = {
    "layer": ("all",), "position": SITES, "relay": SITES, "cumulative": SITES, "leave_one_out": SITES,
    "pairwise": ("t0+t1", "t1+t2", "t2+t3", "t0+t3"), "window": SITES,
}  # fmt: skip
# One thought at layer 1 carries, and whatever writes it; so do two thoughts, and two layers, that need each other.
CARRIES = {
    "layer": {(1, "all")}, "position": {(1, "t1")}, "relay": {(1, "t0"), (1, "t1")},
    "cumulative": {(1, site) for site in SITES[1:]}, "leave_one_out": {(1, "t0"), (1, "t2"), (1, "t3")},
    "pairwise": {(1, "t0+t1"), (1, "t1+t2"), (1, "t2+t3")}, "window": {(0, "t1"), (1, "t1"), (2, "t2")},
}  # fmt: skip
# Where the claim is what a set does beyond its parts, and where that is not zero.
ASKED = {"leave_one_out": {(1, "t1")}, "pairwise": {(1, "t2+t3")}, "window": {(2, "t2")}}
WORLDS = ("half the pairs switch", "all are wrecked", "5 % switch", "skewed gaps", "no effect")


def world(name: str, generator: np.random.Generator) -> pa.Table:
    """The records of one run; where all are wrecked, the control wrecks them, too."""
    gap = generator.lognormal(1.0, 1.2, PAIRS) if name == "skewed gaps" else generator.lognormal(2.3, 0.3, PAIRS)
    blocks = []
    for kind, sites in KINDS.items():
        for layer in range(LAYERS - (kind == "window")):
            for at, site in enumerate(sites):
                for donor in ("paired", "other_pair"):
                    carries = (layer, site) in CARRIES[kind]
                    blocks.append(_cell(name, kind, donor, layer, at, site, carries, gap, generator))
    return pa.concat_tables(blocks)


def _cell(
    name: str, kind: str, donor: str, layer: int, at: int, site: str, carries: bool, gap: np.ndarray,
    generator: np.random.Generator,
) -> pa.Table:  # fmt: skip
    moved = generator.normal(0.0, 0.5, PAIRS) / gap
    wrecked = carries and name == "all are wrecked"
    if wrecked:
        moved += generator.normal(0.5, 0.1, PAIRS)
    elif carries and donor == "paired" and name != "no effect":
        moved += generator.random(PAIRS) < (0.05 if name == "5 % switch" else 0.5)
    outcome = ["other" if wrecked else "clean" if each > 0.5 else "corrupted" for each in moved]
    same = {
        "experiment": kind, "direction": "denoise", "donor": donor, "hook": "resid_post", "head": None, "layer": layer,
        "width": 2 if kind == "window" else 1, "site": site, "site_index": at, "both_correct": True,
        "step": at if kind in ("relay", "cumulative") else 0, "structural": False, "kl_divergence": 0.0,
        "clean_answer": "18", "corrupted_answer": "21",
    }  # fmt: skip
    columns = {key: pa.array([value] * PAIRS, pa.int64() if value is None else None) for key, value in same.items()}
    varied = {
        "pair_index": np.arange(PAIRS), "recovery": moved, "outcome": outcome,
        "answer_logprob_diff": gap * (moved - 0.5), "answer_logprob_diff_clean_run": gap / 2,
        "answer_logprob_diff_corrupted_run": -gap / 2,
    }  # fmt: skip
    return pa.table(columns | {key: pa.array(value) for key, value in varied.items()})


def claimed(cell: CellSummary) -> bool:
    """Whether the words claim the cell: its switch or its mean, or of a set what it does beyond its parts."""
    gives = kind_of(cell.experiment).gives
    return is_clear(cell, gives) if gives else is_clear(cell) or is_clear(cell, "effect")


def claimed_before(cell: CellSummary) -> bool:
    """The rule until means were held against controls: the interval of the mean, with the q of another quantity."""
    if (gives := kind_of(cell.experiment).gives) is None:
        tests = [test for donor, test in cell.switched.beyond.items() if donor != "self"]
        switch = tests and all(test.more > test.less and (test.q or 0) <= FALSE_DISCOVERIES for test in tests)
        return _off_zero(cell.effect, cell.answer_logprob_change.q) or bool(switch and cell.switched.n >= FEWEST_PAIRS)
    found = cell.sets[gives]
    if isinstance(found, Gain):
        beats = all((each.low or 0) > 0 for each in found.over_layers.values())
        return beats and _off_zero(found.over_mean, found.over_every_layer.q)
    return isinstance(found, Held) and _off_zero(found, found.q)


def _off_zero(found: Tested, q: float | None) -> bool:
    if found.low is None or found.high is None or q is None:
        return False
    return (found.low > 0 or found.high < 0) and found.size >= SMALLEST and q <= FALSE_DISCOVERIES


def claims(name: str, maps: int) -> Iterator[str]:
    """A row for each kind: false and missed claims before and after."""
    counts = {kind: np.zeros((3, 2)) for kind in KINDS}  # cells, claims before, claims after: idle, carrying
    for seed in range(maps):
        for cell in summarise_cells(world(name, np.random.default_rng(seed)), seed):
            if cell.donor != "paired":
                continue
            true = (cell.layer, cell.site) in ASKED.get(cell.experiment, CARRIES[cell.experiment])
            true = int(true and name not in ("all are wrecked", "no effect"))
            counts[cell.experiment][:, true] += (1, claimed_before(cell), claimed(cell))
    for kind, (cells, before, after) in counts.items():
        wrong = [f"{each[0]:.0f}/{cells[0]:.0f}" for each in (before, after)]
        missed = [f"{cells[1] - each[1]:.0f}/{cells[1]:.0f}" for each in (before, after)]
        yield f"{name:22} {kind:14} {'  '.join(f'{each:>9}' for each in (*wrong, *missed))}"


def maxima(maps: int) -> Iterator[str]:
    """How often the interval of the largest of 30 shares misses it, and how often the interval of the best cell."""
    shares = {"all 2 %": [0.02] * 30, "all 50 %": [0.5] * 30, "all 90 %": [0.9] * 30, "one 90 %": [0.9] + [0.05] * 29}
    shares |= {"one 50 %, 29 at 40 %": [0.5] + [0.4] * 29, "1 % to 90 %": list(np.linspace(0.01, 0.9, 30))}
    for pairs in (20, 68):
        for name, share in shares.items():
            for together in (0.0, 0.8):
                missed = np.zeros(2)
                generator = np.random.default_rng(0)
                for seed in range(maps):
                    drawn = generator.normal(size=(pairs, 30)) * (1 - together) ** 0.5
                    drawn += generator.normal(size=(pairs, 1)) * together**0.5
                    values = (drawn < norm.ppf(share)).astype(float)
                    most = np.array(int(values.sum(axis=0).max()))
                    alone = [float(each) for each in proportion_limits(most, np.array(pairs))]
                    for at, (low, high) in enumerate((largest_share_limits(values, seed, resamples=999), alone)):
                        missed[at] += not low <= max(share) <= high
                rates = f"{missed[0] / maps:.3f} ({missed[1] / maps:.3f})"
                yield f"{pairs:3} pairs, {name:21} correlation {together:.1f}: {rates}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=20, help="how many maps of each world")
    parser.add_argument("--maximum", action="store_true", help="the interval of the largest share")
    asked = parser.parse_args()
    if not asked.maximum:
        print("world, kind: false claims before, after; missed before, after")  # noqa: T201
    for line in maxima(asked.maps) if asked.maximum else (row for each in WORLDS for row in claims(each, asked.maps)):
        print(line, flush=True)  # noqa: T201
