"""Patched runs that were made together, and what they predict: rows of logits, each made once.

Most places of a run have a row of their own, some share one (both answers are predicted by the same token), and where a
patch reaches nothing a run has what the unpatched run has. Over a large vocabulary a row is worth more than all vectors
of a run, so nobody copies one who only wants to measure it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpatch.axes import Logits
from mechpatch.patching.patch import Patch
from mechpatch.patching.rollout import Outcome
from mechpatch.patching.say import Said
from mechpatch.reprs import short_repr


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What some runs of a batch predict.

    Attributes:
        rows: logits, each row once.
        at: the row of each place, on the CPU; -1 where the run has what the unpatched run has.
        baseline: what the unpatched run predicts.
    """

    rows: Float[Tensor, "row vocab"]
    at: Int[Tensor, "run pair 2 position"]
    baseline: Logits

    __repr__ = short_repr

    @classmethod
    def of(cls, logits: Logits, baseline: Logits) -> "Predictions":
        """One run, of which every place has a row of its own; it may be the unpatched run itself."""
        places = torch.arange(logits[..., 0].numel()).view(1, *logits.shape[:-1])
        return cls(logits.flatten(0, 2), places, baseline)

    def logits(self, run: int) -> Logits:
        """The logits of one run, spread over all places."""
        at, found = self.at[run], self.baseline.clone()
        there = (at >= 0).nonzero(as_tuple=True)
        found[tuple(each.to(found.device) for each in there)] = self.rows[at[there].to(found.device)]
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Together:
    """Patched runs that were made together.

    Attributes:
        hook: the hook point at which they were patched.
        vectors: what each run has there in the first layer of its patch, at every site.
        said: what each says, if it was asked.
    """

    patches: Sequence[Patch]
    predictions: Predictions
    hook: str
    vectors: Float[Tensor, "run pair 2 site *vector"]
    said: Sequence[Said] | None = None

    __repr__ = short_repr

    @classmethod
    def of(cls, patch: Patch, outcome: Outcome, hook: str, baseline: Logits) -> "Together":
        """One run."""
        return cls(
            patches=[patch],
            predictions=Predictions.of(outcome.logits, baseline),
            hook=hook,
            vectors=outcome.vectors[hook][None, :, :, 0],
            said=None if outcome.said is None else [outcome.said],
        )

    def outcomes(self) -> Iterator[tuple[Patch, Outcome]]:
        """Each patch, and its run by itself."""
        for run, patch in enumerate(self.patches):
            vectors = {self.hook: self.vectors[run, :, :, None]}
            said = None if self.said is None else self.said[run]
            yield patch, Outcome(self.predictions.logits(run), vectors, said)
