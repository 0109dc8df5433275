"""Every patch as one run with plain transformer-lens hooks: slow, obvious, and what any faster engine is held to.

A patch says where to write; the donor vectors say what. Axis `site` runs over `Batch.sites`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch.nn import functional as F
from transformer_lens import HookedTransformer

from mechpatch.axes import LatentHead, SiteVectors
from mechpatch.patching.batch import Batch
from mechpatch.patching.patch import Patch, RelayStep
from mechpatch.patching.rollout import Outcome, Read, Write, rollout
from mechpatch.patching.say import Said, Say
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
    say: Say | None = None,
) -> Iterator[tuple[Patch, Outcome]]:
    """Run each patch by itself on a fresh run.

    Args:
        donor: vectors of all layers and sites at the hook point; a patch writes those at its own.
        say: how far each goes on by itself, if it is to.

    Yields:
        The patch, and its run with the hook point's vectors of the patch's first layer at every site.
    """
    for patch in patches:
        writes = [write_at(batch, donor, layer, patch.sites, hook, patch.head) for layer in patch.layers]
        outcome = rollout(model, latent_head, batch, writes, Read((patch.layer,), batch.columns, hook))
        said = None if say is None else says(model, latent_head, batch, say, writes)
        yield patch, replace(outcome, said=said)


def relay(
    model: HookedTransformer,
    latent_head: LatentHead | None,
    batch: Batch,
    donor: SiteVectors,
    layer: int,
    sites: Sequence[int],
    hook: str = "resid_post",
    head: int | None = None,
    say: Say | None = None,
) -> Iterator[RelayStep]:
    """Hand one thought on to the next through one layer, or through one head or neuron of it.

    Step 0 writes the donor's vector at the first of `sites`. Step i writes, into a fresh run and there alone, what the
    run of step i-1 itself produced at the i-th site.
    """
    donor = donor[:, :, layer, None]
    for site in sites:
        write = write_at(batch, donor, 0, (site,), hook, head, into=layer)
        outcome = rollout(model, latent_head, batch, [write], Read((layer,), batch.columns, hook))
        said = None if say is None else says(model, latent_head, batch, say, [write])
        yield RelayStep(write.source[:, :, 0], outcome.logits, said)
        donor = outcome.vectors[hook]


@torch.no_grad()
def says(
    model: HookedTransformer, latent_head: LatentHead | None, batch: Batch, say: Say, writes: Sequence[Write] = ()
) -> Said:
    """What a run says when it goes on by itself after the answer prefix; a whole run for each token.

    Each token takes the place of the answers' next one, in both continuations.
    """
    opened, pair = batch.reads[:, 0, 0], torch.arange(batch.size, device=batch.reads.device)
    tails = F.pad(batch.tails, (0, max(0, int(opened.max()) + say.count - batch.width)))
    said = torch.full((batch.size, say.count), -1, device=tails.device)
    going = torch.ones_like(pair, dtype=torch.bool)
    for step in range(say.count):
        reads = (opened + step)[:, None, None].expand(-1, 2, 1)
        asked = replace(batch, tails=tails, reads=reads, targets=torch.full_like(reads, -1), host=None)
        run = rollout(model, latent_head, asked, writes)
        token = run.logits[:, 0, 0].argmax(-1)
        said[:, step] = torch.where(going, token, -1)
        going &= ~say.ends[token]
        if not going.any() or step + 1 == say.count:
            break
        tails[pair, :, opened + step + 1 - batch.tail_start] = token[:, None]
    return said


def write_at(
    batch: Batch,
    vectors: SiteVectors,
    layer: int,
    sites: Sequence[int],
    hook: str = "resid_post",
    head: int | None = None,
    into: int | None = None,
) -> Write:
    """Write the vectors of a layer at some sites, or those of one part; into that layer unless another is named."""
    index = torch.tensor(sites, device=vectors.device)
    point_of(hook, head)
    source = vectors[:, :, layer, index] if head is None else vectors[:, :, layer, index, head]
    return Write(layer if into is None else into, batch.columns[:, :, index], source, hook, head)
