"""The work that no exact method can avoid, and the least time that this machine's matrix products need for it.

A value has to be computed if it differs from the base run's *and* an answer logit depends on it. What differs: the
input of block m at a token, if the token is written at block m - 1, or if it saw, in any block below, a key that
differs; after a fed-back thought everything of that thought. What is needed: backwards from the logits that are read.
Hence, for each token and block:

    k, v           if its input differs and a needed token sees it
    q              if its input differs and its own output is needed
    scores, mixing 4 · heads · d_head for each pair of query and key: all keys that it sees if its query differs,
                   else the keys that differ; the shared prefix is read, never recomputed
    o, mlp         if its output differs, is needed, and is not overwritten by the patch
    unembedding    once for each token whose logits are read and differ; latent head once for each thought that differs

Both continuations are one computation up to the token in which they part. A multiply and an add are 2 FLOPs; norms,
rotations and softmax are left out. All patches are taken to differ from the run that they are written into.

Time: all patches that reach a block at the same thought can share one product, so each product's FLOPs are divided by
the rate measured for its own matrix shape at the best number of rows up to that many. `ideal` divides everything by the
best rate of all, as if fed-back thoughts did not have to wait for each other.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, pairwise

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from benchmark.cases import Case, Model
from benchmark.clock import CLOCKS, timed
from mechpatch.patching.engine.decoder import read_decoder
from mechpatch.patching.patch import Patch
from mechpatch.thoughts import Layout

ROWS = (1, 8, 32, 64, 128, 256, 512, 1024, 2048)
UNEMBED_ROWS = 256  # at most; more would take seconds and are never asked for
Rates = Mapping[str, Mapping[int, float]]  # by matrix and rows, FLOP/s


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What has to be computed, in rows: one row is one token of one run.

    Attributes:
        rows: by stage (of the roll-out), block and product: q, kv, o, mlp.
        pairs: of query and key, in all blocks.
        heads: by stage, thoughts made by the latent head.
        unembed: tokens whose logits are computed.
    """

    rows: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    heads: Counter[int] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)

    @property
    def pairs(self) -> int:
        return self.totals["pairs"]

    @property
    def unembed(self) -> int:
        return self.totals["unembed"]

    def product(self, name: str) -> int:
        """Rows of one product, over all stages and blocks."""
        return sum(count for (_, _, each), count in self.rows.items() if each == name)


@dataclass(frozen=True, slots=True, eq=False)
class _Tokens:
    """A question with both continuations; continuation 1 stands behind 0, from where they part."""

    sees: np.ndarray  # [token token], a token sees itself
    read: np.ndarray
    fed: np.ndarray  # made by the latent head from the token before
    stages: list[range]
    sites: tuple[int, ...]


def _tokens(layout: Layout) -> _Tokens:
    start = len(layout.prompt) + layout.n_latents
    first, second = (tail.tokens for tail in layout.tails)
    shared = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    fork, end = start + shared, start + len(first)
    size = end + len(second) - shared
    sees = np.tri(size, dtype=bool)
    sees[end:, fork:end] = False
    read = np.zeros(size, dtype=bool)
    for which, tail in enumerate(layout.tails):
        columns = range(start + tail.answer - 1, start + len(tail.tokens))
        read[[column + (which and column >= fork and end - fork) for column in columns]] = True
    fed = np.zeros(size, dtype=bool)
    fed[len(layout.prompt) : start] = True
    cuts = [0, *range(len(layout.prompt), start), start, size] if layout.n_latents else [0, size]
    stages = [range(a, b) for a, b in pairwise(cuts)]
    return _Tokens(sees, read, fed, stages, layout.positions(0))


def work_of(layout: Layout, patches: Sequence[Patch], depth: int) -> Work:
    """The unavoidable work of `patches` of one question."""
    tokens, work = _tokens(layout), Work()
    for patch in patches:
        _add_patch(work, tokens, patch, depth)
    return work


def _add_patch(work: Work, tokens: _Tokens, patch: Patch, depth: int) -> None:
    sees = tokens.sees
    differs, out, keys, needed = _needed(tokens, patch, depth)
    for number, stage in enumerate(tokens.stages):
        at = slice(stage.start, stage.stop)
        for block in range(depth):
            changed, gives = differs[block, at], out[block, at]
            rows = {"q": changed & gives, "kv": changed & keys[block, at], "o": gives, "mlp": gives}
            for name, chosen in rows.items():
                work.rows[number, block, name] += int(chosen.sum())
            read = sees[at] & (changed[:, None] | differs[block])
            work.totals["pairs"] += int(read[gives].sum())
        work.heads[number] += int((tokens.fed & differs[0] & needed)[at].sum())
    work.totals["unembed"] += int((tokens.read & differs[depth]).sum())


