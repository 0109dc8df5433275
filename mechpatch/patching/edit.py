"""An edit: what is at one hook point, layer and site of a run is replaced by a function of it.

`edit_position` needs a name of transformer-lens and fits any of its hook points. An `Edit` is said in the words of the
table `mechpatch.points.POINTS`, in which experiments are asked for too, and knows what it cannot mean on a model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformer_lens import HookedTransformer

from mechpatch.errors import SpecError
from mechpatch.patching.hooks import Activation, Position, edit_position, hook_name, positions_of
from mechpatch.patching.passes import fed_positions
from mechpatch.points import POINTS, point_of

# The name of a hook point or a function that chooses names, and a hook, as transformer-lens takes them.
Named = tuple[str | Callable[[str], bool], Callable[..., Any]]
HOOK_EMBED = "hook_embed"  # holds what is fed back, at a thought


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace what is at one place of a run by a function of it; stands in `fwd_hooks` beside plain hooks.

    Attributes:
        hook: a name of `mechpatch.points.POINTS`: resid_pre, resid_mid, resid_post, attn_out, mlp_out, z, k, v, kv,
            post, or thought, which is the vector that is fed back.
        layer: the block, from 0. A thought has none: 0.
        site: a position of the row, negative ones from its end, or the name of a site. `thoughts` stands for each
            thought by itself.
        function: is given a copy of what is there and returns as many values of the same dtype: [row, d_model]; of
            heads [row, head, d_head], or with `head` [row, d_head]; of neurons [row, d_mlp], or with `neuron` [row, 1].
            At `kv` it is called with the keys and then with the values. It must give the same for the same input: in a
            question with fed-back thoughts it is called in every pass.
        head: the head that is edited, a query head at z and a key-value head at k and v; None for all.
        neuron: the neuron that is edited, at post; None for all.

    Raises:
        SpecError: there is no such hook point, or it has no heads or neurons.
    """

    hook: str
    layer: int
    site: Position
    function: Callable[[Float[Tensor, " row *vector"]], Float[Tensor, " row *vector"]]
    head: int | None = None
    neuron: int | None = None

    def __post_init__(self) -> None:
        for word, number in (("head", self.head), ("neuron", self.neuron)):
            if number is not None and (part := point_of(self.hook, number).part) != word:
                raise SpecError(f"Edit at {self.hook}: it has {part}s, but {word}={number} is given; say {part}=")
        point_of(self.hook)

    def on(self, model: HookedTransformer) -> list[Named]:
        """The edit as hooks of transformer-lens, for its own `run_with_hooks`.

        Raises:
            SpecError: the model has no such layer.
        """
        point = POINTS[self.hook]
        n_layers = point.n_layers(model.cfg.n_layers)
        if not 0 <= self.layer < n_layers:
            has = f"the model has layers 0 to {n_layers - 1}" if point.hooks else "a thought has none, so it must be 0"
            raise SpecError(f"Edit at {self.hook}, layer {self.layer}: no such layer; {has}")
        names = [f"blocks.{self.layer}.{name}" for name in point.hooks] or [HOOK_EMBED]
        return [(name, self._edited) for name in names]

    def _edited(self, activation: Activation, hook: object) -> Activation:
        positions = positions_of([self.site], hook)
        if not POINTS[self.hook].hooks:
            self._require_fed(positions, activation.shape[1], hook)
        for position in positions:
            activation = edit_position(position, self.function, head=self.head, neuron=self.neuron)(
                activation, hook=hook
            )
        return activation

    def _require_fed(self, positions: list[int], length: int, hook: object) -> None:
        """Raise a `ValueError` if there is a position at which nothing is fed back: its embedding is no thought."""
        fed = fed_positions()
        if not {position % length for position in positions} <= {*fed}:
            where = f"positions {fed[0]} to {fed[-1]}" if fed else "nothing is fed back here"
            raise ValueError(f"{hook_name(hook)}: {self.site!r} is no thought that is fed back; {where}")
