"""What attends to what, over pairs: mean shares by query, layer and head, with intervals where they are told."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from mechpatch.reprs import short_repr
from mechpatch.stats.cell_values import Estimate
from mechpatch.stats.cells import at_thoughts
from mechpatch.stats.contrasts import estimate_at
from mechpatch.stats.estimates import bootstrap_mean

SHARE, TOKENS, ANSWER = "share_", "tokens_", "answer"
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttentionSummary:
    """One side's attention.

    Attributes:
        sites: the queries, in the order of the sequence.
        groups: what is attended to, in the order of the sequence.
        shares: mean over pairs of each query, layer, head and group; NaN where no pair has the group.
        mean: of each query and group, over layers and heads within a pair, with its interval over pairs.
        thoughts: the same for all thoughts together.
        tokens: of the positions that a query sees, which part is a group's: its share if attention were uniform.
        entropy: nats, mean over pairs of each query, layer and head.
        top_head: layer, head and mean share of the head that puts most on thoughts at the answer position.
    """

    side: str
    include_incorrect: bool
    pairs: int
    used: int
    sites: tuple[str, ...]
    groups: tuple[str, ...]
    shares: Float[np.ndarray, "site layer head group"]
    mean: dict[tuple[str, str], Estimate]
    thoughts: dict[str, Estimate]
    tokens: dict[tuple[str, str], float]
    entropy: Float[np.ndarray, "site layer head"]
    top_head: tuple[int, int, Estimate] | None

    __repr__ = short_repr


def summarise_attention(table: pa.Table, side: str = "clean", include_incorrect: bool = False) -> AttentionSummary:
    """Means of a table of `mechpatch.readings.attention`, one value for each pair before anything is averaged."""
    own = table.filter(pc.field("side") == side)
    used = own if include_incorrect else own.filter(pc.field("both_correct"))
    groups = tuple(name.removeprefix(SHARE) for name in table.column_names if name.startswith(SHARE))
    order = dict(zip(own["site"].to_pylist(), own["site_index"].to_pylist(), strict=True))
    sites = tuple(sorted(order, key=lambda site: (site == ANSWER, order[site])))
    layers, heads = (max(own[name].to_pylist()) + 1 for name in ("layer", "head"))
    pairs, pair_of = np.unique(used["pair_index"].to_numpy(), return_inverse=True)
    at = (
        pair_of,
        [sites.index(site) for site in used["site"].to_pylist()],
        *(used[name].to_numpy() for name in ("layer", "head")),
    )

    def grid(name: str) -> np.ndarray:
        found = np.full((len(pairs), len(sites), layers, heads), np.nan)
        found[at] = pc.cast(used[name], pa.float64()).to_numpy()
        return found

    values = np.stack([grid(SHARE + name) for name in groups], axis=-1)
    counts = np.stack([grid(TOKENS + name)[:, :, 0, 0] for name in groups], axis=-1)
    on_thoughts = np.nansum(values[..., [at_thoughts(name) for name in groups]], axis=-1)
    over_heads = bootstrap_mean(values.mean(axis=(2, 3)), SEED)
    together = bootstrap_mean(on_thoughts.mean(axis=(2, 3)), SEED)
    part = _mean(counts / np.nansum(counts, axis=-1, keepdims=True))
    return AttentionSummary(
        side=side,
        include_incorrect=include_incorrect,
        pairs=len(own["pair_index"].unique()),
        used=len(pairs),
        sites=sites,
        groups=groups,
        shares=_mean(values),
        mean={
            (site, group): estimate_at(over_heads, (row, column))
            for row, site in enumerate(sites)
            for column, group in enumerate(groups)
        },
        thoughts={site: estimate_at(together, (row,)) for row, site in enumerate(sites)},
        tokens={
            (site, group): float(part[row, column])
            for row, site in enumerate(sites)
            for column, group in enumerate(groups)
        },
        entropy=_mean(grid("entropy")),
        top_head=_top(on_thoughts[:, sites.index(ANSWER)]) if len(pairs) and ANSWER in sites else None,
    )


def _top(shares: Float[np.ndarray, "pair layer head"]) -> tuple[int, int, Estimate]:
    layer, head = np.unravel_index(shares.mean(axis=0).argmax(), shares.shape[1:])
    return int(layer), int(head), estimate_at(bootstrap_mean(shares[:, layer, head], SEED), ())


def _mean(values: np.ndarray) -> np.ndarray:
    known = (~np.isnan(values)).sum(axis=0)
    return np.divide(np.nansum(values, axis=0), known, out=np.full(known.shape, np.nan), where=known > 0)
