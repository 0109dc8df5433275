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


def baseline(model: HookedTransformer, head: LatentHead | None, batch: Batch) -> Outcome:
    """The unpatched run: logits, and `resid_post` of every layer at every site."""
    return rollout(model, head, batch, read=Read(tuple(range(model.cfg.n_layers)), batch.columns))


def sweep(
    model: HookedTransformer, head: LatentHead | None, batch: Batch, donor: SiteVectors, patches: Sequence[Patch]
) -> Iterator[tuple[Patch, Outcome]]:
    """Run each patch by itself on a fresh run.

    Args:
        donor: vectors of all layers and sites; a patch writes those at its own.

    Yields:
        The patch, and its run with `resid_post` of the patch's first layer at every site.
    """
    for patch in patches:
        index = torch.tensor(patch.sites, device=donor.device)
        writes = [Write(layer, batch.columns[:, :, index], donor[:, :, layer, index]) for layer in patch.layers]
        yield patch, rollout(model, head, batch, writes, Read((patch.layer,), batch.columns))


def relay(
    model: HookedTransformer,
    head: LatentHead | None,
    batch: Batch,
    donor: SiteVectors,
    layer: int,
    sites: Sequence[int],
) -> Iterator[RelayStep]:
    """Hand one thought on to the next through one layer.

    Step 0 writes the donor's vector at the first of `sites`. Step i writes, into a fresh run and there alone, what the
    run of step i-1 itself produced at the i-th site.
    """
    written = donor[:, :, layer, sites[0]]
    for step, site in enumerate(sites):
        write = Write(layer, batch.columns[:, :, site, None], written[:, :, None])
        outcome = rollout(model, head, batch, [write], Read((layer,), batch.columns))
        yield RelayStep(written, outcome.logits)
        if step + 1 < len(sites):
            written = outcome.resid[:, :, 0, sites[step + 1]]
