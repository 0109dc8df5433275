"""Laws 1 to 6 and 8: what patches must do, whatever the weights. Every function is one law, `(context) -> Measured`."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mechpatch.kinds.cells import Cell
from mechpatch.kinds.chained import cumulative_cells, relay_cells
from mechpatch.kinds.layer import layer_cells
from mechpatch.kinds.position import position_cells
from mechpatch.patching import Batch, Outcome, Read, Write, engine, reference, rollout
from mechpatch.patching.patch import RelayStep
from mechpatch.verify.context import SIDES, Context
from mechpatch.verify.law import Measured, NotApplicable, Worst


def self_patch(context: Context) -> Measured:
    """Law 1 with plain hooks: writing a run's own vectors changes not one bit."""
    worst = Worst()
    cells = [*layer_cells(context.frame), *context.draw(position_cells(context.frame))]
    outcomes = context.sweep([context.patch(cell) for cell in cells], context.unpatched.resid)
    for cell, outcome in zip(cells, outcomes, strict=True):
        worst.show(outcome.logits, context.unpatched.logits, place(cell))
    return worst.measured(0.0)


def self_patch_fast(context: Context) -> Measured:
    """Law 1 with the fast engine, which leaves out a run that writes nothing new: so every number is moved by a bit."""
    base = _base(context, 1)
    unpatched = base.outcome.resid
    nudged = torch.nextafter(unpatched, torch.full_like(unpatched, torch.inf))
    cells = [*layer_cells(context.frame), *position_cells(context.frame)]
    patches = [context.patch(cell) for cell in cells]
    worst = Worst()
    for cell, (_, outcome) in zip(cells, engine.sweep(base, nudged, patches), strict=True):
        worst.show(outcome.logits, base.logits, place(cell))
    for cell, (_, outcome) in zip(cells, engine.sweep(base, unpatched, patches), strict=True):
        worst.show(outcome.logits, base.logits, place(cell))
    return worst.measured(context.tolerance)


def clean_everywhere(context: Context) -> Measured:
    """Law 2: the clean vectors of one layer at every position from the first question token on are the clean run."""
    worst = Worst()
    for index, (clean, corrupted) in enumerate(context.layouts):
        if len(clean.prompt) != len(corrupted.prompt):
            continue
        clean_batch, batch = context.alone(index, 0).batch, context.alone(index, 1).batch
        end = batch.width
        columns = torch.arange(corrupted.question, end, device=context.model.device).expand(1, 2, -1)
        expected = _run(context, clean_batch, read=Read(context.layers, columns))
        for place, layer in enumerate(context.layers):
            found = _run(context, batch, Write(layer, columns, expected.resid[:, :, place]))
            worst.show(found.logits, expected.logits, f"layer {layer}, {context.name(index, 1)}")
    if not worst.shown:
        raise NotApplicable("no pair has questions of equal length")
    return worst.measured(context.tolerance)


def chains(context: Context) -> Measured:
    """Law 3: where two experiments write the same, they give the same, though each gets there by its own way."""
    worst, thoughts, base = Worst(), context.thoughts, _base(context, 1)
    cumulative = [cell for cell in cumulative_cells(context.frame) if cell.step in (0, len(thoughts) - 1)]
    others = [*layer_cells(context.frame)]
    others += [cell for cell in position_cells(context.frame) if cell.site == context.frame.thoughts[0]]
    patches = {(cell.experiment, cell.layer): context.patch(cell) for cell in others}
    expected = dict(zip(patches, context.sweep([*patches.values()]), strict=True))
    swift = dict(zip(patches, (run for _, run in engine.sweep(base, context.donor, [*patches.values()])), strict=True))
    for cell in cumulative:
        writes = [_write(context, cell.layer, context.batch.sites.index(site)) for site in cell.sites]
        found = _run(context, context.batch, *writes)
        if cell.step == len(thoughts) - 1:
            worst.show(found.logits, expected["layer", cell.layer].logits, f"cumulative, layer {cell.layer}, last step")
        if cell.step == 0:
            worst.show(found.logits, expected["position", cell.layer].logits, f"cumulative, layer {cell.layer}, step 0")
    for layer in context.layers:
        step = next(_relay(context, layer))
        worst.show(step.logits, expected["position", layer].logits, f"relay, layer {layer}, step 0")
    for patch, step in engine.relay(base, context.donor, context.layers, thoughts[:1]):
        worst.show(step.logits, swift["position", patch.layer].logits, f"relay, fast, layer {patch.layer}, step 0")
    return worst.measured(context.tolerance)


def handed_on(context: Context) -> Measured:
    """Law 4: what a relay step produced at the next thought can be written back there, beside the step's own write."""
    if len(context.thoughts) < 2:
        raise NotApplicable("there is only one thought")
    worst = Worst()
    for layer in context.layers:
        steps = list(_relay(context, layer))
        for step, (here, there) in enumerate(zip(context.thoughts, context.thoughts[1:], strict=False)):
            earlier = _write(context, layer, here, steps[step].written)
            found = _run(context, context.batch, earlier, _write(context, layer, there, steps[step + 1].written))
            worst.show(found.logits, steps[step].logits, f"layer {layer}, step {step + 1}")
    return worst.measured(context.tolerance)


