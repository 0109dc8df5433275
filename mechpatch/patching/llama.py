"""Llama on ragged rows, with the weights of a `HookedTransformer` where they lie.

A row is one token of one run. Rows of many runs stand one below the other, without padding, and that is all that the
matrix products, nearly the whole of the work, ever see. For attention alone the queries are spread over a grid
[pair, run, query]; the keys and values of what precedes every change are one copy, for all runs of a pair and for all
query heads of a group.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformer_lens import HookedTransformer

Resid = Float[Tensor, "row d_model"]
SharedKeys = Float[Tensor, "2 pair kv_head shared d_head"]  # 0 keys, rotated; 1 values
OwnKeys = Float[Tensor, "2 pair kv_head run key d_head"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Matrices and gains of one block, under Hugging Face's names; `heads` are all heads side by side."""

    input_norm: Float[Tensor, " d_model"]
    q: Float[Tensor, "heads d_model"]
    k: Float[Tensor, "kv_heads d_model"]
    v: Float[Tensor, "kv_heads d_model"]
    o: Float[Tensor, "d_model heads"]
    post_norm: Float[Tensor, " d_model"]
    gate: Float[Tensor, "d_mlp d_model"]
    up: Float[Tensor, "d_mlp d_model"]
    down: Float[Tensor, "d_model d_mlp"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Llama:
    """Weights and tables of a model.

    Attributes:
        cos, sin: of every position; one table for all blocks.
        eps: of all norms.
    """

    embed: Float[Tensor, "vocab d_model"]
    blocks: tuple[Block, ...]
    norm: Float[Tensor, " d_model"]
    unembed: Float[Tensor, "vocab_out d_model"]
    cos: Float[Tensor, "position d_head"]
    sin: Float[Tensor, "position d_head"]
    eps: float

    @property
    def kv_heads(self) -> int:
        """Heads that have keys and values of their own."""
        return len(self.blocks[0].k) // self.cos.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where rows stand.

    Attributes:
        places: in attention: which pair, which of its runs, which query of the stage, which key of the run.
        repeats: places without a row of their own, pair and key, and the place whose keys and values they share.
        cos, sin: of their positions.
    """

    places: Int[Tensor, "4 row"]
    repeats: Int[Tensor, "4 _"]
    cos: Float[Tensor, "row 1 d_head"]
    sin: Float[Tensor, "row 1 d_head"]

    def head(self, count: int) -> "Grid":
        """The first `count` rows."""
        return Grid(self.places[:, :count], self.repeats, self.cos[:count], self.sin[:count])

    def at(self, rows: Int[Tensor, " _"]) -> "Grid":
        """Some of the rows."""
        return Grid(self.places[:, rows], self.repeats, self.cos[rows], self.sin[rows])


def read_llama(model: HookedTransformer) -> Llama:
    """The weights of a model made by `to_hooked`, which has no biases.

    transformer-lens keeps views of Hugging Face's [out, in] matrices; undoing the view gives the matrix back. Nothing
    is copied, and a product with it is as fast as the memory allows.
    """
    tensors = model.state_dict()

    def block(layer: int) -> Block:
        def at(name: str) -> Tensor:
            return tensors[f"blocks.{layer}.{name}"]

        q, k, v = (at(f"attn.{name}").mT.flatten(0, 1) for name in ("W_Q", "_W_K", "_W_V"))
        return Block(
            input_norm=at("ln1.w"),
            q=q,
            k=k,
            v=v,
            o=at("attn.W_O").flatten(0, 1).T,
            post_norm=at("ln2.w"),
            gate=at("mlp.W_gate").T,
            up=at("mlp.W_in").T,
            down=at("mlp.W_out").T,
        )

    return Llama(
        embed=tensors["embed.W_E"],
        blocks=tuple(map(block, range(model.cfg.n_layers))),
        norm=tensors["ln_final.w"],
        unembed=tensors["unembed.W_U"].T,
        cos=tensors["blocks.0.attn.rotary_cos"],
        sin=tensors["blocks.0.attn.rotary_sin"],
        eps=model.cfg.eps,
    )


def run_block(
    block: Block,
    eps: float,
    h: Resid,
    grid: Grid,
    shared: SharedKeys,
    own: OwnKeys,
    unseen: Bool[Tensor, "pair query _"],
    useful: Int[Tensor, " useful"] | None = None,
) -> None:
    """Take `h` through a block, in place, and put the rows' keys and values into `own`.

    Args:
        shared: keys and values that all runs of a pair see.
        own: those of each run by itself, earlier tokens among them.
        unseen: keys that a query does not see; first `shared`, then `own`.
        useful: the rows to take through it; all if None. Of the others only keys and values are made.
    """
    heads = (-1, own.shape[-1])
    x = rms_norm(h, block.input_norm, eps)
    k, v = (F.linear(x, weight).unflatten(1, heads) for weight in (block.k, block.v))
    pair, run, _, key = grid.places
    own[:, pair, :, run, key] = torch.stack([rotate(k, grid), v], dim=1)
    if grid.repeats.shape[1]:
        to_pair, to_key, from_pair, from_key = grid.repeats
        own[:, to_pair, :, 0, to_key] = own[:, from_pair, :, 0, from_key]
    if useful is None:
        _mix(block, eps, h, x, grid, shared, own, unseen)
    else:
        some = h[useful]
        _mix(block, eps, some, x[useful], grid.at(useful), shared, own, unseen)
        h[useful] = some


def _mix(
    block: Block,
    eps: float,
    h: Resid,
    x: Resid,
    grid: Grid,
    shared: SharedKeys,
    own: OwnKeys,
    unseen: Bool[Tensor, "pair query _"],
) -> None:
    """Add to `h`, whose norm is `x`, what attention and MLP give."""
    q = F.linear(x, block.q).unflatten(1, (-1, own.shape[-1]))
    h += F.linear(attend(rotate(q, grid), grid, shared, own, unseen), block.o)
    x = rms_norm(h, block.post_norm, eps)
    h += F.linear(F.silu(F.linear(x, block.gate), inplace=True).mul_(F.linear(x, block.up)), block.down)


def attend(
    q: Float[Tensor, "row head d_head"],
    grid: Grid,
    shared: SharedKeys,
    own: OwnKeys,
    unseen: Bool[Tensor, "pair query _"],
) -> Float[Tensor, "row heads"]:
    """What the heads of each row read, side by side: one softmax over both sets of keys."""
    pair, run, query, _ = grid.places
    _, pairs, kv_heads, runs, _, d_head = own.shape
    n_shared, queries = shared.shape[3], unseen.shape[1]
    spread = q.new_zeros(pairs, kv_heads, runs, queries, q.shape[1] // kv_heads, d_head)
    spread[pair, :, run, query] = q.unflatten(1, (kv_heads, -1)) * d_head**-0.5
    grouped = spread.flatten(3, 4)  # all query heads that read one key head
    # The shared keys see the queries of all runs as one matrix.
    to_shared = (grouped.flatten(2, 3) @ shared[0].mT).unflatten(2, (runs, -1))
    scores = torch.cat([to_shared, grouped @ own[0].mT], dim=-1)
    scores.unflatten(3, (queries, -1)).masked_fill_(unseen[:, None, None, :, None], -torch.inf)
    weights = scores.softmax(-1)
    mixed = weights[..., n_shared:] @ own[1]
    mixed += (weights[..., :n_shared].flatten(2, 3) @ shared[1]).unflatten(2, (runs, -1))
    return mixed.view_as(spread)[pair, :, run, query].flatten(1)


def rotate(x: Float[Tensor, "row heads d_head"], grid: Grid) -> Float[Tensor, "row heads d_head"]:
    """Rotary embedding; partners are the two halves of a head."""
    first, second = x.chunk(2, dim=-1)
    return x * grid.cos + torch.cat([-second, first], dim=-1) * grid.sin


def rms_norm(x: Resid, gain: Float[Tensor, " d_model"], eps: float) -> Resid:
    """Llama's norm."""
    return F.rms_norm(x, gain.shape, gain, eps)
