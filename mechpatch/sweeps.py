"""A map of your own text: every layer and position of one prompt, patched from another one."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpatch.errors import SpecError
from mechpatch.experiments.running.intact import require_intact
from mechpatch.experiments.spec import MOST_CELLS
from mechpatch.models import ThoughtModel
from mechpatch.patching.hooks import patch_position
from mechpatch.patching.rollout import unembed
from mechpatch.points import RESID_POST, HookPoint, Sizes, point_of, split_hook

if TYPE_CHECKING:
    import pandas as pd

Text = str | Sequence[int]
# Logits of the next token of the patched runs [row, vocab], and of the unpatched corrupted and clean run [vocab].
NextToken = Callable[[Tensor, Tensor, Tensor], Any]


def logit_recovery(patched: Tensor, corrupted: Tensor, clean: Tensor) -> Tensor:
    """Share of the gap between corrupted and clean run that is closed, in the logit of the clean run's next token minus
    that of the corrupted run's: 0 none, 1 all. Raises `SpecError` if both runs go on with the same token."""
    right, wrong = int(clean.argmax()), int(corrupted.argmax())
    if right == wrong:
        raise SpecError(f"both texts go on with the same token, {right}: say with metric= what is measured")

    def difference(logits: Tensor) -> Tensor:
        return logits[..., right] - logits[..., wrong]

    gap = difference(clean) - difference(corrupted)
    return (difference(patched) - difference(corrupted)) / gap


@torch.no_grad()
def sweep(
    model: ThoughtModel,
    corrupted: Text,
    clean: Text,
    metric: NextToken = logit_recovery,
    *,
    hook: str = RESID_POST,
    layers: Sequence[int] | None = None,
    rows: int = 16,
) -> "pd.DataFrame":
    """Write what the clean text has at a hook point into the corrupted text's run, at each layer and position, one at a
    time, and measure the next token's logits. One plain forward pass each: no thought is rolled out here (see `run`).

    Args:
        corrupted, clean: texts, tokenised with the tokenizer's own special tokens, or token ids; of equal length.
        metric: gives one value per row, of logits [row, vocab], [vocab] and [vocab]: patched, corrupted, clean.
        hook: see `mechpatch guide hook-points`; every head of `z`, `k` and `v` is written by itself, and every neuron
            of `post`. `z.5` is one head and `post.123` one neuron, of each layer.
        layers: by default all.
        rows: patched runs in one forward pass.

    Returns:
        One row per layer, per (layer, head) or per (layer, neuron); one column per position, named by its number and
        the corrupted text's token.

    Raises:
        SpecError: the texts differ in length, a layer or hook point does not exist, `metric` gives something else, or
            there are more neurons, layers and positions than can be run.
        CheckpointError: the model changed since it was loaded, or hooks stand on it.
    """
    import pandas as pd

    require_intact(model)
    hooked: Any = model.hooked
    tokens = [_ids(model, text) for text in (corrupted, clean)]
    if len(tokens[0]) != len(tokens[1]):
        raise SpecError(
            f"corrupted has {len(tokens[0])} tokens and clean {len(tokens[1])}; positions are matched one by one, so "
            "both need equally many"
        )
    name, part = split_hook(hook)
    point = point_of(name)
    if not point.hooks:
        raise SpecError(f"hook={hook!r}: a text has no thought that is fed back; see mechpatch.run for that")
    asked = range(hooked.cfg.n_layers) if layers is None else layers
    if outside := [layer for layer in asked if not 0 <= layer < hooked.cfg.n_layers]:
        raise SpecError(f"layers {outside}: no such layer; the model has layers 0 to {hooked.cfg.n_layers - 1}")
    parts = _parts(hooked, point, part)
    if point.of_neurons and (cells := len(asked) * len(parts) * len(tokens[0])) > MOST_CELLS:
        raise SpecError(
            f"hook={hook!r}: {len(parts):,} neurons of {len(asked)} layers at {len(tokens[0])} positions are {cells:,} "
            f"patched runs, and at most {MOST_CELLS:,} can be run; name a neuron (hook='{name}.5') or fewer layers"
        )
    kept: list[dict[str, Tensor]] = []
    final: list[Tensor] = []
    for ids in tokens:
        resid, found = hooked.run_with_cache(
            torch.tensor([ids], device=model.device),
            names_filter=lambda name: name.endswith(("hook_resid_pre", *point.hooks)),
            stop_at_layer=hooked.cfg.n_layers,
        )
        kept.append({name: found[name] for name in found})
        final.append(_next_token(hooked, resid))
    values: dict[int | tuple[int, int], list[float]] = {}
    for layer in asked:
        for head in parts:
            key = layer if head is None else (layer, head)
            values[key] = [
                value
                for at in torch.arange(len(tokens[0]), device=model.device).split(rows)
                for value in _measured(hooked, kept, final, layer, head, at, point, metric)
            ]
    labels = [f"{at} {token}" for at, token in enumerate(model.tokenizer.convert_ids_to_tokens(tokens[0]))]
    found = pd.DataFrame([*values.values()], index=pd.Index([*values]), columns=labels)
    return found.rename_axis(index=["layer"] if point.part is None else ["layer", point.part])


