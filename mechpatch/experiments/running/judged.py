"""What many runs predict, measured at once from the rows of logits that were made for them.

A row is read once, whatever the metrics: its normaliser, its most likely token, and, where it stands in the
continuation with the run's own answer, its distances from the unpatched run's row. Beside that only the logits of a few
tokens are read. `mechpatch.metrics` has each metric by itself, from whole logits; tests hold these to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mechpatch.metrics import CHUNK, DISTANCES, Continues, given_by, mean_over, outcome, wide
from mechpatch.patching.together import Predictions
from mechpatch.patching.wide import float64_device
from mechpatch.reprs import short_repr

KL = "kl_divergence"
PerRun = Float[Tensor, "run pair"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """Which logits are read.

    All is where float64 can be computed, see `float64_device`.

    Attributes:
        targets: token ids of the clean (0) and the corrupted (1) answer; -1 past the end.
        recipient: in whose continuation metrics of one position, and distances, are read.
        places: of each logit the place (answer × position): first the target of each place; then the tokens of both
            answers at the first position; then both where the answers first differ.
        tokens: of each logit the token.
        differ: whether the answers differ before one of them ends.
    """

    targets: Int[Tensor, "pair 2 position"]
    recipient: int
    places: Int[Tensor, "pair chosen"]
    tokens: Int[Tensor, "pair chosen"]
    differ: Bool[Tensor, " pair"]

    __repr__ = short_repr

    @classmethod
    def of(cls, targets: Int[Tensor, "pair 2 position"], recipient: int) -> "Asked":
        """All that the metrics of the two answers read."""
        targets = targets.to(float64_device(targets.device))
        pairs, _, length = targets.shape
        clean, corrupted = targets[:, 0], targets[:, 1]
        differs = (clean != corrupted) & (clean >= 0) & (corrupted >= 0)
        parting = differs.to(torch.int8).argmax(-1)
        own = torch.arange(2 * length, device=targets.device).expand(pairs, -1)
        first = torch.full_like(own, recipient * length)
        there = (recipient * length + parting)[:, None].expand(-1, 2)
        tokens = [
            targets.flatten(1),
            targets.flatten(1),
            targets.gather(2, parting[:, None, None].expand(-1, 2, 1))[..., 0],
        ]
        return cls(
            targets=targets,
            recipient=recipient,
            places=torch.cat([own, first, there], dim=1),
            tokens=torch.cat(tokens, dim=1).clamp(min=0),
            differ=differs.any(-1),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What some runs predict.

    Attributes:
        norm: log normaliser of each place, float64.
        top: the most likely token.
        chosen: the logits that were asked for.
        finite: whether all logits of a run are.
        distances: from the unpatched run, by name; 0 where a run has what that has.
    """

    asked: Asked
    norm: Float[Tensor, "run pair 2 position"]
    top: Int[Tensor, "run pair 2 position"]
    chosen: Float[Tensor, "run pair chosen"]
    finite: Bool[Tensor, "run pair"]
    distances: Mapping[str, Float[Tensor, "run pair position"]] = field(default_factory=dict)

    __repr__ = short_repr

    @property
    def logprob(self) -> Float[Tensor, "run pair 2"]:
        """Log probability of each whole answer in its own continuation; see `metrics.answer_logprob`."""
        target = self.chosen[..., : self._size].unflatten(-1, self.norm.shape[2:])
        return ((wide(target) - self.norm) * (self.asked.targets >= 0)).sum(-1)

    def answers(self, continues: Continues) -> dict[str, PerRun | Int[Tensor, "run pair"]]:
        """As `metrics.answer_metrics`."""
        mask = self.asked.targets >= 0
        first = self.chosen[..., self._size : 2 * self._size].unflatten(-1, self.norm.shape[2:])
        clean, corrupted = mean_over(first[:, :, 0], mask[:, 0]), mean_over(first[:, :, 1], mask[:, 1])
        parting, logprob = self.chosen[..., 2 * self._size :], self.logprob
        return {
            "answer_logit_diff": clean - corrupted,
            "clean_score": clean,
            "corrupted_score": corrupted,
            "answer_logprob_diff": logprob[..., 0] - logprob[..., 1],
            "divergent_logit_diff": (parting[..., 0] - parting[..., 1]).where(self.asked.differ, torch.nan),
            "outcome": outcome(given_by(self.top, self.asked.targets, continues), self.asked.recipient),
        }

    def moved(self, mask: Bool[Tensor, "pair position"]) -> dict[str, PerRun]:
        """As `metrics.distance_metrics`."""
        return {name: mean_over(values, mask) for name, values in self.distances.items()}

    @property
    def _size(self) -> int:
        return self.asked.targets[0].numel()