def last_layer(context: Context) -> Measured:
    """Law 5: without feedback no answer reads what the last layer gave at an earlier position."""
    frame, last = context.frame, context.model.n_layers - 1
    if frame.feedback:
        raise NotApplicable("latent thoughts are fed back, so a last-layer patch does reach the answer")
    cells = [*position_cells(frame), *layer_cells(frame)]
    cells = [cell for cell in cells if cell.layer == last and cell.structural]
    worst = Worst()
    for cell, outcome in zip(cells, context.sweep([context.patch(cell) for cell in cells]), strict=True):
        worst.show(outcome.logits, context.unpatched.logits, place(cell))
    if not worst.shown:
        raise NotApplicable(f"layer {last}, the last one, is not among the layers that were asked for")
    return worst.measured(0.0)


def fast_engine(context: Context) -> Measured:
    """Law 6: the fast engine gives what plain hooks give, on drawn cells of both directions and on one relay each."""
    worst = Worst()
    for side in (0, 1):
        model, batch = context.model, context.batches[side]
        donor, base = context.runs[1 - side].resid, _base(context, side)
        worst.show(base.logits, context.runs[side].logits, f"unpatched {SIDES[side]} run")
        cells = [*position_cells(context.frame), *layer_cells(context.frame), *cumulative_cells(context.frame)]
        cells = context.draw(cells)
        patches = [context.patch(cell) for cell in cells]
        plain = reference.sweep(model.hooked, model.head, batch, donor, patches)
        for cell, (_, expected), (_, found) in zip(cells, plain, engine.sweep(base, donor, patches), strict=True):
            worst.show(found.logits, expected.logits, f"{place(cell)}, into the {SIDES[side]} run")
        layer = int(np.random.default_rng(context.seed).choice(context.layers))
        steps = reference.relay(model.hooked, model.head, batch, donor, layer, context.thoughts)
        swift = engine.relay(base, donor, [layer], context.thoughts)
        for index, (expected, (_, found)) in enumerate(zip(steps, swift, strict=True)):
            worst.show(found.logits, expected.logits, f"relay, layer {layer}, step {index}, {SIDES[side]} run")
    return worst.measured(context.tolerance)


def batch_of_one(context: Context) -> Measured:
    """Law 8: a batch gives what each of its questions gives alone, with either engine, patched and not."""
    if len(context.pairs) < 2:
        raise NotApplicable("one pair is no batch; give at least two with the same sites")
    if len({len(pair[1].prompt) for pair in context.layouts}) < 2:
        raise NotApplicable("all questions are of one length, so that a batch pads nothing; give pairs that differ")
    worst = Worst()
    cells = [relay_cells(context.frame)[0], layer_cells(context.frame)[0]]
    patches = [context.patch(cell) for cell in cells]
    base = _base(context, 1)
    together = {
        "plain hooks": [context.unpatched, *context.sweep(patches)],
        "fast engine": [base.outcome, *(run for _, run in engine.sweep(base, context.donor, patches))],
    }
    for index in range(context.batch.size):
        batch, unpatched, _ = context.alone(index, 1)
        donor = context.alone(index, 0).outcome.resid
        model = context.model
        alone_fast = engine.base_run(model.hooked, model.head, batch)
        alone = {
            "plain hooks": [
                unpatched,
                *(r for _, r in reference.sweep(model.hooked, model.head, batch, donor, patches)),
            ],
            "fast engine": [alone_fast.outcome, *(r for _, r in engine.sweep(alone_fast, donor, patches))],
        }
        for way, expected in alone.items():
            for name, found, one in zip(("unpatched", *map(place, cells)), together[way], expected, strict=True):
                width = one.logits.shape[2]
                worst.show(found.logits[[index], :, :width], one.logits, f"{name}, {context.name(index, 1)}, {way}")
    return worst.measured(context.tolerance)


def place(cell: Cell) -> str:
    """A cell, for messages."""
    return f"{cell.experiment}, layer {cell.layer}, {cell.site}"


def _base(context: Context, side: int) -> engine.BaseRun:
    return engine.base_run(context.model.hooked, context.model.head, context.batches[side])


def _run(context: Context, batch: Batch, *writes: Write, read: Read | None = None) -> Outcome:
    return rollout(context.model.hooked, context.model.head, batch, writes, read)


def _write(context: Context, layer: int, site: int, source: Tensor | None = None) -> Write:
    source = context.donor[:, :, layer, site] if source is None else source
    return Write(layer, context.batch.columns[:, :, [site]], source[:, :, None])


def _relay(context: Context, layer: int) -> Iterator[RelayStep]:
    model = context.model
    return reference.relay(model.hooked, model.head, context.batch, context.donor, layer, context.thoughts)
