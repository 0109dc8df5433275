"""Whose vectors are written: the other side of the pair, a null donor that should move nothing, or what takes away.

    paired      the clean vectors (denoise) or the corrupted ones (noise) of the same pair
    self        the patched run's own: the effect is exactly 0
    other_pair  as paired, of another pair drawn with the seed
    same_value  of another pair's question whose answer equals the patched run's own
    gaussian    Gaussian, with the norm of the paired vector (of each head, where the hook point has heads); of a
                neuron, whose vector is one number, with that number's size as standard deviation
    zero        nothing: the zero vector
    mean        as paired, the mean over all pairs of the file, whether they are answered right or not
    other_value as other_pair, drawn for itself
    same_step   as other_pair, of a question with an equal value at one step; at all thoughts, at some step

An effect counts only against null donors; zero and mean are effects of their own. What is drawn is drawn by name, never
by order: a run over more pairs, layers or donors has the same draws.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mechpatch.errors import SpecError
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.pairs import Pair, Side, Value
from mechpatch.pairs.counterfactual import step_values
from mechpatch.points import POINTS
from mechpatch.storage.keys import digest
from mechpatch.values import answer_value

Vectors = Float[Tensor, "pair 2 layer site *vector"]
Present = Bool[np.ndarray, " pair"]
DonorFunction = Callable[["Recipients"], tuple[Vectors, Present]]
Question = tuple[int, int]  # a pair, and a side of it: 0 clean, 1 corrupted
Pick = Callable[["Everyone", int, int | None], Question | None]  # for a pair, and a step where one is asked about


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A generator for one purpose: equal seed and names give equal draws, whatever else was drawn."""
    return np.random.default_rng(int(digest([seed, *names]), 16))


