"""Some columns of a batch through all blocks, written and read at any hook point of `points` on the way.

All goes through transformer-lens' own blocks and hooks. Its `start_at_layer` form is used for every segment, tokens
too, with the full attention mask: mixing forms breaks its cache, and left padding without the mask is silently wrong.
That form skips all that stands before the blocks, so thoughts are written and learned positions are added here.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformer_lens import HookedTransformer
from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

from mechpatch.patching.hooks import Hook, capture, edit_positions, patch_positions, rows
from mechpatch.points import HookPoint

Hooks = list[tuple[str | Callable[..., Any], Callable[..., Any]]]  # as transformer-lens takes them


class RowWrite(NamedTuple):
    """A `Write` for the rows of one segment."""

    point: HookPoint
    layer: int
    columns: Int[Tensor, "row site"]
    source: Float[Tensor, "row site *vector"]
    head: int | None
    added: bool

    def hooks(self, columns: Int[Tensor, "row _"], source: Float[Tensor, "row _ *vector"]) -> Hooks:
        """What writes `source` into a block."""
        parts = [source] if len(self.point.hooks) == 1 else source.unbind(2)
        if self.point.of_neurons and self.head is None:
            parts = [source[..., 0]]
        return [
            (f"blocks.{self.layer}.{name}", self.hook(columns, part))
            for name, part in zip(self.point.hooks, parts, strict=True)
        ]

    def hook(self, columns: Int[Tensor, "row _"], source: Float[Tensor, "row _ *vector"]) -> Hook:
        """What writes `source` at these columns of an activation, or adds it."""
        chosen = {} if self.head is None else {str(self.point.part): self.head}
        if self.added:
            return edit_positions(columns, lambda there: there + source, **chosen)
        return patch_positions(columns, source, **chosen)


class RowRead(NamedTuple):
    """A `Read` for the rows of one segment."""

    point: HookPoint
    layers: tuple[int, ...]
    columns: Int[Tensor, "row site"]


def segment(
    model: HookedTransformer,
    embeds: Float[Tensor, "row position d_model"],
    real: Bool[Tensor, "row prompt"],
    cache: TransformerLensKeyValueCache | None,
    start: int,
    writes: Sequence[RowWrite] = (),
    reads: Sequence[RowRead] = (),
    fed: bool = False,
) -> tuple[Float[Tensor, "row position d_model"], list[Tensor]]:
    """Run all blocks on the columns from `start`.

    Args:
        fed: whether `embeds` are a fed-back thought.

    Returns:
        The last `resid_post`; and for each of `reads` what is at those of its columns that lie here, [row, site, layer,
        *vector], after any write there.
    """
    end = start + embeds.shape[1]
    mask = F.pad(real, (0, end - real.shape[1]), value=True)[:, :end]
    hooks: Hooks = []
    for write in writes:
        inside = ((write.columns >= start) & (write.columns < end)).all(0)
        columns, source = write.columns[:, inside] - start, write.source[:, inside]
        if inside.any() and write.point.hooks:
            hooks += write.hooks(columns, source)
        elif inside.any():
            embeds = write.hook(columns, source)(embeds, None)
    thought, found = embeds, []
    for read in reads:
        inside = ((read.columns >= start) & (read.columns < end)).all(0)
        columns = read.columns[:, inside] - start
        found.append([[[] for _ in read.point.hooks] for _ in read.layers])
        for layer, parts in zip(read.layers, found[-1], strict=True):
            for name, into in zip(read.point.hooks, parts, strict=True):
                hooks.append((f"blocks.{layer}.{name}", capture(columns, into)))
        if not read.point.hooks:
            vectors = thought[rows(columns), columns]
            found[-1] = [[[vectors if fed else torch.zeros_like(vectors)]] for _ in read.layers]
    if model.cfg.positional_embedding_type == "standard":
        embeds = embeds + model.pos_embed(mask[:, start:].long(), start, mask)
    with model.hooks(fwd_hooks=hooks):
        hidden = model(
            embeds,
            start_at_layer=0,
            stop_at_layer=model.cfg.n_layers,
            attention_mask=mask,
            past_kv_cache=cache,
        )
    assert isinstance(hidden, Tensor)  # `stop_at_layer` gives the residual stream, whatever the annotation says
    return hidden, [
        torch.stack([_one(read.point, parts) for parts in layers], dim=2)
        for read, layers in zip(reads, found, strict=True)
    ]


def _one(point: HookPoint, parts: list[list[Tensor]]) -> Float[Tensor, "row site *vector"]:
    """What the hooks of one hook point captured, as one vector."""
    captured = [each[..., None] if point.of_neurons else each for (each,) in parts]
    return captured[0] if len(captured) == 1 else torch.stack(captured, dim=2)
