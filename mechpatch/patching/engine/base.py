"""An unpatched run, and all that patched runs share of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens import HookedTransformer

from mechpatch.axes import LatentHead, Logits, SiteVectors
from mechpatch.errors import SpecError, ThoughtError
from mechpatch.patching.batch import Batch
from mechpatch.patching.engine.decoder import Decoder, read_decoder
from mechpatch.patching.engine.tree import Tree, grow
from mechpatch.patching.rollout import Outcome
from mechpatch.patching.say import Said, Say
from mechpatch.points import POINTS, HookPoint, point_of
from mechpatch.reprs import short_repr

Cache = Float[Tensor, "layer 2 pair kv_head run slot d_head"]  # 0 keys, rotated; 1 values
STREAM = {"resid_pre": slice(None, -1), "resid_post": slice(1, None)}  # the levels of each


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """That runs are asked to go on by themselves, and what the base run says then."""

    say: Say
    said: Said

    __repr__ = short_repr


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BaseRun:
    """An unpatched run.

    Attributes:
        cache: keys and values of every slot.
        stream: the residual stream at the slots that a patch can change: level 0 is what enters the first block, level
            l + 1 what block l gives; of the last block, where `Wave.useful` says so.
        logits: at the answer positions, see `Batch.reads`.
        points: by hook point, what was asked for beside the stream.
        voice: see `saying.speaking`; None where no run is asked to go on.
        planned: indices that were made for its patches, see `planned.planned`.
    """

    model: Decoder
    head: LatentHead | None
    tree: Tree
    cache: Cache
    stream: Float[Tensor, "level pair late d_model"]
    logits: Logits
    points: dict[str, Float[Tensor, "depth pair site *vector"]]
    voice: Voice | None = None
    planned: dict[Any, Any] = field(default_factory=dict)

    __repr__ = short_repr

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors that it holds beside the model."""
        return sum(each.nbytes for each in (self.cache, self.stream, self.logits, *self.points.values()))

    def vectors(self, hook: str) -> Float[Tensor, "pair layer site *vector"]:
        """A hook point of every layer at every site.

        Raises:
            SpecError: it was not asked for.
        """
        point_of(hook)
        if hook not in STREAM and hook not in self.points:
            raise SpecError(f"the base run does not hold {hook}; name it in `hooks` when it is run or recorded")
        return (self._stream[STREAM[hook]] if hook in STREAM else self.points[hook]).transpose(0, 1)

    @property
    def outcome(self) -> Outcome:
        """Logits, the residual stream of every layer at every site, and what was asked for."""
        stream = self._stream
        found = {hook: stream[levels] for hook, levels in STREAM.items()} | self.points
        return Outcome(self.logits, {hook: both_continuations(each.transpose(0, 1)) for hook, each in found.items()})

    @property
    def _stream(self) -> Float[Tensor, "level pair site d_model"]:
        late = (self.tree.sites - self.tree.first).to(self.stream.device)
        return self.stream[:, torch.arange(len(late), device=late.device)[:, None], late]


def empty_base(model: HookedTransformer, head: LatentHead | None, batch: Batch, hooks: Sequence[str] = ()) -> BaseRun:
    """A base run that has yet to be computed.

    Args:
        hooks: hook points whose vectors at the sites are kept; `resid_pre` and `resid_post` are in any case.

    Raises:
        ThoughtError: there are latent thoughts and no head, a site that follows the parting of the continuations, or
            thoughts are asked for and none is fed back.
    """
    if batch.n_latents and head is None:
        raise ThoughtError("latent thoughts need a model with a latent head; load a CODI checkpoint")
    asked = beside_the_stream(hooks)
    if batch.n_latents == 0 and any(not point.hooks for point in asked):
        raise ThoughtError("hook point thought is found at fed-back thoughts alone, and here is none")
    decoder, tree = read_decoder(model), grow(batch)
    zeros, depth = decoder.embed.new_zeros, len(decoder.blocks)
    (pairs, slots), sites = tree.tokens.shape, tree.sites.shape[1]
    return BaseRun(
        model=decoder,
        head=head,
        tree=tree,
        cache=zeros(depth, 2, pairs, decoder.sizes.kv_heads, 1, slots, decoder.sizes.d_head),
        stream=zeros(depth + 1, pairs, slots - tree.first, decoder.embed.shape[1]),
        logits=zeros(*tree.reads.shape, len(decoder.unembed.weight)),
        points={each.name: zeros(each.n_layers(depth), pairs, sites, *decoder.shape(each)) for each in asked},
    )


def beside_the_stream(hooks: Sequence[str]) -> list[HookPoint]:
    """The hook points among `hooks`, each once, that the residual stream between the blocks does not hold."""
    asked = {point_of(hook).name for hook in hooks} - STREAM.keys()
    return [point for name, point in POINTS.items() if name in asked]


def both_continuations(vectors: Float[Tensor, "pair layer site *vector"]) -> SiteVectors:
    """What is at the sites, for both: no site has seen an answer."""
    return vectors[:, None].expand(-1, 2, *vectors.shape[1:])
