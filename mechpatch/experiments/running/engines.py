"""The two ways to run questions and their patches: one plain hooked run for each, or all in a few exact passes.

Both have the same surface and, to rounding, the same numbers; `numerics` holds the fast one to the plain one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformer_lens import HookedTransformer

from mechpatch.axes import LatentHead, SiteVectors
from mechpatch.patching import Batch, Outcome, collate, engine, reference
from mechpatch.patching.engine import recording
from mechpatch.patching.engine.recording import Recording
from mechpatch.patching.patch import Patch, RelayStep
from mechpatch.thoughts import Layout


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One of the two ways.

    Attributes:
        record: unpatched runs of questions with the same sites.
        shapes: of what `record` gives.
        runner: makes a batch ready, given the recordings of its questions and bytes for one chunk of patches.
    """

    record: Callable[[HookedTransformer, LatentHead | None, Sequence[Layout]], list[Recording]]
    shapes: Callable[[HookedTransformer, Sequence[Layout]], list[recording.Shapes]]
    runner: Callable[[HookedTransformer, LatentHead | None, Batch, Sequence[Recording], int], Runner]


def _record_plainly(model: HookedTransformer, head: LatentHead | None, layouts: Sequence[Layout]) -> list[Recording]:
    """Each question alone; no keys and values, because plain hooks have no use for them."""
    recordings = []
    for layout, shapes in zip(layouts, _plain_shapes(model, layouts), strict=True):
        batch = collate([layout], model.unembed.W_U.device)
        outcome = reference.baseline(model, head, batch, ("resid_pre", "resid_post"))
        stream = torch.cat([outcome.vectors["resid_pre"][0, 0, :1], outcome.resid[0, 0]])
        sites = torch.arange(stream.shape[1], device=stream.device)
        cache = stream.new_empty(shapes["cache"])
        recordings.append(Recording(cache=cache, stream=stream, sites=sites, logits=outcome.logits[0]))
    return recordings


def _plain_shapes(model: HookedTransformer, layouts: Sequence[Layout]) -> list[recording.Shapes]:
    return [
        {
            **shapes,
            "cache": (*shapes["cache"][:3], 0, shapes["cache"][4]),
            "stream": (shapes["stream"][0], *shapes["sites"], shapes["stream"][2]),
        }
        for shapes in recording.recorded_shapes(model, layouts)
    ]


def _plain_runner(
    model: HookedTransformer, head: LatentHead | None, batch: Batch, recordings: Sequence[Recording], memory: int
) -> Runner:
    """One run with transformer-lens hooks for each patch. The baseline is run in the batch of its patches, so that
    writing a run's own vectors back changes exactly nothing."""

    def relay(donor: SiteVectors, layers: Sequence[int], sites: Sequence[int]) -> Iterator[tuple[Patch, RelayStep]]:
        for layer in layers:
            steps = reference.relay(model, head, batch, donor, layer, sites)
            yield from ((Patch(layer, (site,)), step) for site, step in zip(sites, steps, strict=True))

    return Runner(
        baseline=reference.baseline(model, head, batch),
        sweep=lambda donor, patches: reference.sweep(model, head, batch, donor, patches),
        relay=relay,
    )


def _fast_runner(
    model: HookedTransformer, head: LatentHead | None, batch: Batch, recordings: Sequence[Recording], memory: int
) -> Runner:
    """All patches in a few passes, chunked so that they take about `memory` bytes."""
    base = recording.replay(model, head, batch, recordings)
    return Runner(
        baseline=base.outcome,
        sweep=lambda donor, patches: engine.sweep(base, donor, patches, memory),
        relay=lambda donor, layers, sites: engine.relay(base, donor, layers, sites, memory),
    )


ENGINES = {
    "fast": Engine(record=recording.record, shapes=recording.recorded_shapes, runner=_fast_runner),
    "reference": Engine(record=_record_plainly, shapes=_plain_shapes, runner=_plain_runner),
}
