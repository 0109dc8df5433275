"""The two ways to run questions and their patches: one plain hooked run for each, or all in a few exact passes.

Both have the same surface and, to rounding, the same numbers; `numerics` holds the fast one to the plain one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from transformer_lens import HookedTransformer

from mechpatch.axes import LatentHead, SiteVectors
from mechpatch.patching import Batch, Outcome, collate, engine, reference
from mechpatch.patching.engine import recording
from mechpatch.patching.engine.base import beside_the_stream
from mechpatch.patching.engine.recording import Recording
from mechpatch.patching.patch import Patch
from mechpatch.patching.say import Said, Say
from mechpatch.patching.together import Together
from mechpatch.thoughts import Layout


@dataclass(frozen=True, slots=True, eq=False)
class Runner:
    """One batch, ready to be patched.

    Attributes:
        baseline: the unpatched run, and the hook points that were recorded at every layer and site.
        sweep: each patch at a hook point as if alone, in order; some write what the run of an earlier one has there
            itself, by their places and that one's.
    """

    baseline: Outcome
    sweep: Callable[[str, SiteVectors, Sequence[Patch], Mapping[int, int]], Iterator[Together]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One of the two ways.

    Attributes:
        record: unpatched runs of questions with the same sites, with the vectors of some hook points.
        shapes: shapes of what `record` gives.
        runner: makes a batch ready, given the recordings of its questions, bytes for one chunk of patches, the hook
            points that are patched, and how far each run goes on by itself, if it is to.
        says: what the unpatched runs of a batch say.
    """

    record: Callable[[HookedTransformer, LatentHead | None, Sequence[Layout], Sequence[str]], list[Recording]]
    shapes: Callable[[HookedTransformer, Sequence[Layout], Sequence[str]], list[recording.Shapes]]
    runner: Callable[
        [HookedTransformer, LatentHead | None, Batch, Sequence[Recording], int, Sequence[str], Say | None], Runner
    ]
    says: Callable[[HookedTransformer, LatentHead | None, Batch, Say], Said]


def _record_plainly(
    model: HookedTransformer, head: LatentHead | None, layouts: Sequence[Layout], hooks: Sequence[str]
) -> list[Recording]:
    """Each question alone; no keys and values, because plain hooks have no use for them."""
    recordings = []
    for layout, shapes in zip(layouts, _plain_shapes(model, layouts, hooks), strict=True):
        batch = collate([layout], model.unembed.W_U.device)
        outcome = reference.baseline(model, head, batch, tuple(dict.fromkeys(("resid_pre", "resid_post", *hooks))))
        stream = torch.cat([outcome.vectors["resid_pre"][0, 0, :1], outcome.resid[0, 0]])
        sites = torch.arange(stream.shape[1], device=stream.device)
        cache = stream.new_empty(shapes["cache"])
        points = {each.name: outcome.vectors[each.name][0, 0] for each in beside_the_stream(hooks)}
        recordings.append(Recording(cache=cache, stream=stream, sites=sites, logits=outcome.logits[0], points=points))
    return recordings


def _plain_shapes(model: HookedTransformer, layouts: Sequence[Layout], hooks: Sequence[str]) -> list[recording.Shapes]:
    return [
        {
            **shapes,
            "cache": (*shapes["cache"][:3], 0, shapes["cache"][4]),
            "stream": (shapes["stream"][0], *shapes["sites"], shapes["stream"][2]),
        }
        for shapes in recording.recorded_shapes(model, layouts, hooks)
    ]


def _plain_runner(
    model: HookedTransformer,
    head: LatentHead | None,
    batch: Batch,
    recordings: Sequence[Recording],
    memory: int,
    hooks: Sequence[str],
    say: Say | None,
) -> Runner:
    """One run with transformer-lens hooks for each patch. The baseline is run in the batch of its patches, so that
    writing a run's own vectors back changes exactly nothing."""

    unpatched = reference.baseline(model, head, batch, hooks)

    def sweep(hook: str, donor: SiteVectors, patches: Sequence[Patch], handed: Mapping[int, int]) -> Iterator[Together]:
        kept, givers = dict[int, SiteVectors](), {*handed.values()}
        for number, patch in enumerate(patches):
            given = donor
            if number in handed:
                given = donor.clone()
                given[:, :, patch.layer] = kept[handed[number]]
            ((_, outcome),) = reference.sweep(model, head, batch, given, [patch], hook, say)
            if number in givers:
                kept[number] = outcome.vectors[hook][:, :, 0]
            yield Together.of(patch, outcome, hook, unpatched.logits)

    return Runner(baseline=unpatched, sweep=sweep)


def _fast_runner(
    model: HookedTransformer,
    head: LatentHead | None,
    batch: Batch,
    recordings: Sequence[Recording],
    memory: int,
    hooks: Sequence[str],
    say: Say | None,
) -> Runner:
    """All patches in a few passes, chunked so that they take about `memory` bytes."""
    base = recording.replay(model, head, batch, recordings)
    if say is not None:
        base = engine.speaking(base, say)
    return Runner(
        baseline=base.outcome,
        sweep=lambda hook, donor, patches, handed: engine.together(base, donor, patches, memory, hook, handed),
    )


def _said(model: HookedTransformer, head: LatentHead | None, batch: Batch, say: Say) -> Said:
    voice = engine.speaking(engine.base_run(model, head, batch), say).voice
    assert voice is not None
    return voice.said


ENGINES = {
    "fast": Engine(record=recording.record, shapes=recording.recorded_shapes, runner=_fast_runner, says=_said),
    "reference": Engine(record=_record_plainly, shapes=_plain_shapes, runner=_plain_runner, says=reference.says),
}
