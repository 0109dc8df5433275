"""Which cells of a screened run are run: those with the largest estimates, and some random ones of all others.

The random ones say what the screen missed. They are drawn by the seed and the name of the map, so that equal requests
run equal cells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mechpatch.errors import SpecError
from mechpatch.experiments.cells import Known, asked_parts, frame_of
from mechpatch.experiments.spec import Spec
from mechpatch.kinds import Cell
from mechpatch.models import ThoughtModel
from mechpatch.own import Own
from mechpatch.points import POINTS
from mechpatch.reprs import short_repr
from mechpatch.storage.choices import RANDOM, TOP, Choice, ChosenCell, Place
from mechpatch.storage.keys import digest

RANDOM_CELLS = 50  # enough that, if none of them has an effect, at most 6 % of all that are left out do
Sites = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The cells of one experiment and hook point that can move, before parts (heads, neurons) are told apart.

    Attributes:
        cells: by place; the same in all questions but for the sites, of which a question may have fewer.
        parts: numbers of the heads or neurons, each of which has a cell of its own there.
    """

    experiment: str
    hook: str
    cells: Mapping[Place, Cell]
    parts: Sequence[int]

    __repr__ = short_repr

    @property
    def count(self) -> int:
        """How many cells there are to choose from."""
        return len(self.cells) * len(self.parts)

    def choice(
        self,
        why: Mapping[str, Int[np.ndarray, " _"]],
        estimates: Mapping[str, Float[np.ndarray, "place part"]] | None = None,
        pairs: int = 0,
    ) -> Choice:
        """The choice of some cells.

        Args:
            why: by the reason, the numbers of the cells, counted place by place and there part by part.
            estimates: by direction; None for none.
            pairs: how many pairs they are means of.
        """
        places = [*self.cells]
        chosen = []
        for reason, numbers in why.items():
            for at, of in zip(*(each.tolist() for each in np.divmod(numbers, len(self.parts))), strict=True):
                layer, width, site, step = places[at]
                head = self.parts[of]
                told = {name: _number(float(values[at, of])) for name, values in (estimates or {}).items()}
                chosen.append(
                    ChosenCell(head=head, layer=layer, width=width, site=site, step=step, why=reason, estimates=told)
                )
        return Choice(
            experiment=self.experiment, hook=self.hook, candidates=self.count, pairs=pairs, cells=tuple(chosen)
        )


def candidates(model: ThoughtModel, spec: Spec, every: Sequence[Sites], own: Own, known: Known) -> list[Candidates]:
    """What there is to choose from: of each experiment, at each hook point that has heads or neurons.

    Args:
        every: the sites of each question, or of all questions that differ in them.

    Raises:
        SpecError: a kind of the user's own has cells of which there is no estimate, or none can move.
    """
    found = []
    for hook in (hook for hook in spec.points if POINTS[hook].parts):
        parts = [part for part in asked_parts(model, spec, hook) if part is not None]
        frames = [frame_of(model, spec, sites, hook, known) for sites in dict.fromkeys(every)]
        for name in spec.experiments:
            cells = [cell for frame in frames for cell in own.cells(name, frame)]
            if own.kind(name).donors or any(cell.source != "donor" or cell.thoughts is not None for cell in cells):
                raise SpecError(
                    f"--screen {spec.screen}: cells of {name!r} do not write what the pair's other side has, so that "
                    "no gradient estimates them; run it in another folder, without --screen"
                )
            movable = {cell.place: cell for cell in cells if not (cell.structural or cell.alike)}
            found.append(Candidates(experiment=name, hook=hook, cells=movable, parts=parts))
    if not any(each.count for each in found):
        raise SpecError(f"--screen {spec.screen}: every cell of a head or neuron is zero by construction")
    return found


def foreseen(among: Candidates, count: int) -> Choice:
    """As many cells as will be run, evenly spread: what a plan counts before anything is estimated."""
    number = min(among.count, count + RANDOM_CELLS)
    return among.choice({TOP: np.arange(number) * among.count // max(1, number)})


def choose(
    among: Candidates, count: int, estimates: Mapping[str, Float[np.ndarray, "place part"]], pairs: int, seed: int
) -> Choice:
    """The `count` cells with the largest estimates in any direction, whatever their sign, and random ones of the rest.

    Args:
        estimates: by direction, of every candidate; NaN where no pair has one.
        pairs: how many pairs they are means of.
    """
    sizes = np.max([np.nan_to_num(np.abs(each)) for each in estimates.values()], axis=0).ravel()
    order = np.argsort(-sizes, kind="stable")
    rest = np.sort(order[count:])
    generator = np.random.default_rng(int(digest([seed, "screen", among.experiment, among.hook]), 16))
    drawn = generator.choice(rest, min(RANDOM_CELLS, len(rest)), replace=False) if len(rest) else rest
    return among.choice({TOP: order[:count], RANDOM: np.sort(drawn)}, estimates, pairs)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
