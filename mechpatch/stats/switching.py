"""How many pairs change their answer: the share that switches to the other side's, and the share that gives neither.

Both are shares of the pairs whose two answers differ and are both given by the unpatched runs. A write that wrecks both
answers moves the mean recovery by a half, but it makes no pair switch.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from mechpatch.catalogue import role_of
from mechpatch.stats.cell_values import Share, ShareTest
from mechpatch.stats.cells import Cells, Group, nulls_beside
from mechpatch.stats.contrasts import LEVEL, aligned, joint_at, joint_p, number
from mechpatch.stats.estimates import benjamini_hochberg

SHARES = ("switched", "neither")


def proportion_limits(
    hits: Int[np.ndarray, "*cell"], n: Int[np.ndarray, "*cell"], level: float = LEVEL
) -> tuple[Float[np.ndarray, "*cell"], Float[np.ndarray, "*cell"]]:
    """Low and high limit of the share `hits` / `n`, after Clopper and Pearson; NaN where `n` is 0.

    They are exact, so they hold the true share at least as often as `level` says.
    """
    tail = (1 - level) / 2
    low = np.where(hits == 0, 0.0, stats.beta.ppf(tail, hits, n - hits + 1))
    high = np.where(hits == n, 1.0, stats.beta.ppf(1 - tail, hits + 1, n - hits))
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def mcnemar_p(more: Int[np.ndarray, "*cell"], less: Int[np.ndarray, "*cell"]) -> Float[np.ndarray, "*cell"]:
    """McNemar's exact two-sided p value; 1 without any pair.

    Args:
        more, less: how many pairs changed in the first run alone, and in the second run alone.
    """
    return np.asarray(np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(more, less), more + less, 0.5)))


def paired_difference_limits(
    more: Int[np.ndarray, "*cell"], less: Int[np.ndarray, "*cell"], n: Int[np.ndarray, "*cell"], level: float = LEVEL
) -> tuple[Float[np.ndarray, "*cell"], Float[np.ndarray, "*cell"]]:
    """Low and high limit of the difference of two shares of the same `n` pairs, (`more` − `less`) / `n`.

    Bonett and Price's adjusted Wald interval (J. Educ. Behav. Stat. 37, 2012): one more pair is counted on each side.
    It holds its level at small `n` and at shares near 0 and 1, where the plain one does not. NaN where `n` is 0.
    """
    one, other = (more + 1) / (n + 2), (less + 1) / (n + 2)
    reach = stats.norm.ppf((1 + level) / 2) * np.sqrt((one + other - (one - other) ** 2) / (n + 2))
    low, high = np.maximum(one - other - reach, -1.0), np.minimum(one - other + reach, 1.0)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def switching(group: Group, laid_out: Mapping[Group, Cells]) -> list[list[dict[str, Share]]]:
    """The shares `switched` and `neither` of each cell of `group`: a list of layers, each a list of columns."""
    return shares_of(group, laid_out, SHARES)


def shares_of(group: Group, laid_out: Mapping[Group, Cells], names: Sequence[str]) -> list[list[dict[str, Share]]]:
    """Some shares of each cell of `group`, by name: a list of layers, each a list of columns.

    Args:
        names: columns of 0 and 1, as `Cells.values` has them; NaN where a pair does not count.
    """
    cells = laid_out[group]
    nulls = nulls_beside(group, laid_out)
    found = {name: _share(cells, name, nulls) for name in names}
    rows, across = cells.structural.shape
    return [[{name: found[name][row * across + at] for name in names} for at in range(across)] for row in range(rows)]


def _share(cells: Cells, name: str, nulls: Mapping[str, Cells]) -> list[Share]:
    """One share for each cell, layers outermost."""
    others = {donor: aligned(cells, null, null.values(name)) for donor, null in nulls.items()}
    return shares(cells.values(name), others, cells.structural, cells.left_out)


def shares(
    values: Float[np.ndarray, " pair *cell"],
    others: Mapping[str, Float[np.ndarray, " pair *cell"]],
    structural: Bool[np.ndarray, "*cell"],
    left_out: int = 0,
) -> list[Share]:
    """The share of each cell, held against each of `others`, by name: null donors, or another run.

    Args:
        structural, left_out: see `mechpatch.stats.contrasts.contrast`.
    """
    known = ~np.isnan(values)
    n, count = known.sum(axis=0), (values == 1).sum(axis=0)
    low, high = proportion_limits(count, n)
    beyond = {name: paired_shares(values, other, structural, left_out) for name, other in others.items()}
    p = joint_p([more_p(test) for name, test in beyond.items() if role_of(name) == "control"], np.zeros(n.shape))
    q = benjamini_hochberg(np.where(structural, np.nan, p), left_out)
    return [
        Share(
            count=int(count[at]),
            n=int(n[at]),
            share=float(count[at] / n[at]) if n[at] else None,
            low=number(low, at),
            high=number(high, at),
            beyond={name: share_test_at(test, at) for name, test in beyond.items()},
            beyond_every=joint_at(p, q, at),
        )
        for at in np.ndindex(structural.shape)
    ]


def share_of(right: Sequence[bool]) -> Share:
    """The share of one list of yes and no, with its interval, held against nothing."""
    values = np.array(right, dtype=float).reshape(len(right), 1)
    return shares(values, {}, np.zeros(1, dtype=bool))[0]


def paired_shares(
    values: Float[np.ndarray, " pair *cell"],
    other: Float[np.ndarray, " pair *cell"],
    structural: Bool[np.ndarray, "*cell"],
    left_out: int = 0,
) -> dict[str, np.ndarray]:
    """The fields of `ShareTest` for each cell, for 0/1 `values` held against those of `other`; see `shares`."""
    both = ~np.isnan(values) & ~np.isnan(other)
    n = both.sum(axis=0)
    more, less = ((both & (one > two)).sum(axis=0) for one, two in ((values, other), (other, values)))
    p = np.where(n > 0, mcnemar_p(more, less), np.nan)
    share = np.divide((both & (other == 1)).sum(axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)
    low, high = paired_difference_limits(more, less, n)
    q = benjamini_hochberg(np.where(structural, np.nan, p), left_out)
    return {"n": n, "share": share, "more": more, "less": less, "low": low, "high": high, "p": p, "q": q}


def more_p(test: Mapping[str, np.ndarray]) -> Float[np.ndarray, "*cell"]:
    """p of "no more pairs do it": 1 where not more do, NaN where no pair has both."""
    return np.where((test["more"] > test["less"]) | np.isnan(test["p"]), test["p"], 1.0)


def share_test_at(test: Mapping[str, np.ndarray], at: tuple[int, ...]) -> ShareTest:
    """The test in the cell with index `at`, of what `paired_shares` gives."""
    n, more, less = (int(test[name][at]) for name in ("n", "more", "less"))
    share, low, high, p, q = (number(test[name], at) for name in ("share", "low", "high", "p", "q"))
    return ShareTest(n=n, share=share, more=more, less=less, low=low, high=high, p=p, q=q)
