"""Where one pair's answer moves most: the effect of every single cell."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mechpatch.experiments.spec import Spec
from mechpatch.kinds import Frame
from mechpatch.metrics import answer_logprob
from mechpatch.models import ThoughtModel
from mechpatch.patching import collate, engine, reference
from mechpatch.patching.patch import Patch
from mechpatch.thoughts import Layout, thought_sites


@dataclass(frozen=True, slots=True)
class At:
    """One cell: a layer and the name of a site."""

    layer: int
    site: str


def effects(
    model: ThoughtModel,
    spec: Spec,
    layout: Layout,
    unpatched: Float[Tensor, "1 2 position vocab"],
    donor: Float[Tensor, "1 2 layer site d_model"],
    memory: int,
) -> tuple[Float[Tensor, "layer site"], Bool[Tensor, "layer site"]]:
    """Change of the answer log-probability difference when `donor` is written at each single cell, nats.

    Also whether nothing could have moved there, whatever the model has learnt.

    Args:
        layout: the question that is patched.
        unpatched: its logits as it is.
        memory: bytes for one chunk of patches.
    """
    batch, layers, sites = collate([layout], model.device), tuple(range(model.n_layers)), layout.sites
    patches = [Patch(layer, (place,)) for layer in layers for place in range(len(sites))]
    if spec.engine == "fast":
        swept = engine.sweep(engine.base_run(model.hooked, model.head, batch), donor, patches, memory)
    else:
        swept = reference.sweep(model.hooked, model.head, batch, donor, patches)
    moved = {patch: answer_difference(outcome.logits, layout) for patch, outcome in swept}
    before = answer_difference(unpatched, layout)
    thoughts, feedback = thought_sites(sites), spec.thoughts == "latent"
    frame = Frame(n_layers=model.n_layers, layers=layers, sites=sites, thoughts=thoughts, feedback=feedback)
    effect = torch.tensor([moved[patch] - before for patch in patches])
    structural = torch.tensor([frame.is_structural(layer, [site]) for layer in layers for site in sites])
    return effect.view(len(layers), -1), structural.view(len(layers), -1)


def strongest(effect: Float[Tensor, "layer site"], structural: Bool[Tensor, "layer site"], sites: Sequence[str]) -> At:
    """The cell among the thoughts that moves the answer most: at `answer`, what is copied is the answer itself."""
    thoughts = thought_sites(sites)
    able = ~structural & torch.tensor([site in thoughts for site in sites])
    layer, place = divmod(int(effect.abs().where(able, -1.0).argmax()), len(sites))
    return At(layer, sites[place])


def answer_difference(logits: Float[Tensor, "1 2 position vocab"], layout: Layout) -> float:
    """log p(clean answer) − log p(corrupted answer) of one run, nats."""
    targets = collate([layout], logits.device).targets
    logprobs = answer_logprob(logits.to(torch.promote_types(logits.dtype, torch.float32)), targets)
    return float(logprobs[0, 0] - logprobs[0, 1])