@dataclass(frozen=True, kw_only=True, eq=False)
class Everyone:
    """All pairs of the file: who can be a donor, in one direction and at one hook point.

    Attributes:
        hook: the hook point that is written.
        runs: unpatched runs; pairs that are not run themselves are donors too.
        sites: site names of each pair; a donor must have the same.
        pairs: what each pair asks.
        recipient: which side is patched, 0 clean or 1 corrupted; the donors' side is the other one.
        seed: seed of the draws.
    """

    hook: str
    runs: UnpatchedRuns
    pairs: Sequence[Pair]
    sites: Sequence[tuple[str, ...]]
    recipient: int
    seed: int

    @cached_property
    def names(self) -> list[str]:
        """Id of each pair."""
        return [pair.pair_id for pair in self.pairs]

    @cached_property
    def answers(self) -> list[tuple[Value, Value]]:
        """What the clean and the corrupted answer of each pair are compared by."""
        return [(pair.clean.value, pair.corrupted.value) for pair in self.pairs]

    @cached_property
    def values(self) -> list[tuple[list[Value], list[Value]]]:
        """Values of the steps of the clean and the corrupted question of each pair."""
        each = [[[answer_value(value) for value in step_values(side)] for side in (pair.clean, pair.corrupted)]
                for pair in self.pairs]  # fmt: skip
        return [(clean, corrupted) for clean, corrupted in each]

    def question(self, index: int, side: int) -> Side:
        """Question `side` (0 clean, 1 corrupted) of pair `index`."""
        return (self.pairs[index].clean, self.pairs[index].corrupted)[side]

    def alike(self, index: int) -> list[int]:
        """Other pairs with the same sites."""
        return [i for i, sites in enumerate(self.sites) if i != index and sites == self.sites[index]]

    def draw(self, donor: str, index: int, able: list[tuple[int, int]]) -> tuple[int, int] | None:
        """One of some (pair, side), drawn by name; None of none."""
        if not able:
            return None
        able = sorted(able, key=lambda each: (self.names[each[0]], each[1]))
        return able[int(generator(self.seed, donor, self.names[index]).integers(len(able)))]

    def vectors(self, index: int, side: int) -> Float[Tensor, "1 2 layer site *vector"]:
        """What question `side` (0 clean, 1 corrupted) of pair `index` has at the hook point, unpatched."""
        return self.runs.vectors(index, side, self.hook)

    def mean(self, index: int) -> Float[Tensor, "1 2 layer site *vector"]:
        """Mean of the donors' side over all pairs with the sites of pair `index`, this one too."""
        sites = self.sites[index]
        if sites not in self._means:
            same = sorted([index, *self.alike(index)], key=lambda each: self.names[each])
            total = sum(self.vectors(each, 1 - self.recipient).cpu().double() for each in same)
            assert isinstance(total, Tensor)
            self._means[sites] = (total / len(same)).to(self.vectors(index, 0))
        return self._means[sites]

    @cached_property
    def _means(self) -> dict[tuple[str, ...], Tensor]:
        return {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipients:
    """The runs of a batch that are written into: what a donor function is given.

    Attributes:
        everyone: all pairs of the file.
        indices: places of the pairs of this batch in `everyone`.
        baseline: what the runs have there when nothing is written, [pair, answer, layer, site, *vector]; the last axes
            are (d_model), (head, d_head) for z, k and v, (neuron, 1) for post, and (2, kv_head, d_head), keys then
            values, for kv.
        step: the step of the question that is asked about, from 0 on, for a donor that depends on it; else None.
    """

    everyone: Everyone
    indices: Sequence[int]
    baseline: Vectors
    step: int | None = None

    @property
    def all(self) -> Present:
        """Every pair has such a donor."""
        return np.ones(len(self.indices), dtype=bool)

    @property
    def paired(self) -> Vectors:
        """What the other side of each pair has there."""
        return torch.cat([self.everyone.vectors(index, 1 - self.everyone.recipient) for index in self.indices])

    def taken(self, picked: Sequence[Question | None]) -> tuple[Vectors, Present]:
        """Vectors of one question for each pair; the run's own where there is None."""
        vectors = [
            self.baseline[row, None] if source is None else self.everyone.vectors(*source)
            for row, source in enumerate(picked)
        ]
        return torch.cat(vectors), np.array([source is not None for source in picked])


def unchanged(runs: Recipients) -> tuple[Vectors, Present]:
    """What is there already."""
    return runs.baseline, runs.all


def other_side(everyone: Everyone, index: int, step: int | None) -> Question:
    """The other side of the same pair."""
    return index, 1 - everyone.recipient


def another(name: str) -> Pick:
    """Another pair with the same sites whose two answers are not this pair's."""

    def pick(everyone: Everyone, index: int, step: int | None) -> Question | None:
        return everyone.draw(name, index, _others(everyone, index))

    return pick


def equal_answer(everyone: Everyone, index: int, step: int | None) -> Question | None:
    """A question of another pair whose answer is the patched run's own."""
    wanted = everyone.answers[index][everyone.recipient]
    able = [(i, side) for i in everyone.alike(index) for side in (0, 1) if everyone.answers[i][side] == wanted]
    return everyone.draw("same_value", index, able)


def equal_step(everyone: Everyone, index: int, step: int | None) -> Question | None:
    """As `another`, of a question with an equal value at `step`; at some step, where none is named."""
    own = everyone.values[index][everyone.recipient]

    def equal(other: Question) -> bool:
        theirs = everyone.values[other[0]][other[1]]
        both = [mine == value for mine, value in zip(own, theirs, strict=False)]
        return any(both) if step is None else any(both[step : step + 1])

    able = [other for other in _others(everyone, index) if equal(other)]
    return everyone.draw("same_step" if step is None else f"same_step {step}", index, able)


def _others(everyone: Everyone, index: int) -> list[Question]:
    taken = set(everyone.answers[index])
    able = [i for i in everyone.alike(index) if taken.isdisjoint(everyone.answers[i])]
    return [(i, 1 - everyone.recipient) for i in able]


def gaussian(runs: Recipients) -> tuple[Vectors, Present]:
    """Gaussian vectors of the norm that the other side has there: one draw for each layer and site.

    A neuron's one number, scaled to a norm, would be the paired number or its negative: it stays Gaussian, with that
    norm as standard deviation.
    """
    everyone, of_neurons = runs.everyone, POINTS[runs.everyone.hook].of_neurons

    def drawn(index: int, vectors: Float[Tensor, "2 layer site *vector"]) -> Vectors:
        name, shape = everyone.names[index], vectors.shape[3:]
        draws = [
            [
                generator(everyone.seed, "gaussian", name, everyone.hook, layer, site).standard_normal(
                    shape, dtype=np.float32
                )
                for site in everyone.sites[index]
            ]
            for layer in range(vectors.shape[1])
        ]
        draw = torch.from_numpy(np.array(draws)).to(vectors)
        length = 1 if of_neurons else draw.norm(dim=-1, keepdim=True)
        draw = draw * (vectors[0].norm(dim=-1, keepdim=True) / length)
        return draw.expand_as(vectors)[None]

    return torch.cat([drawn(index, each) for index, each in zip(runs.indices, runs.paired, strict=True)]), runs.all


def zero(runs: Recipients) -> tuple[Vectors, Present]:
    """The zero vector."""
    return torch.zeros_like(runs.baseline), runs.all


def mean(runs: Recipients) -> tuple[Vectors, Present]:
    """The mean over all pairs, at the same layer and site."""
    return torch.cat([runs.everyone.mean(index) for index in runs.indices]), runs.all


# Donors whose vectors one question has: which question it is, for each pair.
PICKS: Mapping[str, Pick] = {
    "paired": other_side,
    "other_pair": another("other_pair"),
    "same_value": equal_answer,
    "other_value": another("other_value"),
    "same_step": equal_step,
}
BY_STEP = ("same_step",)  # of another question for every step that is asked about


def picked(name: str, runs: Recipients) -> list[Question | None]:
    """The question that gives a donor its vectors, for each pair; None where there is none."""
    pick = PICKS[name]
    return [pick(runs.everyone, index, runs.step) for index in runs.indices]


def _from_questions(name: str) -> DonorFunction:
    return lambda runs: runs.taken(picked(name, runs))


DONOR_FUNCTIONS: Mapping[str, DonorFunction] = {
    **{name: _from_questions(name) for name in PICKS},
    "self": unchanged,
    "gaussian": gaussian,
    "zero": zero,
    "mean": mean,
}


def vectors_of(name: str, function: DonorFunction, runs: Recipients) -> tuple[Vectors, Present]:
    """Vectors to write into the runs, and which pairs have such a donor.

    Raises:
        SpecError: a donor of the user's own does not give what it must; it names what was found and expected.
    """
    found = function(runs)
    if function in DONOR_FUNCTIONS.values():
        return found
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], Tensor)):
        raise SpecError(f"donor {name!r} gave {type(found).__name__}, expected (vectors, which pairs have them)")
    vectors, present = found[0], np.asarray(found[1])
    expected = runs.baseline
    if vectors.shape != expected.shape or vectors.dtype != expected.dtype:
        raise SpecError(
            f"donor {name!r} gave {vectors.dtype} {[*vectors.shape]}, expected {expected.dtype} {[*expected.shape]}, "
            "[pair, answer, layer, site, *vector]"
        )
    if present.shape != (len(runs.indices),) or present.dtype != np.bool_:
        raise SpecError(
            f"donor {name!r} gave {present.dtype} {[*present.shape]} for which pairs have it, expected bool "
            f"[{len(runs.indices)}]"
        )
    return vectors, present
