"""How many pairs change their answer: the share that switches to the other side's, and the share that gives neither.

Both are shares of the pairs whose two answers differ and are both given by the unpatched runs. A write that wrecks both
answers moves the mean recovery by a half, but it makes no pair switch.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from mechpatch.stats.cell_values import Share, ShareTest
from mechpatch.stats.cells import Cells, Group, nulls_beside
from mechpatch.stats.contrasts import LEVEL, aligned, number
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


def switching(group: Group, laid_out: Mapping[Group, Cells]) -> list[list[dict[str, Share]]]:
    """The shares `switched` and `neither` of each cell of `group`: a list of layers, each a list of columns."""
    cells = laid_out[group]
    nulls = nulls_beside(group, laid_out)
    found = {name: _share(cells, name, nulls) for name in SHARES}
    rows, across = cells.structural.shape
    return [[{name: found[name][row * across + at] for name in SHARES} for at in range(across)] for row in range(rows)]


def _share(cells: Cells, name: str, nulls: Mapping[str, Cells]) -> list[Share]:
    """One share for each cell, layers outermost."""
    values = cells.values(name)
    known = ~np.isnan(values)
    n, count = known.sum(axis=0), (values == 1).sum(axis=0)
    low, high = proportion_limits(count, n)
    beyond = {donor: _against(cells, values, aligned(cells, null, null.values(name))) for donor, null in nulls.items()}
    return [
        Share(
            count=int(count[at]),
            n=int(n[at]),
            share=float(count[at] / n[at]) if n[at] else None,
            low=number(low, at),
            high=number(high, at),
            beyond={donor: _test_at(test, at) for donor, test in beyond.items()},
        )
        for at in np.ndindex(cells.structural.shape)
    ]


def _against(
    cells: Cells, values: Float[np.ndarray, "pair layer column"], other: Float[np.ndarray, "pair layer column"]
) -> dict[str, np.ndarray]:
    both = ~np.isnan(values) & ~np.isnan(other)
    n = both.sum(axis=0)
    more, less = ((both & (one > two)).sum(axis=0) for one, two in ((values, other), (other, values)))
    p = np.where(n > 0, mcnemar_p(more, less), np.nan)
    share = np.divide((both & (other == 1)).sum(axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)
    q = benjamini_hochberg(np.where(cells.structural, np.nan, p))
    return {"n": n, "share": share, "more": more, "less": less, "p": p, "q": q}


def _test_at(test: Mapping[str, np.ndarray], at: tuple[int, ...]) -> ShareTest:
    n, more, less = (int(test[name][at]) for name in ("n", "more", "less"))
    share, p, q = (number(test[name], at) for name in ("share", "p", "q"))
    return ShareTest(n=n, share=share, more=more, less=less, p=p, q=q)
