"""Which two pairs of a user all laws are tried on, and at which layers."""

from collections.abc import Sequence

from mechpatch.errors import ThoughtError
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair
from mechpatch.patching.batch import padded_width
from mechpatch.thoughts import Layout
from mechpatch.verify.context import N_CELLS, Context
from mechpatch.verify.source import Checkpoint

N_PAIRS = 2
N_PROBES = 6  # pairs that alphas are compared on


def make_context(
    model: ThoughtModel,
    spec: Spec,
    pairs: Sequence[Pair],
    checkpoint: Checkpoint | None = None,
    seed: int = 0,
    cells: int = N_CELLS,
) -> Context:
    """Choose two of `pairs` and lay them out.

    The layers are those of `spec`; where it names none, the first, a middle and the last one.

    Raises:
        ThoughtError: there is no pair whose sides have the same sites.
    """
    chosen = choose([pair_layouts(model, spec, pair) for pair in pairs], model.n_ctx)
    return Context(
        model=model,
        spec=spec,
        pairs=[pairs[index] for index in chosen],
        layouts=[pair_layouts(model, spec, pairs[index]) for index in chosen],
        layers=spec.select_layers(model.n_layers) if spec.layers else _three(model.n_layers),
        checkpoint=checkpoint,
        probes=pairs[:N_PROBES],
        seed=seed,
        cells=cells,
    )


def _three(n_layers: int) -> tuple[int, ...]:
    return tuple(sorted({0, (n_layers - 1) // 2, n_layers - 1}))


def choose(layouts: Sequence[tuple[Layout, Layout]], n_ctx: int) -> list[int]:
    """Two pairs on which every law has something to say, the first such in the file.

    The first has sides of equal length, so that vectors can be written at every position; the second has the same
    sites and another length, so that a batch must pad (to at most `n_ctx` tokens); then, if it can be, sides of equal
    length too.
    """
    able = [index for index, (clean, corrupted) in enumerate(layouts) if clean.sites == corrupted.sites]
    if not able:
        raise ThoughtError("no pair has the same sites on both sides, so there is nothing to verify on")

    def equal(index: int) -> bool:
        clean, corrupted = layouts[index]
        return len(clean.prompt) == len(corrupted.prompt)

    def together(one: int, other: int) -> bool:
        sides = zip(layouts[one], layouts[other], strict=True)
        return layouts[one][0].sites == layouts[other][0].sites and max(map(padded_width, sides)) <= n_ctx

    first = next((index for index in able if equal(index)), able[0])
    others = [index for index in able if index != first and together(first, index)]

    def worth(index: int) -> tuple[bool, bool]:
        return len(layouts[index][1].prompt) != len(layouts[first][1].prompt), equal(index)

    return [first, *sorted(others, key=worth, reverse=True)[: N_PAIRS - 1]]