@torch.no_grad()
def judge(predictions: Predictions, asked: Asked, unpatched: Judged | None = None, apart: bool = True) -> Judged:
    """Read what some runs predict.

    Args:
        unpatched: what the unpatched run predicts, read before; None for that itself, of which every place has a row.
        apart: whether distances from it are measured.
    """
    device = float64_device(predictions.rows.device)
    rows, baseline = predictions.rows.to(device), predictions.baseline.to(device).flatten(0, 2)
    pairs, _, length = predictions.at.shape[1:]
    # Of each row the place of the unpatched run from which it is measured: in the continuation of the own answer.
    against = torch.full((len(rows) + 1,), -1)
    reference = unpatched if apart else None
    if reference is not None:
        own = predictions.at[:, :, asked.recipient]
        places = torch.arange(pairs)[:, None] * 2 * length + asked.recipient * length + torch.arange(length)
        against[own] = places.expand(own.shape)  # the last, a spare one, is where -1 points
    norm, top, finite, distances = _rows(rows, baseline, against[:-1], reference)

    at = predictions.at.to(rows.device)
    spread = {name: values[at[:, :, asked.recipient]] for name, values in distances.items()}  # the spare one holds 0
    flat = at.flatten(2).gather(2, asked.places.expand(len(at), -1, -1))
    dtype = torch.promote_types(rows.dtype, torch.float32)
    chosen = _chosen(rows, flat, asked.tokens).to(dtype)
    found = norm[at], top[at], chosen
    if unpatched is not None:
        same = ((at < 0, unpatched.norm), (at < 0, unpatched.top), (flat < 0, unpatched.chosen))
        found = tuple(torch.where(where, own, each) for (where, own), each in zip(same, found, strict=True))
    return Judged(
        asked=asked,
        norm=found[0],
        top=found[1],
        chosen=found[2],
        finite=finite[at].flatten(2).all(-1),
        distances=spread,
    )


def _chosen(
    rows: Float[Tensor, "row vocab"], at: Int[Tensor, "run pair chosen"], tokens: Int[Tensor, "pair chosen"]
) -> Float[Tensor, "run pair chosen"]:
    """Logits of tokens in rows; anything where there is no row."""
    if not len(rows):
        return rows.new_zeros(at.shape)
    return rows[at.clamp(min=0), tokens.expand(at.shape)]


def _rows(
    rows: Float[Tensor, "row vocab"],
    baseline: Float[Tensor, "place vocab"],
    against: Int[Tensor, " row"],
    unpatched: Judged | None,
) -> tuple[Float[Tensor, " row_and_one"], Int[Tensor, " row_and_one"], Bool[Tensor, " row_and_one"], dict[str, Tensor]]:
    """Normaliser, most likely token, whether all is finite, and distances of each row; and of a spare one, which is
    finite and 0 away."""
    device, dtype = rows.device, torch.promote_types(rows.dtype, torch.float32)
    norm = torch.zeros(len(rows) + 1, dtype=torch.float64, device=device)
    top = torch.zeros(len(rows) + 1, dtype=torch.long, device=device)
    finite = torch.ones(len(rows) + 1, dtype=torch.bool, device=device)
    names = () if unpatched is None else (KL, *DISTANCES)
    distances = {name: torch.zeros_like(norm, dtype=norm.dtype if name == KL else dtype) for name in names}
    size = max(1, CHUNK // (8 * rows.shape[1]))
    order = (against < 0).long().argsort(stable=True)  # those that are measured come first
    measured = int((against >= 0).sum())
    parts = [*order[:measured].split(size), *order[measured:].split(size)]
    places = against[order]
    for part, where in zip(parts, (*places[:measured].split(size), *places[measured:].split(size)), strict=True):
        if not len(part):
            continue
        there = part.to(device)
        own = rows[there].to(dtype)
        top[there] = likeliest = own.argmax(-1)
        largest = own.gather(1, likeliest[:, None])
        finite[there] = largest[:, 0].isfinite() & own.amin(-1).isfinite()
        exact = wide(own)
        if unpatched is None or where[0] < 0:
            norm[there] = exact.sub_(largest).exp_().sum(-1).log_() + largest[:, 0]
            continue
        where = where.to(device)
        other = baseline[where].to(dtype)
        difference = exact - other
        weights = exact.sub_(largest).exp_()
        total = weights.sum(-1)
        norm[there] = found = total.log() + largest[:, 0]
        kl = weights.mul_(difference).sum(-1) / total - (found - unpatched.norm.flatten()[where])
        distances[KL][there] = kl.clamp(min=0)
        for name, distance in DISTANCES.items():
            distances[name][there] = distance(own, other)
    return norm, top, finite, distances
