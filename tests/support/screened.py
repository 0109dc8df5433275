"""Records of a screened map of heads, made from nothing: what each cell does, what was estimated, why it was run."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from records import planted

from mechpatch.experiments.running.found import with_candidates
from mechpatch.storage.choices import RANDOM, TOP, Choice, ChosenCell

PAIRS = 12


def screened_records(
    top: Sequence[float],
    random: Sequence[float],
    estimates: Sequence[float],
    *,
    candidates: int = 1000,
    pairs: int = PAIRS,
    control: bool = True,
    also: Sequence[float] = (),
    sites: Sequence[str] = (),
) -> tuple[pa.Table, tuple[Choice, ...]]:
    """Records of `position` at `z`, and what was chosen.

    Args:
        top, random: the mean effect of each such cell, which stands at layer 1 in a head of its own.
        estimates: of the top cells, then of the random ones.
        control: whether vectors of another pair were written, too; they move nothing.
        sites: of each of them; t0 without.
        also: mean effects of cells of `resid_post`, which has no heads and is not screened.
    """
    generator = np.random.default_rng(0)
    means = [*top, *random]
    values = {head: mean + generator.normal(0, 0.01, pairs) for head, mean in enumerate(means)}
    at = dict(enumerate(sites or ["t0"] * len(means)))
    effects = {(f"position@z.{head}", "denoise", "paired", 1, at[head]): each for head, each in values.items()}
    for layer, mean in enumerate(also):
        effects["position", "denoise", "paired", layer, "t0"] = mean + generator.normal(0, 0.01, pairs)
    if control:
        for experiment, direction, _, layer, site in [*effects]:
            effects[experiment, direction, "other_pair", layer, site] = generator.normal(0, 0.01, pairs)
    chosen = tuple(
        ChosenCell(
            head=head,
            layer=1,
            width=1,
            site=at[head],
            step=0,
            why=TOP if head < len(top) else RANDOM,
            estimates={"denoise": estimates[head]},
        )
        for head in values
    )
    choices = (Choice(experiment="position", hook="z", candidates=candidates, pairs=pairs, cells=chosen),)
    return with_candidates(planted(effects), choices), choices
