"""One block of a decoder-only transformer, told by the pieces that it has, on ragged rows.

A row is one token of one run. Rows of many runs stand one below the other, without padding, and that is all that the
matrix products, nearly the whole of the work, ever see. For attention alone the queries are spread over a grid
[pair, run, query]; the keys and values of what precedes every change are one copy, for all runs of a pair and for all
query heads of a group.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mechpatch.patching.engine.product import linear
from mechpatch.reprs import short_repr

Resid = Float[Tensor, "row d_model"]
SharedKeys = Float[Tensor, "2 pair kv_head shared d_head"]  # 0 keys, rotated; 1 values
OwnKeys = Float[Tensor, "2 pair kv_head run key d_head"]
Piece = Callable[[Tensor], Tensor]
# Reads and writes, in place, what lies at one of transformer-lens' hooks: its name, the rows' vectors, and the rows'
# numbers where they are not all.
Tap = Callable[[str, Tensor, Tensor | None], None]


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """LayerNorm; an RMS norm without a bias."""

    gain: Float[Tensor, " width"]
    bias: Float[Tensor, " width"] | None
    eps: float

    __repr__ = short_repr

    def __call__(self, x: Tensor) -> Tensor:
        if self.bias is None:
            return F.rms_norm(x, self.gain.shape, self.gain, self.eps)
        return F.layer_norm(x, self.gain.shape, self.gain, self.bias, self.eps)


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A matrix as `F.linear` takes it, and a bias where the model has one."""

    weight: Float[Tensor, "out into"]
    bias: Float[Tensor, " out"] | None = None

    __repr__ = short_repr

    def __call__(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True, eq=False)
class Rotary:
    """Cosines and sines of positions; a head's partners are its two halves."""

    cos: Float[Tensor, "position 1 d_head"]
    sin: Float[Tensor, "position 1 d_head"]

    __repr__ = short_repr

    def __call__(self, x: Float[Tensor, "row heads d_head"]) -> Float[Tensor, "row heads d_head"]:
        turned = x * self.cos
        (first, second), (to_first, to_second) = x.chunk(2, dim=-1), self.sin.chunk(2, dim=-1)
        left, right = turned.chunk(2, dim=-1)
        left.addcmul_(second, to_first, value=-1)
        right.addcmul_(first, to_second)
        return turned

    def at(self, rows: Tensor | slice) -> "Rotary":
        """The table of some positions alone."""
        return Rotary(self.cos[rows], self.sin[rows])


def same(x: Tensor) -> Tensor:
    """What stands where a model has no piece."""
    return x


def untouched(hook: str, x: Tensor, rows: Tensor | None) -> None:
    """The tap where nothing is read or written."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """The pieces of one block, in the order of their work; all heads of a matrix stand side by side.

    Attributes:
        local: whether it sees no further back than the window of the model; it has its own rotary table then.
        scale, softcap: factor of the attention scores, and the bound that tanh presses them under; None for none.
        gate: None where the MLP has none.
    """

    local: bool
    norm: Norm
    q: Linear
    k: Linear
    v: Linear
    q_norm: Piece
    k_norm: Piece
    scale: float
    softcap: float | None
    o: Linear
    attention_norm: Piece
    mlp_norm: Norm
    gate: Linear | None
    up: Linear
    act: Piece
    down: Linear
    out_norm: Piece

    __repr__ = short_repr


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where rows stand.

    Attributes:
        places: in attention: which pair, which of its runs, which query of the stage, which key of the run.
        repeats: places without a row of their own, pair and key, and the place whose keys and values they share.
        rotary: cosines and sines of the rows' positions; None where the model has no rotary embedding.
    """

    places: Int[Tensor, "4 row"]
    repeats: Int[Tensor, "4 _"]
    rotary: Rotary | None

    __repr__ = short_repr

    def at(self, rows: Int[Tensor, " _"] | slice) -> "Grid":
        """Some of the rows."""
        return Grid(self.places[:, rows], self.repeats, self.rotary and self.rotary.at(rows))

    def rotate(self, x: Float[Tensor, "row heads d_head"]) -> Float[Tensor, "row heads d_head"]:
        """Queries or keys of the rows, as attention takes them."""
        return x if self.rotary is None else self.rotary(x)


