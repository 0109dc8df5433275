"""The tuned lens: an affine map for each layer, so that its residual stream is read as the last layer's would be.

After Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens" (arXiv 2303.08112): the
maps start as the identity and are trained, one layer by itself, to give the model's own final distribution at the same
position (KL divergence, final ‖ lens). There they are trained on running text; here on the sites of a run's questions,
of which a part is held out. A lens is never read on pairs that it was trained on.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mechpatch.errors import SpecError, StorageError
from mechpatch.experiments.running.donors import generator
from mechpatch.models import ThoughtModel
from mechpatch.points import RESID_POST
from mechpatch.readings.lens import logits_of, normed
from mechpatch.readings.record import Recorded
from mechpatch.reprs import short_repr
from mechpatch.storage.atomic import write_bytes

FORMAT, ABOUT = 1, "mechpatch"
FEWEST = 2  # pairs on either side of the split
STEPS, BATCH, RATE = 250, 64, 1e-3
Site = Float[Tensor, "site d_model"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TunedLens:
    """Maps of all layers but the last, which is read as it is.

    Attributes:
        weight, bias: what is added: x + x @ weightᵀ + bias; zero is the logit lens.
        about: `model` (fingerprint), `pairs` it was trained on, `held_out` ones, and for each layer the mean KL
            divergence of the held-out questions, nats: `kl_logit_lens` and `kl_tuned_lens`.
    """

    weight: Float[Tensor, "layer d_model d_model"]
    bias: Float[Tensor, "layer d_model"]
    about: dict[str, Any]

    __repr__ = short_repr

    def __call__(self, layer: int, vectors: Site) -> Site:
        """The residual stream of a layer, translated; see `mechpatch.readings.lens.Translate`."""
        if layer == len(self.weight):
            return vectors
        weight, bias = (each[layer].to(vectors) for each in (self.weight, self.bias))
        return vectors + vectors @ weight.T + bias

    @property
    def words(self) -> str:
        """How much nearer to the final distribution it is than the logit lens, on questions that it has not seen."""
        before, after = (sum(self.about[name]) / len(self.weight) for name in ("kl_logit_lens", "kl_tuned_lens"))
        return (
            f"Trained on {len(self.about['pairs'])} pairs; on {len(self.about['held_out'])} others the mean KL "
            f"divergence to the final distribution is {after:.2f} nats, and {before:.2f} with the logit lens."
        )

    def save(self, path: str | Path) -> None:
        """Write it as safetensors. Raises `StorageError`."""
        tensors = {name: getattr(self, name).detach().cpu().contiguous() for name in ("weight", "bias")}
        write_bytes(Path(path), save(tensors, {ABOUT: json.dumps({"format": FORMAT, **self.about})}))

    def require(self, model: ThoughtModel) -> None:
        """Raise a `SpecError` if it was trained on another model."""
        if self.about["model"] != model.fingerprint:
            raise SpecError(
                f"the tuned lens is of the model {self.about['model']}, and this one is {model.fingerprint}: train one "
                "with mechpatch read tune"
            )


def load_lens(path: str | Path) -> TunedLens:
    """A lens that `TunedLens.save` wrote. Raises `StorageError`: missing, damaged, or something else."""
    again = "train it again with mechpatch read tune"
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get(ABOUT, "null"))
            if not isinstance(about, dict) or about.pop("format", None) != FORMAT:
                raise StorageError(f"{path}: is no tuned lens of format {FORMAT}; {again}")
            return TunedLens(weight=file.get_tensor("weight"), bias=file.get_tensor("bias"), about=about)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}; {again}") from error
    except (SafetensorError, ValueError) as error:
        raise StorageError(f"{path}: damaged: {error}; {again}") from error


def split_pairs(recorded: Recorded, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Pairs to train on, and pairs to hold out, drawn by name.

    Raises:
        SpecError: either side would have fewer than `FEWEST`.
    """
    asked = sorted(recorded.asked, key=lambda index: recorded.pairs[index].pair_id)
    order = generator(seed, "tuned lens").permutation(len(asked))
    count = round(share * len(asked))
    train, rest = (sorted(asked[at] for at in part) for part in (order[:count], order[count:]))
    if min(len(train), len(rest)) < FEWEST:
        raise SpecError(
            f"a tuned lens needs {FEWEST} pairs to train on and {FEWEST} to hold out; a share of {share:g} of "
            f"{len(asked)} pairs gives {len(train)} and {len(rest)}"
        )
    return train, rest


