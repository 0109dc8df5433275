"""The places of a model that can be read and written, each declared once: its names, its heads, and what it can reach.

`resid_pre` of block 0 is what enters the blocks, learned positions included. `k` is a key before rotation and before
any norm of its own, `kv` the keys (0) and values (1) of all heads: a position's entry in the cache. `thought` is the
vector that is fed back, before learned positions are added. It has no layer, so its layer is 0 throughout, and it is
found at fed-back thoughts alone.
"""

from dataclasses import dataclass
from typing import Literal

from mechpatch.errors import SpecError

RESID_POST = "resid_post"  # the hook point that is meant where none is named

Where = Literal["input", "start", "keys and values", "heads", "attention", "middle", "MLP", "end"]


@dataclass(frozen=True, slots=True)
class HookPoint:
    """One place.

    Attributes:
        label: in words.
        hooks: transformer-lens' names inside a block; of two, an axis of the vectors says which.
        heads: which heads have vectors of their own; None where there is one vector for all.
        where: in the block, in the order of its work; `end` is the output of the block, and `input` stands before all.
        spreads: whether a write reaches later positions in that same block, and not from the next block on.
    """

    name: str
    label: str
    hooks: tuple[str, ...]
    heads: Literal["query", "key-value"] | None
    where: Where
    spreads: bool

    def shape(self, d_model: int, n_heads: int, kv_heads: int, d_head: int) -> tuple[int, ...]:
        """Shape of what is at one layer and position."""
        if len(self.hooks) == 2:
            return 2, kv_heads, d_head
        return {None: (d_model,), "query": (n_heads, d_head), "key-value": (kv_heads, d_head)}[self.heads]

    def n_layers(self, n_layers: int) -> int:
        """How many layers it has in a model of so many blocks."""
        return n_layers if self.hooks else 1


POINTS = {
    point.name: point
    for point in (
        HookPoint("resid_pre", "residual stream before the block", ("hook_resid_pre",), None, "start", True),
        HookPoint("resid_mid", "residual stream after attention", ("hook_resid_mid",), None, "middle", False),
        HookPoint("resid_post", "residual stream after the block", ("hook_resid_post",), None, "end", False),
        HookPoint("attn_out", "attention output", ("hook_attn_out",), None, "attention", False),
        HookPoint("mlp_out", "MLP output", ("hook_mlp_out",), None, "MLP", False),
        HookPoint("z", "head output (z)", ("attn.hook_z",), "query", "heads", False),
        HookPoint("k", "key (k)", ("attn.hook_k",), "key-value", "keys and values", True),
        HookPoint("v", "value (v)", ("attn.hook_v",), "key-value", "keys and values", True),
        HookPoint("kv", "keys and values (kv)", ("attn.hook_k", "attn.hook_v"), None, "keys and values", True),
        HookPoint("thought", "fed-back thought", (), None, "input", True),
    )
}


def point_of(hook: str, head: int | None = None) -> HookPoint:
    """The hook point of that name.

    Raises:
        SpecError: there is none, or a head is asked of one that has none.
    """
    if hook not in POINTS:
        raise SpecError(f"there is no hook point {hook!r}; expected one of {', '.join(POINTS)}")
    point = POINTS[hook]
    if head is not None and point.heads is None:
        having = ", ".join(each.name for each in POINTS.values() if each.heads)
        raise SpecError(f"hook point {hook} has no heads, but head {head} is asked for; expected one of {having}")
    return point
