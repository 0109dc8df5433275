"""Hook functions that edit or read activations at chosen positions, at any hook point that has positions.

They have the transformer-lens signature and work in `HookedTransformer.run_with_hooks` and in the `run_with_hooks` of
a `ThoughtModel`, where thoughts are rolled out and a position may be the name of a site (`t2`, `bot`, `eot`, `answer`,
`thoughts`). Hooks never mutate their input (the activation cache may alias it), never know which experiment called
them, and compose with `chain`.

Hook points are those of `mechpatch.points.POINTS`, under transformer-lens' names; `hook_embed`, which at a thought
holds the vector that is fed back; and all others whose activations are [row, position, d_model], [row, position, head,
d_head] or, of neurons, [row, position, d_mlp].
Axes: `row` (sequence in the batch), `position` (token), `site` (chosen position), `vector` (what is at one position:
`d_model`, `d_mlp`, or `head d_head`; `d_head` where one head is chosen, and one number where one neuron is; of `k` and
`v` heads are key-value heads).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from beartype import beartype
from jaxtyping import Float, Int, jaxtyped
from torch import Tensor

from mechpatch.patching.passes import is_last_pass, site_positions

Activation = Float[Tensor, "row position d_model"] | Float[Tensor, "row position head d_head"]
# An index, negative ones from the end, or the name of a site; the same in every row.
Position = int | str
Positions = Int[Tensor, "row site"] | Sequence[Position]
BY_QUERY = ("hook_attn_scores", "hook_pattern")  # [row, head, query, key]
BY_NEURON = ("mlp.hook_pre", "mlp.hook_pre_linear", "mlp.hook_post")  # [row, position, d_mlp]
Held = Tensor | Sequence[Position]  # positions that a hook holds
Part = tuple[str, int] | None  # one head or neuron, by its number; all of them


@runtime_checkable
class Hook(Protocol):
    """A function of an activation and its hook point; returns the activation to go on with."""

    def __call__(self, activation: Activation, hook: object) -> Activation: ...


@jaxtyped(typechecker=beartype)
def patch_position(
    position: Position | Int[Tensor, " row"],
    source: Float[Tensor, " row *vector"],
    *,
    head: int | None = None,
    neuron: int | None = None,
) -> Hook:
    """Write `source` at one position of each row; pass every other position through.

    Args:
        position: see `Position`, or one for each row.
        source: one vector per row, [row, *vector]; or [*vector], which is written in every row.
        head: write this head only.
        neuron: write this neuron only, at `mlp.hook_post` and what it is made of; its vector is one number, [1].
    """
    positions = position[:, None] if isinstance(position, Tensor) else [position]
    return partial(_patch_one, positions, source, _part(head, neuron))


@jaxtyped(typechecker=beartype)
def patch_positions(
    positions: Positions,
    source: Float[Tensor, "row site *vector"],
    *,
    head: int | None = None,
    neuron: int | None = None,
) -> Hook:
    """Write `source` at several positions of each row; pass every other position through.

    Args:
        positions: one list for all rows, see `Position`; or positions [row, site].
        source: [row, site, *vector]; beside a list, or [site, *vector], which is written in every row.
        head, neuron: write this one only, see `patch_position`.
    """
    return partial(_patch, positions, source, _part(head, neuron))


@jaxtyped(typechecker=beartype)
def edit_position(
    position: Position | Int[Tensor, " row"],
    function: Callable[[Float[Tensor, " row *vector"]], Float[Tensor, " row *vector"]],
    *,
    head: int | None = None,
    neuron: int | None = None,
) -> Hook:
    """Write `function` of what is there at one position of each row; pass every other position through.

    Args:
        position: see `Position`, or one for each row.
        function: is given a copy, and returns as many values of the same dtype. In a question with fed-back thoughts it
            is called once a pass (see `patching.passes`), so it must give the same for the same input.
        head, neuron: edit this one only, see `patch_position`.
    """
    positions = position[:, None] if isinstance(position, Tensor) else [position]
    return partial(_edit_one, positions, function, _part(head, neuron))


@jaxtyped(typechecker=beartype)
def edit_positions(
    positions: Positions,
    function: Callable[[Float[Tensor, "row site *vector"]], Float[Tensor, "row site *vector"]],
    *,
    head: int | None = None,
    neuron: int | None = None,
) -> Hook:
    """As `edit_position`, at several positions at once; `positions` as in `patch_positions`."""
    return partial(_edit, positions, function, _part(head, neuron))


@jaxtyped(typechecker=beartype)
def capture(
    positions: Positions,
    into: list[Float[Tensor, "row site *vector"]],
    *,
    head: int | None = None,
    neuron: int | None = None,
) -> Hook:
    """Append a copy of what is at some positions to `into`, once a run; change nothing.

    Args:
        positions: as in `patch_positions`.
        head, neuron: read this one only, see `patch_position`.
    """
    return partial(_capture, positions, into, _part(head, neuron))


def chain(*hooks: Callable[..., Tensor | None]) -> Hook:
    """Apply `hooks` left to right at one hook point; one that returns None only reads. `chain()` is the identity."""

    def chained(activation: Activation, hook: object) -> Activation:
        for each in hooks:
            found = each(activation, hook=hook)
            activation = activation if found is None else found
        return activation

    return chained


def positions_of(positions: Sequence[Position], hook: object) -> list[int]:
    """Each as an index, in the run that is under way. Raises `ValueError` for a site that it does not have."""
    names = [positions] if isinstance(positions, str) else positions
    try:
        return [at for each in names for at in (site_positions(each) if isinstance(each, str) else [each])]
    except ValueError as error:
        raise ValueError(f"{hook_name(hook)}: {error}") from None


def rows(positions: Int[Tensor, "row site"]) -> Int[Tensor, "row 1"]:
    """Row numbers that pair with `positions` in an index."""
    return torch.arange(len(positions), device=positions.device)[:, None]


# What the hooks do: each is decorated once, not for every hook that is made, which would take longer than to run it.
# What a hook holds is told by the function that makes it, so its axes are not checked against those of an activation
# here: `_index` and `_fitting` do that, and name the axis.
@jaxtyped(typechecker=beartype)
def _patch(positions: Held, source: Tensor, part: Part, activation: Activation, hook: object) -> Activation:
    return _written(activation, positions, source, part, hook)


@jaxtyped(typechecker=beartype)
def _patch_one(positions: Held, source: Tensor, part: Part, activation: Activation, hook: object) -> Activation:
    axis = source.ndim - len(_vector_axes(activation, part, hook))  # that of the sites
    return _written(activation, positions, source.unsqueeze(axis) if axis >= 0 else source, part, hook)


@jaxtyped(typechecker=beartype)
def _edit(
    positions: Held, function: Callable[[Tensor], Tensor], part: Part, activation: Activation, hook: object
) -> Activation:
    there = activation[_index(activation, positions, part, hook)]
    return _written(activation, positions, _made(function, there, hook), part, hook)


@jaxtyped(typechecker=beartype)
def _edit_one(
    positions: Held, function: Callable[[Tensor], Tensor], part: Part, activation: Activation, hook: object
) -> Activation:
    there = activation[_index(activation, positions, part, hook)]
    if there.shape[1] != 1:
        raise ValueError(f"{hook_name(hook)}: {positions[0]!r} is {there.shape[1]} positions; take edit_positions")
    return _written(activation, positions, _made(function, there[:, 0], hook)[:, None], part, hook)


@jaxtyped(typechecker=beartype)
def _capture(positions: Held, into: list[Tensor], part: Part, activation: Activation, hook: object) -> Activation:
    index = _index(activation, positions, part, hook)
    if is_last_pass():
        into.append(activation[index].clone())
    return activation


def _part(head: int | None, neuron: int | None) -> Part:
    """The one part that is meant. Raises `ValueError` if both are given."""
    if head is not None and neuron is not None:
        raise ValueError(f"`head` is {head} and `neuron` is {neuron}: no hook point has both; give one of them")
    return ("head", head) if head is not None else ("neuron", neuron) if neuron is not None else None


def _written(activation: Tensor, positions: Held, source: Tensor, part: Part, hook: object) -> Tensor:
    """A copy of `activation` with `source` at `positions`."""
    index = _index(activation, positions, part, hook)
    source = _fitting(activation, index, source, part, hook)
    patched = activation.clone()
    patched[index] = source
    return patched


def _made(function: Callable[[Tensor], Tensor], there: Tensor, hook: object) -> Tensor:
    """What `function` makes of what is there, or a `ValueError`: it is no tensor of the same shape and dtype."""
    expected = f"{[*there.shape]} of {there.dtype}"
    made = function(there)
    found = f"{[*made.shape]} of {made.dtype}" if isinstance(made, Tensor) else repr(made)
    if found != expected:
        raise ValueError(f"{hook_name(hook)}: `function` returned {found}, expected {expected}, as it was given")
    return made


def _index(activation: Tensor, positions: Held, part: Part, hook: object) -> tuple[Tensor | int | slice, ...]:
    """What selects [row, site, *vector] of `activation`.

    Raises:
        ValueError: the hook point has no such positions, heads or neurons; it is named.
    """
    name = hook_name(hook)
    if name.endswith(BY_QUERY):
        raise ValueError(f"{name} is [row, head, query, key], expected [row, position, …]; write a hook of your own")
    if not isinstance(positions, Tensor):
        found = [positions_of(positions, hook)] * len(activation)
        positions = torch.tensor(found, dtype=torch.int64, device=activation.device)
    _check_positions(activation, positions, name)
    if part is None:
        return rows(positions), positions
    word, number = part
    has_parts = activation.ndim == 4 if word == "head" else name.endswith(BY_NEURON)
    count = activation.shape[2] if has_parts else 0
    if not 0 <= number < count:
        has = f"{word}s 0 to {count - 1}" if count else f"no axis of {word}s"
        raise ValueError(f"{name}: `{word}` is {number}, but the activation has {has}")
    # One neuron keeps its axis, of length 1: it is a vector, too.
    return rows(positions), positions, number if word == "head" else slice(number, number + 1)


def _vector_axes(activation: Tensor, part: Part, hook: object) -> dict[str, int]:
    """Names and sizes of the axes of what is at one position."""
    if activation.ndim == 3:
        width = "d_mlp" if hook_name(hook).endswith(BY_NEURON) else "d_model"
        return {width: activation.shape[2]} if part is None else {"neuron": 1}
    whole = {"head": activation.shape[2]} if part is None else {}
    return whole | {"d_head": activation.shape[3]}


def _fitting(
    activation: Tensor, index: tuple[Tensor | int | slice, ...], source: Tensor, part: Part, hook: object
) -> Tensor:
    """`source` as [row, site, *vector], or a `ValueError` that names the axis or dtype in which it does not fit."""
    name = hook_name(hook)
    assert isinstance(index[1], Tensor)
    expected = dict(zip(("row", "site"), index[1].shape, strict=True)) | _vector_axes(activation, part, hook)
    if source.ndim == len(expected) - 1:  # the same in every row
        source = source.expand(len(activation), *source.shape)
    if source.ndim != len(expected):
        raise ValueError(
            f"{name}: `source` is {[*source.shape]}, expected [{', '.join(expected)}] = {[*expected.values()]}; "
            "`row` may be left out, and `site` in patch_position"
        )
    for (axis, size), found in zip(expected.items(), source.shape, strict=True):
        if found != size:
            where = "there are" if axis == "site" else "the activation has"
            raise ValueError(f"{name}: axis `{axis}` of `source` is {found}, but {where} {size}")
    if source.dtype != activation.dtype:  # a silent cast would round what is written
        raise ValueError(f"{name}: `source` is {source.dtype}, but the activation is {activation.dtype}; cast it first")
    return source


def _check_positions(activation: Tensor, positions: Tensor, name: str) -> None:
    """Raise a `ValueError` that names the axis in which `positions` do not fit `activation`."""
    if len(positions) != len(activation):
        raise ValueError(f"{name}: axis `row` is {len(positions)} long, but the activation has {len(activation)} rows")
    length = activation.shape[1]
    if positions.numel() and not (-length <= int(positions.min()) and int(positions.max()) < length):
        raise ValueError(
            f"{name}: `position` runs from {int(positions.min())} to {int(positions.max())}, but the activation has "
            f"{length} positions"
        )


def hook_name(hook: object) -> str:
    """What a message calls the hook point."""
    return getattr(hook, "name", None) or "this hook point"
