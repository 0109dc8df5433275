"""Unpatched runs as they are kept: one question each, without padding, ready to stand in any batch.

A question is recorded once and read by all experiments, directions and null donors; what is recorded of it depends on
the questions that it was recorded with (its pair), never on the batch in which it is patched.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens import HookedTransformer

from mechpatch.axes import LatentHead, SiteVectors
from mechpatch.patching.batch import Batch, collate
from mechpatch.patching.engine.runs import BaseRun, base_run, empty_base
from mechpatch.patching.engine.tree import Tree, grow
from mechpatch.reprs import short_repr
from mechpatch.thoughts.layout import Layout

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """What experiments need of a question's unpatched run; tokens are those of both continuations.

    Attributes:
        cache: keys, rotated, and values. No tokens where plain hooks recorded.
        resid: `resid_post` of the tokens from the first site on; of the sites alone where plain hooks recorded.
        sites: which of these tokens are sites.
        logits: at the answer positions, see `Batch.reads`.
    """

    cache: Float[Tensor, "layer 2 kv_head token d_head"]
    resid: Float[Tensor, "layer late d_model"]
    sites: Int[Tensor, " site"]
    logits: Float[Tensor, "2 position vocab"]

    __repr__ = short_repr

    @property
    def vectors(self) -> Float[Tensor, "layer site d_model"]:
        """`resid_post` at every site; no site has seen an answer, so both continuations have the same."""
        return self.resid[:, self.sites]


def record(model: HookedTransformer, head: LatentHead | None, layouts: Sequence[Layout]) -> list[Recording]:
    """Run questions with the same sites, sharing what they begin with, and keep each."""
    base = base_run(model, head, collate(layouts, model.unembed.W_U.device))
    recordings = []
    for pair in range(len(layouts)):
        slots, late = _slots(base.tree, pair), _late(base.tree, pair)
        recordings.append(
            Recording(
                cache=base.cache[:, :, pair, :, 0, slots],
                resid=base.resid[:, pair, late - base.tree.first],
                sites=torch.searchsorted(late, base.tree.sites[pair]).to(base.resid.device),
                logits=base.logits[pair].clone(),
            )
        )
    return recordings


def recorded_shapes(model: HookedTransformer, layouts: Sequence[Layout]) -> list[Shapes]:
    """The shapes of what `record` gives, by field."""
    cfg, batch = model.cfg, collate(layouts)
    tree = grow(batch)
    kv_heads = cfg.n_key_value_heads or cfg.n_heads
    return [
        {
            "cache": (cfg.n_layers, 2, kv_heads, len(_slots(tree, pair)), cfg.d_head),
            "resid": (cfg.n_layers, len(_late(tree, pair)), cfg.d_model),
            "sites": (len(batch.sites),),
            "logits": (*batch.reads.shape[1:], cfg.d_vocab_out),
        }
        for pair in range(len(layouts))
    ]


def replay(model: HookedTransformer, head: LatentHead | None, batch: Batch, recordings: Sequence[Recording]) -> BaseRun:
    """The base run of `batch` from the recordings of its questions: the same bits, and no forward pass."""
    base = empty_base(model, head, batch)
    for pair, kept in enumerate(recordings):
        base.cache[:, :, pair, :, 0, _slots(base.tree, pair)] = kept.cache
        base.resid[:, pair, _late(base.tree, pair) - base.tree.first] = kept.resid
    base.logits.copy_(stack_logits(recordings, batch))
    return base


def stack_vectors(recordings: Sequence[Recording]) -> SiteVectors:
    """`resid_post` at every site of several questions with the same sites."""
    return torch.stack([kept.vectors for kept in recordings])[:, None].expand(-1, 2, -1, -1, -1)


def stack_logits(recordings: Sequence[Recording], batch: Batch) -> Float[Tensor, "pair 2 position vocab"]:
    """Logits at the answer positions of `batch`, which repeats the last position of shorter answers."""
    missing = [batch.reads.shape[2] - kept.logits.shape[1] for kept in recordings]
    padded = [
        torch.cat([kept.logits, kept.logits[:, -1:].expand(-1, more, -1)], dim=1)
        for kept, more in zip(recordings, missing, strict=True)
    ]
    return torch.stack(padded)


def _slots(tree: Tree, pair: int) -> Int[Tensor, " token"]:
    """Where the tokens of a question stand: in the same order in every tree."""
    return _where(tree.real[pair])


def _late(tree: Tree, pair: int) -> Int[Tensor, " late"]:
    """Those from its own first site on, whatever the others' is."""
    return _where(tree.real[pair] & (torch.arange(tree.real.shape[1]) >= tree.sites[pair].min()))


def _where(chosen: Bool[Tensor, " slot"]) -> Int[Tensor, " _"]:
    return chosen.nonzero()[:, 0]
