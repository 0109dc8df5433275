"""The places of a model that can be read and written, each declared once: its names, its parts, and what it can reach.

`resid_pre` of block 0 is what enters the blocks, learned positions included. `k` is a key before rotation and before
any norm of its own, `kv` the keys (0) and values (1) of all heads: a position's entry in the cache. `post` is the
activation of each neuron of the MLP, after the nonlinearity and the gate, before the down projection. `thought` is the
vector that is fed back, before learned positions are added. It has no layer, so its layer is 0 throughout, and it is
found at fed-back thoughts alone.

Some hook points have *parts* with vectors of their own, and each part can be written by itself: the heads of `z`, `k`
and `v`, the neurons of `post`. Wherever a part is named by its number (`Patch.head`, the column `head` of the records,
`z.5`), the number of a head and that of a neuron stand in the same place; `part_named` says which it is.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from mechpatch.errors import SpecError

RESID_POST = "resid_post"  # the hook point that is meant where none is named

Where = Literal["input", "start", "keys and values", "heads", "attention", "middle", "neurons", "MLP", "end"]
WORDS = {"query head": "head", "key-value head": "head", "neuron": "neuron"}  # what a part is called


class Sizes(NamedTuple):
    """What decides the shapes of a model's hook points: `d_head` is the width of a head, `d_mlp` the number of neurons
    of one MLP."""

    d_model: int
    heads: int
    kv_heads: int
    d_head: int
    d_mlp: int

    @classmethod
    def of(cls, cfg: Any) -> "Sizes":
        """Of a model with that configuration of transformer-lens."""
        return cls(cfg.d_model, cfg.n_heads, cfg.n_key_value_heads or cfg.n_heads, cfg.d_head, cfg.d_mlp or 0)


@dataclass(frozen=True, slots=True)
class HookPoint:
    """One place.

    Attributes:
        label: in words.
        hooks: transformer-lens' names inside a block; of two, an axis of the vectors says which.
        parts: which parts have vectors of their own; None where there is one vector for all.
        where: in the block, in the order of its work; `end` is the output of the block, and `input` stands before all.
        spreads: whether a write reaches later positions in that same block, and not from the next block on.
    """

    name: str
    label: str
    hooks: tuple[str, ...]
    parts: Literal["query head", "key-value head", "neuron"] | None
    where: Where
    spreads: bool

    @property
    def part(self) -> str | None:
        """What one of its parts is called: head or neuron; None where it has none."""
        return None if self.parts is None else WORDS[self.parts]

    @property
    def of_neurons(self) -> bool:
        """Whether each part has one number instead of a vector: here its shape is [1], and transformer-lens, whose
        activations are [row, position, d_mlp] there, has no axis for it."""
        return self.parts == "neuron"

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        """Shape of what is at one layer and position: (parts, width) where it has parts."""
        if len(self.hooks) == 2:
            return 2, sizes.kv_heads, sizes.d_head
        return {
            None: (sizes.d_model,),
            "query head": (sizes.heads, sizes.d_head),
            "key-value head": (sizes.kv_heads, sizes.d_head),
            "neuron": (sizes.d_mlp, 1),
        }[self.parts]

    def n_parts(self, sizes: Sizes) -> int:
        """How many parts it has at one layer and position; 0 where there is one vector for all."""
        return self.shape(sizes)[0] if self.parts else 0

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
        HookPoint("z", "head output (z)", ("attn.hook_z",), "query head", "heads", False),
        HookPoint("k", "key (k)", ("attn.hook_k",), "key-value head", "keys and values", True),
        HookPoint("v", "value (v)", ("attn.hook_v",), "key-value head", "keys and values", True),
        HookPoint("kv", "keys and values (kv)", ("attn.hook_k", "attn.hook_v"), None, "keys and values", True),
        HookPoint("post", "neuron activation (post)", ("mlp.hook_post",), "neuron", "neurons", False),
        HookPoint("thought", "fed-back thought", (), None, "input", True),
    )
}


def point_of(hook: str, head: int | None = None) -> HookPoint:
    """The hook point of that name.

    Args:
        head: the head or neuron of it that is meant, if one is.

    Raises:
        SpecError: there is none, or a part is asked of one that has none.
    """
    if hook not in POINTS:
        raise SpecError(f"there is no hook point {hook!r}; expected one of {', '.join(POINTS)}")
    point = POINTS[hook]
    if head is not None and point.parts is None:
        having = ", ".join(f"{each.name} ({each.part}s)" for each in POINTS.values() if each.parts)
        raise SpecError(f"hook point {hook} has no heads or neurons, but {head} is asked for; expected one of {having}")
    return point


def split_hook(text: str) -> tuple[str, int | None]:
    """A hook point as a person asks for it: `z` whole, or one of its parts by number, `z.5`.

    Raises:
        SpecError: what follows the dot is no number, or the hook point has no parts.
    """
    hook, dot, number = text.partition(".")
    if not dot or hook not in POINTS:
        return hook, None
    if not (number.isascii() and number.isdecimal() and len(number) <= 7 and str(int(number)) == number):
        raise SpecError(f"hook point {text[:60]!r}: expected one of its parts by number, for example {hook}.5")
    return point_of(hook, int(number)).name, int(number)


def hook_named(hook: str, head: int | None) -> str:
    """What is written, in words: `kv`, `head 5 of z`, `neuron 5 of post`."""
    return " of ".join(filter(None, (part_named(hook, head), hook)))


def part_named(hook: str, head: int | None) -> str:
    """A part of a hook point in words, `head 5` or `neuron 5`; empty where none is meant."""
    if head is None:
        return ""
    return f"{POINTS[hook].part if hook in POINTS else 'head'} {head}"
