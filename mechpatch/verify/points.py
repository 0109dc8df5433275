"""Laws of hook points: the fast engine at every one of them, and those that say the same in other words."""

from collections.abc import Iterator

from mechpatch.experiments.cells import parts_of
from mechpatch.kinds.position import position_cells
from mechpatch.patching import Outcome, Write, engine, reference, rollout
from mechpatch.patching.patch import Patch
from mechpatch.patching.reference import write_at
from mechpatch.points import POINTS
from mechpatch.verify.context import Context
from mechpatch.verify.law import Measured, Worst
from mechpatch.verify.patches import place

EACH = 3  # cells that are drawn at a time


def hook_points(context: Context) -> Measured:
    """Law 6 at every hook point: the fast engine gives what plain hooks give, on drawn cells and on one part."""
    worst, model, hooks = Worst(), context.model, _hooks(context)
    clean, corrupted = context.batches
    donors = reference.baseline(model.hooked, model.head, clean, hooks)
    base = engine.base_run(model.hooked, model.head, corrupted, hooks)
    for hook in hooks:
        donor, patches = donors.vectors[hook], list(_patches(context, hook))
        plain = reference.sweep(model.hooked, model.head, corrupted, donor, patches, hook)
        swift = engine.sweep(base, donor, patches, hook=hook)
        for (patch, expected), (_, found) in zip(plain, swift, strict=True):
            worst.show(found.logits, expected.logits, f"{hook}, {patch}")
    return worst.measured(context.tolerance)


def same_point(context: Context) -> Measured:
    """Law 3 of hook points: z of all heads is the attention output, post of all neurons the MLP output, k and v are kv,
    one stream runs between blocks."""
    worst, model = Worst(), context.model
    clean, batch = context.batches
    hooks = ("z", "attn_out", "post", "mlp_out", "k", "v", "kv", "resid_pre", "resid_post")
    donors = reference.baseline(model.hooked, model.head, clean, hooks).vectors

    def run(*writes: Write) -> Outcome:
        return rollout(model.hooked, model.head, batch, writes)

    for cell in context.draw(position_cells(context.frame), EACH):
        site, layer = [batch.sites.index(cell.sites[0])], cell.layer
        for one, other in ((("z",), ("attn_out",)), (("post",), ("mlp_out",)), (("k", "v"), ("kv",))):
            found, expected = (
                run(*(write_at(batch, donors[hook], layer, site, hook) for hook in hooks)) for hooks in (one, other)
            )
            worst.show(found.logits, expected.logits, f"{'+'.join(one)} and {other[0]}, {place(cell)}")
        if layer > 0:
            found = run(write_at(batch, donors["resid_pre"], layer, site, "resid_pre"))
            expected = run(write_at(batch, donors["resid_post"], layer - 1, site))
            worst.show(found.logits, expected.logits, f"resid_pre and resid_post of the block below, {place(cell)}")
    return worst.measured(context.tolerance)


def _hooks(context: Context) -> list[str]:
    """Every hook point that there is: a fed-back thought only where thoughts are fed back."""
    return [name for name, point in POINTS.items() if point.hooks or context.frame.feedback]


def _patches(context: Context, hook: str) -> Iterator[Patch]:
    """Single cells, the thoughts all at once, and one part of each where there are parts."""
    point, sites = POINTS[hook], context.batch.sites
    cells = [cell for cell in position_cells(context.frame) if point.hooks or cell.site in context.frame.thoughts]
    head = parts_of(context.model, hook)[-1]
    for cell in context.draw(cells, EACH):
        layer = cell.layer if point.hooks else 0
        yield Patch(layer, (sites.index(cell.site),))
        yield Patch(layer, tuple(context.thoughts), head=head)
