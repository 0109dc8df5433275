"""Every patch as one run with plain transformer-lens hooks: slow, obvious, and what any faster engine is held to.

A patch says where to write; the donor vectors say what. Axis `site` runs over `Batch.sites`.
"""

from collections.abc import Iterator, Sequence

import torch
from transformer_lens import HookedTransformer

from mechpatch.axes import LatentHead, SiteVectors
from mechpatch.patching.batch import Batch
from mechpatch.patching.patch import Patch, RelayStep
from mechpatch.patching.rollout import Outcome, Read, Write, rollout
from mechpatch.points import point_of


def baseline(
    model: HookedTransformer, latent_head: LatentHead | None, batch: Batch, hooks: Sequence[str] = ("resid_post",)
) -> Outcome:
    """The unpatched run: logits, and the hook points that are asked for, of every layer at every site."""
    layers = {hook: tuple(range(point_of(hook).n_layers(model.cfg.n_layers))) for hook in hooks}
    return rollout(model, latent_head, batch, read=[Read(layers[hook], batch.columns, hook) for hook in layers])


def sweep(
    model: HookedTransformer,
    latent_head: LatentHead | None,
    batch: Batch,
    donor: SiteVectors,
    patches: Sequence[Patch],
    hook: str = "resid_post",
) -> Iterator[tuple[Patch, Outcome]]:
    """Run each patch by itself on a fresh run.

    Args:
        donor: vectors of all layers and sites at the hook point; a patch writes those at its own.

    Yields:
        The patch, and its run with the hook point's vectors of the patch's first layer at every site.
    """
    for patch in patches:
        writes = [write_at(batch, donor, layer, patch.sites, hook, patch.head) for layer in patch.layers]
        yield patch, rollout(model, latent_head, batch, writes, Read((patch.layer,), batch.columns, hook))


def relay(
    model: HookedTransformer,
    latent_head: LatentHead | None,
    batch: Batch,
    donor: SiteVectors,
    layer: int,
    sites: Sequence[int],
    hook: str = "resid_post",
    head: int | None = None,
) -> Iterator[RelayStep]:
    """Hand one thought on to the next through one layer, or through one head of it.

    Step 0 writes the donor's vector at the first of `sites`. Step i writes, into a fresh run and there alone, what the
    run of step i-1 itself produced at the i-th site.
    """
    donor = donor[:, :, layer, None]
    for site in sites:
        write = write_at(batch, donor, 0, (site,), hook, head, into=layer)
        outcome = rollout(model, latent_head, batch, [write], Read((layer,), batch.columns, hook))
        yield RelayStep(write.source[:, :, 0], outcome.logits)
        donor = outcome.vectors[hook]


def write_at(
    batch: Batch,
    vectors: SiteVectors,
    layer: int,
    sites: Sequence[int],
    hook: str = "resid_post",
    head: int | None = None,
    into: int | None = None,
) -> Write:
    """Write the vectors of a layer at some sites, or those of one head; into that layer unless another is named."""
    index = torch.tensor(sites, device=vectors.device)
    point_of(hook, head)
    source = vectors[:, :, layer, index] if head is None else vectors[:, :, layer, index, head]
    return Write(layer if into is None else into, batch.columns[:, :, index], source, hook, head)