def run_block(
    block: Block,
    h: Resid,
    grid: Grid,
    shared: SharedKeys,
    own: OwnKeys,
    unseen: Bool[Tensor, "pair query _"],
    useful: Int[Tensor, " useful"] | None = None,
    tap: Tap = untouched,
) -> None:
    """Take `h` through a block, in place, and put the rows' keys and values into `own`.

    Args:
        shared: keys and values that all runs of a pair see.
        own: keys and values of each run by itself, earlier tokens among them.
        unseen: keys that a query does not see; first `shared`, then `own`.
        useful: the rows to take through it; all if None. Of the others only keys and values are made.
        tap: called at every hook point but the output of the block.
    """
    tap("hook_resid_pre", h, None)
    x = block.norm(h)
    k, v = (each(x).unflatten(1, (-1, own.shape[-1])) for each in (block.k, block.v))
    tap("attn.hook_k", k, None)
    tap("attn.hook_v", v, None)
    pair, run, _, key = grid.places
    own[:, pair, :, run, key] = torch.stack([grid.rotate(block.k_norm(k)), v], dim=1)
    if grid.repeats.shape[1]:
        to_pair, to_key, from_pair, from_key = grid.repeats
        own[:, to_pair, :, 0, to_key] = own[:, from_pair, :, 0, from_key]
    if useful is None:
        _mix(block, h, x, grid, shared, own, unseen, tap)
    else:
        some = h[useful]
        _mix(block, some, x[useful], grid.at(useful), shared, own, unseen, lambda hook, x, _: tap(hook, x, useful))
        h[useful] = some


def _mix(
    block: Block,
    h: Resid,
    x: Resid,
    grid: Grid,
    shared: SharedKeys,
    own: OwnKeys,
    unseen: Bool[Tensor, "pair query _"],
    tap: Tap,
) -> None:
    """Add to `h`, whose norm is `x`, what attention and MLP give."""
    q = grid.rotate(block.q_norm(block.q(x).unflatten(1, (-1, own.shape[-1]))))
    z = attend(q * block.scale, grid, shared, own, unseen, block.softcap)
    tap("attn.hook_z", z, None)
    out = block.attention_norm(block.o(z.flatten(1)))
    tap("hook_attn_out", out, None)
    h += out
    tap("hook_resid_mid", h, None)
    x = block.mlp_norm(h)
    inner = block.act(block.up(x)) if block.gate is None else block.act(block.gate(x)).mul_(block.up(x))
    tap("mlp.hook_post", inner.unsqueeze(-1), None)
    out = block.out_norm(block.down(inner))
    tap("hook_mlp_out", out, None)
    h += out


def attend(
    q: Float[Tensor, "row head d_head"],
    grid: Grid,
    shared: SharedKeys,
    own: OwnKeys,
    unseen: Bool[Tensor, "pair query _"],
    softcap: float | None,
) -> Float[Tensor, "row head d_head"]:
    """What the heads of each row read: one softmax over both sets of keys."""
    pair, run, query, _ = grid.places
    _, pairs, kv_heads, runs, _, d_head = own.shape
    n_shared, queries = shared.shape[3], unseen.shape[1]
    spread = q.new_zeros(pairs, kv_heads, runs, queries, q.shape[1] // kv_heads, d_head)
    spread[pair, :, run, query] = q.unflatten(1, (kv_heads, -1))
    grouped = spread.flatten(3, 4)  # all query heads that read one key head
    # The shared keys see the queries of all runs as one matrix.
    to_shared = (grouped.flatten(2, 3) @ shared[0].mT).unflatten(2, (runs, -1))
    scores = capped(torch.cat([to_shared, grouped @ own[0].mT], dim=-1), softcap)
    scores.unflatten(3, (queries, -1)).masked_fill_(unseen[:, None, None, :, None], -torch.inf)
    weights = scores.softmax(-1)
    mixed = weights[..., n_shared:] @ own[1]
    mixed += (weights[..., :n_shared].flatten(2, 3) @ shared[1]).unflatten(2, (runs, -1))
    return mixed.view_as(spread)[pair, :, run, query].flatten(1, 2)


def capped(x: Tensor, softcap: float | None) -> Tensor:
    """Values pressed between -softcap and softcap; as they are without one."""
    return x if softcap is None else (x / softcap).tanh_().mul_(softcap)
