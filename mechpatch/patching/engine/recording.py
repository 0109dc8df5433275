"""Unpatched runs as they are kept: one question each, without padding, ready to stand in any batch.

A question is recorded once and read by all experiments, directions and null donors; what is recorded of it depends on
the questions that it was recorded with (its pair), never on the batch in which it is patched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens import HookedTransformer

from mechpatch.axes import LatentHead, SiteVectors
from mechpatch.patching.batch import Batch, collate
from mechpatch.patching.engine.base import STREAM, BaseRun, beside_the_stream, both_continuations, empty_base
from mechpatch.patching.engine.runs import base_run
from mechpatch.patching.engine.tree import Tree, grow
from mechpatch.patching.moved import moved
from mechpatch.points import Sizes
from mechpatch.reprs import short_repr
from mechpatch.thoughts.layout import Layout

Shapes = dict[str, tuple[int, ...]]
POINT = "points."  # before the name of a hook point, among other tensors


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """What experiments need of a question's unpatched run; tokens are those of both continuations.

    Attributes:
        cache: keys, rotated, and values. No tokens where plain hooks recorded.
        stream: the residual stream at the tokens from the first site on, before the first block and after each; at the
            sites alone where plain hooks recorded.
        sites: which of these tokens are sites.
        logits: at the answer positions, see `Batch.reads`.
        points: at the sites, by hook point, what was asked for beside the stream.
    """

    cache: Float[Tensor, "layer 2 kv_head token d_head"]
    stream: Float[Tensor, "level late d_model"]
    sites: Int[Tensor, " site"]
    logits: Float[Tensor, "2 position vocab"]
    points: Mapping[str, Float[Tensor, "depth site *vector"]] = field(default_factory=dict)

    __repr__ = short_repr

    def vectors(self, hook: str = "resid_post") -> Float[Tensor, "layer site *vector"]:
        """A hook point at every site; no site has seen an answer, so both continuations have the same."""
        return self.stream[STREAM[hook]][:, self.sites] if hook in STREAM else self.points[hook]

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, as `recorded_shapes` names it."""
        kept = {name: getattr(self, name) for name in ("cache", "stream", "sites", "logits")}
        return kept | {POINT + hook: vectors for hook, vectors in self.points.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Recording":
        """What `tensors` gave."""
        points = {name.removeprefix(POINT): each for name, each in tensors.items() if name.startswith(POINT)}
        return cls(**{name: each for name, each in tensors.items() if not name.startswith(POINT)}, points=points)


def record(
    model: HookedTransformer, head: LatentHead | None, layouts: Sequence[Layout], hooks: Sequence[str] = ()
) -> list[Recording]:
    """Run questions with the same sites, sharing what they begin with, and keep each.

    Args:
        hooks: hook points whose vectors at the sites are kept; `resid_pre` and `resid_post` are in any case.
    """
    base = base_run(model, head, collate(layouts, model.unembed.W_U.device), hooks)
    return [
        Recording(
            cache=base.cache[:, :, pair, :, 0, slots],
            stream=base.stream[:, pair, late],
            sites=sites,
            logits=base.logits[pair].clone(),
            points={hook: vectors[:, pair].clone() for hook, vectors in base.points.items()},
        )
        for pair, (slots, late, sites) in enumerate(_places(base))
    ]


def recorded_shapes(model: HookedTransformer, layouts: Sequence[Layout], hooks: Sequence[str] = ()) -> list[Shapes]:
    """The shapes of what `record` gives, by the names of `Recording.tensors`."""
    cfg, batch = model.cfg, collate(layouts)
    tree, sites = grow(batch), len(batch.sites)
    sizes = Sizes.of(cfg)
    points = {
        POINT + point.name: (point.n_layers(cfg.n_layers), sites, *point.shape(sizes))
        for point in beside_the_stream(hooks)
    }
    return [
        {
            "cache": (cfg.n_layers, 2, sizes.kv_heads, len(_slots(tree, pair)), cfg.d_head),
            "stream": (cfg.n_layers + 1, len(_late(tree, pair)), cfg.d_model),
            "sites": (sites,),
            "logits": (*batch.reads.shape[1:], cfg.d_vocab_out),
            **points,
        }
        for pair in range(len(layouts))
    ]


def replay(model: HookedTransformer, head: LatentHead | None, batch: Batch, recordings: Sequence[Recording]) -> BaseRun:
    """The base run of `batch` from the recordings of its questions: the same bits, and no forward pass."""
    base = empty_base(model, head, batch, [*recordings[0].points])
    for pair, (kept, (slots, late, _)) in enumerate(zip(recordings, _places(base), strict=True)):
        base.cache[:, :, pair, :, 0, slots] = kept.cache
        base.stream[:, pair, late] = kept.stream
        for hook, vectors in kept.points.items():
            base.points[hook][:, pair] = vectors
    base.logits.copy_(stack_logits(recordings, batch))
    return base


def stack_vectors(recordings: Sequence[Recording], hook: str = "resid_post") -> SiteVectors:
    """A hook point at every site of several questions with the same sites."""
    return both_continuations(torch.stack([kept.vectors(hook) for kept in recordings]))


def stack_logits(recordings: Sequence[Recording], batch: Batch) -> Float[Tensor, "pair 2 position vocab"]:
    """Logits at the answer positions of `batch`, which repeats the last position of shorter answers."""
    missing = [batch.reads.shape[2] - kept.logits.shape[1] for kept in recordings]
    padded = [
        torch.cat([kept.logits, kept.logits[:, -1:].expand(-1, more, -1)], dim=1)
        for kept, more in zip(recordings, missing, strict=True)
    ]
    return torch.stack(padded)


def _places(base: BaseRun) -> list[tuple[Tensor, Tensor, Tensor]]:
    """On the model's device, for each question: the slots of its tokens; those from its first site on, as the stream
    counts them; and where the sites are among the latter."""
    tree, places = base.tree, []
    for pair in range(len(tree.tokens)):
        late = _late(tree, pair)
        places += [_slots(tree, pair), late - tree.first, torch.searchsorted(late, tree.sites[pair])]
    there = iter(moved(places, base.stream.device))
    return [*zip(there, there, there, strict=True)]


def _slots(tree: Tree, pair: int) -> Int[Tensor, " token"]:
    """Where the tokens of a question stand: in the same order in every tree."""
    return _where(tree.real[pair])


def _late(tree: Tree, pair: int) -> Int[Tensor, " late"]:
    """Those from its own first site on, whatever the others' is."""
    return _where(tree.real[pair] & (torch.arange(tree.real.shape[1]) >= tree.sites[pair].min()))


def _where(chosen: Bool[Tensor, " slot"]) -> Int[Tensor, " _"]:
    return chosen.nonzero()[:, 0]
