"""One question from its first token to the last of its answer, thoughts included, under any hooks of transformer-lens.

The question is one row without padding: prompt, thoughts, eot, prefix, answer. What the model feeds back stands in
`hook_embed` at the thoughts, before learned positions are added. The row is run once for each thought, and once more:
a model is causal, so all that a thought is made from is right as soon as the thoughts before it are. Hooks run in every
pass, on the whole row, so whatever they write moves every thought that follows, and positions are those of the row.
A hook that carries something from a later position to an earlier one is not causal: thoughts then do not see it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import HookedTransformer

from mechpatch.axes import LatentHead
from mechpatch.errors import ThoughtError
from mechpatch.patching.edit import HOOK_EMBED, Edit, Named
from mechpatch.patching.passes import Pass, in_pass
from mechpatch.thoughts.layout import Layout

STAND_IN = 0  # any token; what is fed back takes the place of its embedding
# What transformer-lens computes only when it is told to, and the method of its model that tells it.
SWITCHED = {
    "attn.hook_result": "set_use_attn_result",
    "hook_attn_in": "set_use_attn_in",
    "hook_q_input": "set_use_split_qkv_input",
    "hook_k_input": "set_use_split_qkv_input",
    "hook_v_input": "set_use_split_qkv_input",
    "hook_mlp_in": "set_use_hook_mlp_in",
}
Hooks = Sequence[Named | Edit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question with one answer.

    Attributes:
        tokens: ids; `STAND_IN` at the thoughts that are fed back.
        first: position of the first of them.
        n_latents: how many there are.
        sites: position of each named site.
    """

    tokens: tuple[int, ...]
    first: int
    n_latents: int
    sites: Mapping[str, int]

    @classmethod
    def of(cls, layout: Layout, tail: int) -> "Row":
        """A layout with its clean (0) or corrupted (1) answer."""
        latents = (STAND_IN,) * layout.n_latents
        return cls(
            tokens=(*layout.prompt, *latents, *layout.tails[tail].tokens),
            first=len(layout.prompt),
            n_latents=layout.n_latents,
            sites=dict(zip(layout.sites, layout.positions(tail), strict=True)),
        )

    @classmethod
    def plain(cls, tokens: Sequence[int]) -> "Row":
        """Tokens that are run as they are; no thought, no site."""
        return cls(tokens=tuple(tokens), first=len(tokens), n_latents=0, sites={})


@contextmanager
def rolled_out(
    model: HookedTransformer,
    head: LatentHead | None,
    row: Row,
    fwd_hooks: Hooks = (),
    thoughts: Float[Tensor, "thought d_model"] | None = None,
) -> Iterator[Int[Tensor, "1 position"]]:
    """Hook the model so that one plain run of the tokens that are given is the run of `row`, thoughts and all.

    Args:
        fwd_hooks: applied in their order; at `hook_embed` they see, and may edit, what is fed back.
        thoughts: fed in place of what the model makes.

    Raises:
        ThoughtError: the row cannot be run on this model.
        SpecError: an edit is asked for at a layer that the model does not have.
        ValueError: a hook cannot be applied as asked; it would otherwise be passed over in silence.
    """
    _check(model, head, row, thoughts)
    tokens = torch.tensor([row.tokens], device=model.unembed.W_U.device)
    fed = [] if thoughts is None else [*thoughts]
    named = [one for each in fwd_hooks for one in (each.on(model) if isinstance(each, Edit) else [each])]
    hooks, calls = _counted(model, named)
    at_thoughts = range(row.first, row.first + row.n_latents)

    def feed(embeds: Tensor, hook: object) -> Tensor:
        if not fed:
            return embeds
        return torch.cat([embeds[:, : row.first], torch.stack(fed)[None], embeds[:, row.first + len(fed) :]], dim=1)

    with model.hooks(fwd_hooks=[(HOOK_EMBED, feed), *hooks]):
        while len(fed) < row.n_latents:
            assert head is not None  # checked
            with in_pass(Pass(sites=row.sites, fed=at_thoughts, last=False)):
                resid = model(tokens, stop_at_layer=model.cfg.n_layers)
                fed.append(head(model.ln_final(resid)[:, row.first + len(fed) - 1])[0])
        with in_pass(Pass(sites=row.sites, fed=at_thoughts, last=True)):
            yield tokens
    _require_called(named, calls)


def _check(
    model: HookedTransformer, head: LatentHead | None, row: Row, thoughts: Float[Tensor, "thought d_model"] | None
) -> None:
    """Raise a `ThoughtError` where `row` cannot be run with these thoughts."""
    cfg = model.cfg
    if not 0 < len(row.tokens) <= cfg.n_ctx:  # transformer-lens would make new rotary tables, without scaling
        raise ThoughtError(f"the question has {len(row.tokens)} tokens, and the model runs 1 to {cfg.n_ctx}")
    if outside := [each for each in row.tokens if not 0 <= each < cfg.d_vocab]:
        raise ThoughtError(f"token {outside[0]} is not in the vocabulary, which has 0 to {cfg.d_vocab - 1}")
    if thoughts is None:
        if row.n_latents and head is None:
            raise ThoughtError("latent thoughts need a model with a latent head; load a CODI checkpoint")
        return
    expected, dtype = (row.n_latents, cfg.d_model), model.embed.W_E.dtype
    if tuple(thoughts.shape) != expected or thoughts.dtype != dtype:
        raise ThoughtError(
            f"`thoughts` is {[*thoughts.shape]} of {thoughts.dtype}, expected [thought, d_model] = {[*expected]} of "
            f"{dtype}: one vector for each thought that is fed back"
        )


def _counted(model: HookedTransformer, named: Sequence[Named]) -> tuple[list[Named], list[int]]:
    """These hooks, and how often each of them has been called."""
    calls = [0] * len(named)

    def counted(number: int, inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(activation: Tensor, hook: object) -> Any:
            calls[number] += 1
            return inner(activation, hook=hook)

        return call

    for name, _ in named:
        if isinstance(name, str) and name not in model.hook_dict:
            near = get_close_matches(name, model.hook_dict, n=1)
            meant = f"did you mean {near[0]}" if near else "model.hooked.hook_dict has all"
            raise ValueError(f"there is no hook point {name!r}; {meant}")
    return [(name, counted(number, hook)) for number, (name, hook) in enumerate(named)], calls


def _require_called(named: Sequence[Named], calls: Sequence[int]) -> None:
    """Raise a `ValueError` for a hook that changed nothing because its hook point was never reached."""
    for (name, _), count in zip(named, calls, strict=True):
        if count:
            continue
        if not isinstance(name, str):
            raise ValueError("the function that chooses hook points chose none; model.hooked.hook_dict has all")
        switch = next((method for end, method in SWITCHED.items() if name.endswith(end)), None)
        how = f"; call model.hooked.{switch}(True) first" if switch else ""
        raise ValueError(f"{name} was never reached: transformer-lens does not compute it as it is set{how}")