def fit_lens(
    recorded: Recorded,
    *,
    share: float = 0.5,
    steps: int = STEPS,
    rate: float = RATE,
    seed: int = 0,
    tick: Callable[[int], None] = lambda steps: None,
) -> TunedLens:
    """Train a lens on part of the pairs, with Adam, `BATCH` vectors a step.

    Args:
        share: of the pairs that it is trained on; the others are held out.
        tick: told of each step.

    Raises:
        SpecError: there are too few pairs, or the model has one layer.
    """
    train, rest = split_pairs(recorded, share, seed)
    model, stream = recorded.model, _stream(recorded, train)
    depth, width = model.n_layers - 1, stream.shape[-1]
    if not depth:
        raise SpecError("a tuned lens needs two layers or more: the last one is read as it is")
    weight = [stream.new_zeros(width, width).requires_grad_() for _ in range(depth)]
    bias = [stream.new_zeros(width).requires_grad_() for _ in range(depth)]
    adam = torch.optim.Adam([*weight, *bias], lr=rate)
    draws = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = stream[:, torch.randint(stream.shape[1], (BATCH,), generator=draws).to(stream.device)]
        for layer, loss in _divergences(model, chosen, lambda layer, x: x + x @ weight[layer].T + bias[layer]):
            # Each layer by itself: the logits of all at once would take layers × 33 MB at 128k words.
            weight[layer].grad, bias[layer].grad = torch.autograd.grad(loss, [weight[layer], bias[layer]])
        adam.step()
        tick(1)
    names = {"pairs": train, "held_out": rest}
    about: dict[str, Any] = {name: [recorded.pairs[at].pair_id for at in each] for name, each in names.items()}
    about["model"] = model.fingerprint
    lens = TunedLens(weight=torch.stack(weight).detach(), bias=torch.stack(bias).detach(), about=about)
    held = _stream(recorded, rest)
    about["kl_logit_lens"] = _held_out(model, held, lambda layer, x: x)
    about["kl_tuned_lens"] = _held_out(model, held, lens)
    return lens


def _stream(recorded: Recorded, indices: Iterable[int]) -> Float[Tensor, "layer vector d_model"]:
    """The residual stream at every site of both questions of some pairs, in float32 or wider."""
    found = [recorded.vectors((index, side), RESID_POST) for index in indices for side in (0, 1)]
    stream = torch.cat(found, dim=1)
    return stream.to(torch.promote_types(stream.dtype, torch.float32))


def _divergences(
    model: ThoughtModel, stream: Float[Tensor, "layer vector d_model"], translate: Callable[[int, Tensor], Tensor]
) -> Iterable[tuple[int, Float[Tensor, ""]]]:
    """Mean KL(final ‖ lens) of each layer but the last, nats."""

    def logprobs(vectors: Tensor) -> Tensor:
        read = normed(model, RESID_POST, vectors[None].to(model.hooked.W_E.dtype))
        return logits_of(model, read).log_softmax(-1)

    with torch.no_grad():
        final = logprobs(stream[-1])
    for layer, vectors in enumerate(stream[:-1]):
        read = logprobs(translate(layer, vectors))
        yield layer, (final.exp() * (final - read)).sum(-1).mean()


@torch.no_grad()
def _held_out(
    model: ThoughtModel, stream: Float[Tensor, "layer vector d_model"], translate: Callable[[int, Tensor], Tensor]
) -> Sequence[float]:
    total = torch.zeros(len(stream) - 1, dtype=torch.float64)
    for part in stream.split(BATCH, dim=1):
        for layer, mean in _divergences(model, part, translate):
            total[layer] += mean.item() * part.shape[1]
    return (total / stream.shape[1]).tolist()
