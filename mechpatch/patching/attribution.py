"""First-order estimates of what every patch would do, all at once: attribution patching.

One unpatched run, and its gradients, give for each layer, site and part (head or neuron) of a hook point

    gradient of a measure at what is there · (the donor's vector − the run's own)

which is what the patch would move the measure by, were the measure linear in what is written (Nanda 2023, "Attribution
Patching"; Syed, Rager and Conmy 2023, arXiv 2310.10348). It is not: where attention is saturated, or where two paths
cancel, the estimate is near zero and the patch is not (Kramár et al. 2024, arXiv 2403.00745). So it says where to look,
and is never a result. Gradients pass through thoughts that are fed back, as the effect of a patch does.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor
from transformer_lens import HookedTransformer

from mechpatch.axes import LatentHead, Logits, SiteVectors
from mechpatch.patching.batch import Batch
from mechpatch.patching.rollout import Read, Write, rollout
from mechpatch.points import Sizes, point_of

Measure = Callable[[Logits], Float[Tensor, " pair"]]  # must be differentiable
ByPart = Float[Tensor, "pair layer site part"]


def attribute(
    model: HookedTransformer,
    head: LatentHead | None,
    batch: Batch,
    donor: Mapping[str, SiteVectors],
    measure: Measure,
) -> dict[str, ByPart]:
    """How far each patch would move a measure of the logits, to first order, in the unit of the measure.

    Weights need no gradients: those of zeros are taken, which are added to what is at every layer and site.

    Args:
        donor: by hook point, what would be written, at all its layers; vectors are [part, *width].
        measure: one value for each pair, which must not depend on the other pairs.
    """
    zeros = {hook: torch.zeros_like(vectors).requires_grad_() for hook, vectors in donor.items()}
    layers = {hook: tuple(range(vectors.shape[2])) for hook, vectors in donor.items()}
    writes = [
        Write(layer, batch.columns, added[:, :, layer], hook, added=True)
        for hook, added in zeros.items()
        for layer in layers[hook]
    ]
    run = rollout(model, head, batch, writes, [Read(layers[hook], batch.columns, hook) for hook in zeros])
    gradients = torch.autograd.grad(measure(run.logits).sum(), [*zeros.values()])
    return {
        hook: reduce(
            gradient * (donor[hook] - run.vectors[hook].detach()),
            "pair answer layer site part ... -> pair layer site part",
            "sum",
        )
        for hook, gradient in zip(zeros, gradients, strict=True)
    }


def bytes_of_gradients(model: HookedTransformer, batch: Batch, hooks: Sequence[str]) -> int:
    """Bytes that `attribute` holds for one pair of a batch: what each block computed, until its gradient is taken, and
    what is computed of each hook point.

    Counted by hand, from what torch was seen to keep; at the 1B shape it kept half of that.
    """
    cfg, width = model.cfg, batch.width
    heads = cfg.n_heads * cfg.d_head
    tail = 2 * batch.tails.shape[2]  # rows of both continuations
    passes = 1 + batch.n_latents + 2 if batch.n_latents else 2
    columns = batch.tail_start + tail if batch.n_latents else 2 * width
    of_column = 4 * (cfg.d_mlp or 0) + 8 * cfg.d_model + 5 * heads + 3 * cfg.n_heads * width
    of_pass = 2 * width * heads  # keys and values of all columns so far, once for every query head
    block = columns * of_column + passes * of_pass
    logits = 8 * batch.reads.shape[1] * batch.reads.shape[2] * cfg.d_vocab_out  # widened, among others
    shapes = [point_of(hook).shape(Sizes.of(cfg)) for hook in hooks]
    vectors = 2 * cfg.n_layers * len(batch.sites) * sum(map(prod, shapes))
    return (cfg.n_layers * block + logits + 8 * vectors) * cfg.dtype.itemsize
