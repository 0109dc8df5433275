"""The two ways to run the patches of a batch: one plain hooked run for each, or all in a few exact passes.

Both have the same surface and, to rounding, the same numbers; `recompute` holds the fast one to the plain one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens import HookedTransformer

from mechpatch.axes import LatentHead, Logits, SiteVectors
from mechpatch.errors import NumericsError
from mechpatch.patching import Batch, Outcome, engine, reference
from mechpatch.patching.patch import Patch, RelayStep

# Largest difference of a logit between the two, over the largest logit (at least 1).
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 5e-2}


@dataclass(frozen=True, slots=True, eq=False)
class Runner:
    """One batch, ready to be patched.

    Attributes:
        baseline: the unpatched run, `resid_post` at every layer and site.
        sweep: each patch as if alone, in order.
        relay: all steps of a relay through each of some layers.
    """

    baseline: Outcome
    sweep: Callable[[SiteVectors, Sequence[Patch]], Iterator[tuple[Patch, Outcome]]]
    relay: Callable[[SiteVectors, Sequence[int], Sequence[int]], Iterator[tuple[Patch, RelayStep]]]


def plain(model: HookedTransformer, head: LatentHead | None, batch: Batch, memory: int) -> Runner:
    """One run with transformer-lens hooks for each patch; `memory` is not used."""

    def relay(donor: SiteVectors, layers: Sequence[int], sites: Sequence[int]) -> Iterator[tuple[Patch, RelayStep]]:
        for layer in layers:
            steps = reference.relay(model, head, batch, donor, layer, sites)
            yield from ((Patch(layer, (site,)), step) for site, step in zip(sites, steps, strict=True))

    return Runner(
        baseline=reference.baseline(model, head, batch),
        sweep=lambda donor, patches: reference.sweep(model, head, batch, donor, patches),
        relay=relay,
    )


def fast(model: HookedTransformer, head: LatentHead | None, batch: Batch, memory: int) -> Runner:
    """All patches in a few passes, chunked so that they take about `memory` bytes."""
    base = engine.base_run(model, head, batch)
    return Runner(
        baseline=base.outcome,
        sweep=lambda donor, patches: engine.sweep(base, donor, patches, memory),
        relay=lambda donor, layers, sites: engine.relay(base, donor, layers, sites, memory),
    )


ENGINES = {"fast": fast, "reference": plain}


def recompute(
    model: HookedTransformer,
    head: LatentHead | None,
    batch: Batch,
    patch: Patch,
    written: Float[Tensor, "pair 2 site d_model"],
    found: Logits,
    where: str,
) -> float:
    """Run one patch with plain hooks and compare; the largest difference of a logit.

    Args:
        written: what was written at the patch's sites.
        found: the logits that came out.
        where: names the cell, for the message.

    Raises:
        NumericsError: they differ by more than the tolerance; gives both values.
    """
    shape = (*written.shape[:2], model.cfg.n_layers, len(batch.sites), written.shape[-1])
    donor = written.new_zeros(shape)
    donor[:, :, patch.layer, list(patch.sites)] = written
    ((_, outcome),) = reference.sweep(model, head, batch, donor, [patch])
    difference = (found - outcome.logits).abs()
    allowed = TOLERANCE[found.dtype] * max(1.0, outcome.logits.abs().max().item())
    worst = difference.argmax()
    if not difference.max() <= allowed:
        raise NumericsError(
            f"{where}: the fast engine gives a logit of {found.flatten()[worst]:.6g}, plain hooks give "
            f"{outcome.logits.flatten()[worst]:.6g}; at most {allowed:.1e} apart was expected. Run with "
            "--engine reference, and report this"
        )
    return difference.max().item()
