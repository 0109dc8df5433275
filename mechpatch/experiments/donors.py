"""Whose vectors are written: the other side of the pair, or a null donor that should move nothing.

    paired      the clean vectors (denoise) or the corrupted ones (noise) of the same pair
    self        the patched run's own: the effect is exactly 0
    other_pair  as paired, of another pair drawn with the seed
    same_value  of another pair's question whose answer equals the patched run's own
    noise       Gaussian, with the norm of the paired vector

An effect counts only against these. What is drawn is drawn by name, never by order: a run over more pairs, layers or
donors has the same draws.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mechpatch.experiments.activations import UnpatchedRuns
from mechpatch.pairs import Value
from mechpatch.storage.keys import digest

HOOK = "resid_post"
Vectors = Float[Tensor, "pair 2 layer site d_model"]


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A generator for one purpose: equal seed and names give equal draws, whatever else was drawn."""
    return np.random.default_rng(int(digest([seed, *names]), 16))


class Donors:
    """Donor vectors for pairs of one run.

    Args:
        runs: unpatched runs of all pairs of the file, of which those that are not run are donors too.
        names: id of each pair.
        answers: what the clean and the corrupted answer of each pair are compared by.
        sites: site names of each pair; a donor must have the same.
        recipient: which side is patched, 0 clean or 1 corrupted.
    """

    def __init__(
        self,
        runs: UnpatchedRuns,
        names: Sequence[str],
        answers: Sequence[tuple[Value, Value]],
        sites: Sequence[tuple[str, ...]],
        recipient: int,
        seed: int,
    ) -> None:
        self._runs, self._names, self._answers, self._sites = runs, names, answers, sites
        self._recipient, self._seed = recipient, seed

    def vectors(self, donor: str, indices: Sequence[int], own: Vectors) -> tuple[Vectors, Bool[np.ndarray, " pair"]]:
        """Vectors to write into the runs of `indices`, and which pairs have such a donor (others get their own).

        Args:
            own: what the patched runs have there themselves.
        """
        everyone = np.ones(len(indices), dtype=bool)
        if donor == "self":
            return own, everyone
        if donor in ("paired", "noise"):
            paired = torch.cat([self._runs.vectors(index, 1 - self._recipient) for index in indices])
            if donor == "paired":
                return paired, everyone
            return torch.cat([self._noise(i, vectors) for i, vectors in zip(indices, paired, strict=True)]), everyone
        pick: Callable[[int], tuple[int, int] | None] = {"other_pair": self._other, "same_value": self._same}[donor]
        picked = [pick(index) for index in indices]
        vectors = [
            own[row, None] if source is None else self._runs.vectors(*source) for row, source in enumerate(picked)
        ]
        return torch.cat(vectors), np.array([source is not None for source in picked])

    def _noise(self, index: int, paired: Float[Tensor, "2 layer site d_model"]) -> Vectors:
        """One draw for each layer and site, whichever others there are."""
        name, size = self._names[index], paired.shape[-1]
        draws = [
            [
                generator(self._seed, "noise", name, HOOK, layer, site).standard_normal(size, dtype=np.float32)
                for site in self._sites[index]
            ]
            for layer in range(paired.shape[1])
        ]
        draw = torch.from_numpy(np.array(draws)).to(paired)
        draw = draw * (paired[0].norm(dim=-1, keepdim=True) / draw.norm(dim=-1, keepdim=True))
        return draw.expand_as(paired)[None]

    def _other(self, index: int) -> tuple[int, int] | None:
        """Another pair with the same sites whose two answers are not this pair's."""
        taken = set(self._answers[index])
        able = [i for i in self._alike(index) if taken.isdisjoint(self._answers[i])]
        return self._draw("other_pair", index, [(i, 1 - self._recipient) for i in able])

    def _same(self, index: int) -> tuple[int, int] | None:
        """A question of another pair whose answer is the patched run's own."""
        wanted = self._answers[index][self._recipient]
        able = [(i, side) for i in self._alike(index) for side in (0, 1) if self._answers[i][side] == wanted]
        return self._draw("same_value", index, able)

    def _alike(self, index: int) -> list[int]:
        return [i for i, sites in enumerate(self._sites) if i != index and sites == self._sites[index]]

    def _draw(self, donor: str, index: int, able: list[tuple[int, int]]) -> tuple[int, int] | None:
        if not able:
            return None
        able = sorted(able, key=lambda each: (self._names[each[0]], each[1]))
        return able[int(generator(self._seed, donor, self._names[index]).integers(len(able)))]