def _needed(
    tokens: _Tokens, patch: Patch, depth: int
) -> tuple[
    Bool[np.ndarray, "level token"],
    Bool[np.ndarray, "block token"],
    Bool[np.ndarray, "block token"],
    Bool[np.ndarray, " token"],
]:
    """By block and token: whether the input differs (the last line is the top's output), whether the output has to be
    computed, whether keys and values have to; and of each token whether the input of the first block is needed."""
    sees, size = tokens.sees, len(tokens.sees)
    written = np.zeros((depth, size), dtype=bool)
    written[patch.layers.start : patch.layers.stop, [tokens.sites[site] for site in patch.sites]] = True
    differs = np.zeros((depth + 1, size), dtype=bool)
    for stage in tokens.stages:
        at = slice(stage.start, stage.stop)
        differs[0, at] = tokens.fed[at] & np.roll(differs[depth], 1)[at]
        for block in range(depth):
            differs[block + 1, at] = (sees[at] & differs[block]).any(1) | written[block, at]

    out, keys = np.zeros_like(written), np.zeros_like(written)
    needed = np.zeros(size, dtype=bool)
    for stage in reversed(tokens.stages):
        at = slice(stage.start, stage.stop)
        wanted = (tokens.read | np.roll(tokens.fed & needed, -1))[at]
        for block in reversed(range(depth)):
            out[block, at] = wanted & differs[block + 1, at] & ~written[block, at]
            keys[block, at] = (out[block][:, None] & sees[:, at]).any(0)
            wanted = out[block, at] | keys[block, at]
        needed[at] = wanted
    return differs, out, keys, needed


def rows_apart_and_shared(layout: Layout, patches: Sequence[Patch], depth: int) -> tuple[int, int]:
    """Rows of the MLP, nearly all of the work, of patches that are run apart; and were the runs one up to the first
    token at which they write something else. No exact method has fewer."""
    tokens, apart = _tokens(layout), 0
    nodes: set[tuple[int, int, tuple[int, ...], int, int]] = set()
    for patch in patches:
        _, out, _, _ = _needed(tokens, patch, depth)
        apart += int(out.sum())
        for block, token in np.argwhere(out).tolist():
            so_far = tuple(site for site in patch.sites if tokens.sites[site] <= token)
            nodes.add((patch.layer, patch.width, so_far, block, token))
    return apart, len(nodes)


def sweep_work(case: Case, patches: Sequence[Patch]) -> Work:
    """The unavoidable work of `patches` of all pairs, run together."""
    total = Work()
    for _, layout in case.layouts:
        each = work_of(layout, patches, case.model.depth)
        total.rows.update(each.rows)
        total.heads.update(each.heads)
        total.totals.update(each.totals)
    return total


def products(work: Work, model: Model) -> Iterator[tuple[str, int, int]]:
    """Matrix, number of rows and FLOPs of every product; attention, a product of no one matrix, comes with 0 rows."""
    decoder = read_decoder(model.hooked)
    block = decoder.blocks[0]
    matrices = {"q": "q", "kv": "kk", "o": "o", "mlp": ("gate", "gate", "down")}
    for (_, _, name), rows in work.rows.items():
        for matrix in matrices[name]:
            yield matrix, rows, 2 * rows * getattr(block, matrix).weight.numel()
    inner = sum(weight.numel() for weight in model.head.parameters() if weight.ndim == 2)
    for rows in work.heads.values():
        yield "q", rows, 2 * rows * inner
    yield "unembed", work.unembed, 2 * work.unembed * decoder.unembed.weight.numel()
    yield "attention", 0, 4 * work.pairs * len(block.q.weight)


def flops(work: Work, model: Model) -> int:
    """All of `products`."""
    return sum(each for _, _, each in products(work, model))


def seconds(work: Work, model: Model, rates: Rates) -> dict[str, float]:
    """The least time on one clock: `limit`, at the rates of its row counts; `ideal`, all at the best rate of all."""
    best = max(rate for by_rows in rates.values() for rate in by_rows.values())
    limit = sum(
        each / (rate_at(rates[matrix], rows) if matrix in rates else best)
        for matrix, rows, each in products(work, model)
        if each
    )
    return {"limit": limit, "ideal": flops(work, model) / best, "best_rate": best}


def rate_at(by_rows: Mapping[int, float], rows: int) -> float:
    """The best rate at up to `rows` rows, for a product may be cut; between measured numbers, linear in the log."""
    known = sorted(by_rows)
    best = np.maximum.accumulate([by_rows[each] for each in known])
    return float(np.interp(np.log(rows), np.log(known), best))


@torch.no_grad()
def measure_rates(model: Model, rows: Sequence[int] = ROWS, tries: int = 4) -> dict[str, dict[str, dict[int, float]]]:
    """FLOP/s of the model's own matrices, by clock (see `timed`): the best of `tries`, spread over the time it takes.

    Each time it is the matrix of another block, so that weights come from memory, as in a sweep.
    """
    decoder = read_decoder(model.hooked)
    matrices: dict[str, list[Tensor]] = {
        name: [getattr(block, name).weight for block in decoder.blocks] for name in ("q", "k", "o", "gate", "down")
    }
    matrices["unembed"] = [decoder.unembed.weight]
    found: dict[str, dict[str, dict[int, float]]] = {clock: {name: {} for name in matrices} for clock in CLOCKS}
    turns = count()
    for _ in range(tries):
        for size in rows:
            for name, weights in matrices.items():
                if name == "unembed" and size > UNEMBED_ROWS:
                    continue
                weight = weights[next(turns) % len(weights)]
                x = torch.randn(size, weight.shape[1], dtype=weight.dtype, device=weight.device)
                _, taken = timed(partial(F.linear, x, weight))
                for clock, rates in found.items():
                    rates[name][size] = max(2 * size * weight.numel() / taken[clock], rates[name].get(size, 0.0))
    return found
