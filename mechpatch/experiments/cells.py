"""Which cells a spec has in questions with given sites, and what each of them writes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mechpatch.errors import SpecError
from mechpatch.experiments.spec import Spec, require_distinct, require_runnable
from mechpatch.kinds import Cell, Frame
from mechpatch.models import ThoughtModel
from mechpatch.own import NOTHING, Own
from mechpatch.patching.patch import Patch
from mechpatch.points import POINTS, RESID_POST, Sizes
from mechpatch.storage.choices import Choice
from mechpatch.thoughts import Layout, select_sites, thought_sites


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What all pairs of a run have in common.

    Attributes:
        fixed: the sites at which every question has the same token, see `fixed_sites`.
        n_steps, most: see `Frame`.
        choices: of the experiments and hook points that are screened, which cells are run; of all others all are.
    """

    fixed: tuple[str, ...] = ()
    n_steps: int = 0
    most: int | None = None
    choices: tuple[Choice, ...] = ()


NOTHING_KNOWN = Known()


def frame_of(
    model: ThoughtModel, spec: Spec, sites: tuple[str, ...], hook: str = RESID_POST, known: Known = NOTHING_KNOWN
) -> Frame:
    """Which cells questions with these sites can have at one hook point."""
    subsets = tuple(select_sites(names, sites) for names in spec.subsets)
    require_distinct(subsets, spec.subsets)  # `thoughts` may stand for what another set names
    asked, thoughts = select_sites(spec.sites, sites), thought_sites(sites)
    n_layers = POINTS[hook].n_layers(model.n_layers)
    if not POINTS[hook].hooks:  # it is found at thoughts alone, and in no block
        asked = tuple(site for site in asked if site in thoughts)
        subsets = tuple(each for each in subsets if {*each} <= {*thoughts})
        if not asked:
            raise SpecError(
                f"--hooks {hook}: it is written at thoughts alone, and --sites {','.join(spec.sites)} has none"
            )
    return Frame(
        n_layers=n_layers,
        layers=spec.select_layers(model.n_layers) if POINTS[hook].hooks else (0,),
        sites=asked,
        thoughts=thoughts,
        feedback=spec.thoughts == "latent",
        hook=hook,
        fixed=known.fixed,
        n_steps=known.n_steps,
        most=known.most,
        learned_positions=model.hooked.cfg.positional_embedding_type == "standard",
        subsets=subsets,
        window=spec.window,
    )


def cells_of(spec: Spec, frame: Frame, own: Own = NOTHING) -> list[Cell]:
    """Every cell of `spec` in one frame, in the order in which they are run.

    Args:
        own: kinds of the user's own.
    """
    return [cell for experiment in spec.experiments for cell in own.cells(experiment, frame)]


def all_cells(
    model: ThoughtModel, spec: Spec, sites: tuple[str, ...], own: Own = NOTHING, known: Known = NOTHING_KNOWN
) -> list[Cell]:
    """Every cell of `spec` that is run: hook point by hook point, there part by part, then those that write nothing.

    Cells that a screen left out are not even made: there may be a million of them.

    Raises:
        SpecError: there is no such site, layer, head or neuron; or there are more cells than can be run.
    """
    frames = [frame_of(model, spec, sites, hook, known) for hook in spec.points]
    written: list[Cell] = []
    for frame in frames:
        cells = [cell for cell in cells_of(spec, frame, own) if cell.thoughts is None]
        choices = [choice for choice in known.choices if choice.hook == frame.hook]
        if choices:
            written += _chosen(frame.hook, cells, choices)
            continue
        heads = asked_parts(model, spec, frame.hook)
        require_runnable(frame.hook, len(frame.layers), len(heads), len(heads) * len(cells))
        written += [replace(cell, hook=frame.hook, head=head) for head in heads for cell in cells]
    return written + [cell for cell in cells_of(spec, frames[0], own) if cell.thoughts is not None]


def _chosen(hook: str, cells: Sequence[Cell], choices: Sequence[Choice]) -> list[Cell]:
    """Those of the cells, part by part, that a screen chose."""
    parts = sorted({part for choice in choices for part in choice.places})
    of = {choice.experiment: choice.places for choice in choices}
    return [
        replace(cell, hook=hook, head=part)
        for part in parts
        for cell in cells
        if cell.place in of[cell.experiment].get(part, ())
    ]


def asked_parts(model: ThoughtModel, spec: Spec, hook: str) -> list[int | None]:
    """The heads or neurons of a hook point that a spec asks for, each of which has cells of its own; [None] where the
    hook point has none.

    Raises:
        SpecError: the model has no such head or neuron.
    """
    every, named = parts_of(model, hook), spec.parts(hook)
    if named and (named[-1] >= len(every)):
        raise SpecError(
            f"--hooks {hook}.{named[-1]}: no such {POINTS[hook].part}; the model has {POINTS[hook].part}s 0 to "
            f"{len(every) - 1}"
        )
    return [*named] or every


def parts_of(model: ThoughtModel, hook: str) -> list[int | None]:
    """The heads or neurons of a hook point, each of which has cells of its own; [None] where it has none."""
    return [*range(POINTS[hook].n_parts(Sizes.of(model.hooked.cfg)))] or [None]


def fixed_sites(layouts: Sequence[tuple[Layout, Layout]]) -> tuple[str, ...]:
    """The sites at which all questions have one and the same token; a thought that is fed back has none."""
    tokens: dict[str, set[int | None]] = {}
    for layout in (side for pair in layouts for side in pair):
        row = [*layout.prompt, *[None] * layout.n_latents, *layout.tails[0].tokens]
        for site, position in zip(layout.sites, layout.positions(0), strict=True):
            tokens.setdefault(site, set()).add(row[position])
    return tuple(site for site, found in tokens.items() if len(found) == 1 and None not in found)


def patch_of(cell: Cell, sites: Sequence[str]) -> Patch:
    """What a cell writes in questions that have these sites."""
    return Patch(cell.layer, tuple(sites.index(site) for site in cell.sites), cell.width, cell.head)