def _parts(hooked: Any, point: HookPoint, part: int | None) -> Sequence[int | None]:
    """The heads or neurons that are written one by one, or the one that is asked for; None where all is written."""
    count = point.n_parts(Sizes.of(hooked.cfg))
    if part is None:
        return range(count) or [None]
    if part >= count:
        raise SpecError(f"hook={point.name}.{part}: no such {point.part}; the model has {point.part}s 0 to {count - 1}")
    return [part]


def _measured(
    hooked: Any,
    kept: Sequence[dict[str, Tensor]],
    final: Sequence[Tensor],
    layer: int,
    head: int | None,
    at: Int[Tensor, " row"],
    point: HookPoint,
    metric: NextToken,
) -> Iterator[float]:
    """The metric with the clean vector at each of some positions, a row of its own for each; run from this block on."""
    corrupted, clean = kept

    def write(name: str) -> tuple[str, Any]:
        vectors, axis = clean[name][0, at], point.part
        if head is None or axis is None:
            return name, patch_position(at, vectors)
        chosen = vectors[:, head : head + 1] if point.of_neurons else vectors[:, head]
        return name, patch_position(at, chosen, **{axis: head})

    resid = hooked.run_with_hooks(
        corrupted[f"blocks.{layer}.hook_resid_pre"].expand(len(at), -1, -1),
        start_at_layer=layer,
        stop_at_layer=hooked.cfg.n_layers,
        fwd_hooks=[write(f"blocks.{layer}.{each}") for each in point.hooks],
    )
    found = torch.as_tensor(metric(_next_token(hooked, resid), final[0][0], final[1][0]))
    if found.shape != at.shape:
        raise SpecError(f"the metric gave {[*found.shape]} for {len(at)} rows, expected [{len(at)}], one value a row")
    yield from found.double().tolist()


def _next_token(hooked: Any, resid: Float[Tensor, "row position d_model"]) -> Float[Tensor, "row vocab"]:
    return unembed(hooked, hooked.ln_final(resid[:, -1:])[:, 0])


def _ids(model: ThoughtModel, text: Text) -> list[int]:
    ids = model.tokenizer.encode(text) if isinstance(text, str) else [int(each) for each in text]
    if not ids or len(ids) > model.n_ctx:
        raise SpecError(f"{len(ids)} tokens; the model runs 1 to {model.n_ctx}")
    if outside := [each for each in ids if not 0 <= each < model.hooked.cfg.d_vocab]:
        raise SpecError(f"token ids {outside[:5]}: the vocabulary has 0 to {model.hooked.cfg.d_vocab - 1}")
    return ids
