"""How far an answer moved: functions of logits, one value per pair.

Axis `position` runs over answer positions; `mask` says which of them predict a token of the answer (answers differ in
length). Logit differences are in logits, divergences in nats, rates in [0, 1].

Log-probabilities are float64 whatever the model is: over 128,000 words float32 rounds log p by about 1e-6, more than
the whole KL divergence of a small effect.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mechpatch.names import OUTCOMES
from mechpatch.reprs import short_repr

Positions = Float[Tensor, "pair position vocab"]
AllLogits = Float[Tensor, "pair answer position vocab"]
Mask = Bool[Tensor, "pair position"]
PerPair = Float[Tensor, " pair"]
Rows = Float[Tensor, "*row vocab"]
PerRow = Float[Tensor, " *row"]
CHUNK = 2**22  # bytes of float64 that are worked on at once, so that they stay near the processor


class Continues(NamedTuple):
    """Which tokens would prolong each answer that they follow.

    Attributes:
        prolongs: they go on with its number or with its last word (`8`, `.5`, `,000` after 18; `s` after apple).
        separates: a separator alone (`.`) after a digit: whether it prolongs depends on the token after it.
        digit: the tokens that prolong after a separator.
    """

    prolongs: Bool[Tensor, "pair answer vocab"]
    separates: Bool[Tensor, "pair answer vocab"]
    digit: Bool[Tensor, " vocab"]


def normaliser(logits: Float[Tensor, "pair *position vocab"]) -> Float[Tensor, " pair *position"]:
    """log Σ exp of the logits over the vocabulary, in float64: a logit minus this is a log-probability."""
    found = []
    for part in _chunks(logits):
        exact = wide(part)
        largest = exact.amax(-1, keepdim=True)
        found.append(exact.sub_(largest).exp_().sum(-1).log_() + largest[..., 0])
    return torch.cat(found)


def kl_divergence(patched: Positions, baseline: Positions, mask: Mask) -> PerPair:
    """KL(patched ‖ baseline) in nats, mean over answer positions; at least 0."""
    norm, base_norm = normaliser(patched), normaliser(baseline)
    means = []
    for one, other, chunk in zip(_chunks(patched), _chunks(baseline), norm.split(_pairs(patched)), strict=True):
        exact = wide(one)
        difference = exact - wide(other)
        means.append((exact.sub_(chunk[..., None]).exp_().mul_(difference)).sum(-1))
    return mean_over((torch.cat(means) - (norm - base_norm)).clamp(min=0), mask.to(norm.device))


def l2_logit_difference(patched: Positions, baseline: Positions, mask: Mask) -> PerPair:
    """Euclidean distance of the logits over the vocabulary, mean over answer positions."""
    return mean_over(_l2(patched, baseline), mask)


def rms_logit_difference(patched: Positions, baseline: Positions, mask: Mask) -> PerPair:
    """As `l2_logit_difference`, but the root of the mean square: smaller by the root of the vocabulary's size."""
    return mean_over(_rms(patched, baseline), mask)


def prediction_change_rate(patched: Positions, baseline: Positions, mask: Mask) -> PerPair:
    """Share of answer positions whose most likely token differs from the baseline's."""
    return mean_over(_changes(patched, baseline), mask)


def _l2(patched: Rows, baseline: Rows) -> PerRow:
    return (patched - baseline).norm(dim=-1)


def _rms(patched: Rows, baseline: Rows) -> PerRow:
    return _l2(patched, baseline) / patched.shape[-1] ** 0.5


def _changes(patched: Rows, baseline: Rows) -> PerRow:
    return (patched.argmax(-1) != baseline.argmax(-1)).to(patched.dtype)


def mean_answer_logit(first: Float[Tensor, "pair vocab"], ids: Int[Tensor, "pair position"], mask: Mask) -> PerPair:
    """Mean logit of an answer's token ids, at the position that predicts the first answer token."""
    return mean_over(first.gather(1, ids.clamp(min=0)), mask)


def answer_logprob(
    logits: Float[Tensor, "pair answer position vocab"], targets: Int[Tensor, "pair answer position"]
) -> Float[Tensor, "pair answer"]:
    """Log probability of each whole answer, teacher-forced in its own continuation; in nats."""
    norm = normaliser(logits)
    chosen = wide(logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0]) - norm
    return (chosen * (targets >= 0).to(norm.device)).sum(-1)


def divergent_logit_diff(logits: Positions, targets: Int[Tensor, "pair 2 position"]) -> PerPair:
    """Logit of the clean token minus that of the corrupted one, where the two answers first differ.

    NaN where they do not differ before one of them ends.
    """
    clean, corrupted = targets[:, 0], targets[:, 1]
    differs = (clean != corrupted) & (clean >= 0) & (corrupted >= 0)
    pairs, at = torch.arange(len(targets), device=targets.device), differs.to(torch.int8).argmax(-1)
    logits = logits[pairs, at].gather(1, targets[pairs, :, at].clamp(min=0))
    return (logits[:, 0] - logits[:, 1]).where(differs.any(-1), torch.nan)


def greedy_answers(
    logits: Float[Tensor, "pair answer position vocab"],
    targets: Int[Tensor, "pair answer position"],
    continues: Continues,
) -> Bool[Tensor, "pair answer"]:
    """`given_by` of the most likely tokens."""
    return given_by(logits.argmax(-1), targets, continues)


def given_by(
    top: Int[Tensor, "*run pair answer position"], targets: Int[Tensor, "pair answer position"], continues: Continues
) -> Bool[Tensor, "*run pair answer"]:
    """Whether greedy decoding gives each answer, read off the teacher-forced top-1s.

    An answer is given if all its tokens are the most likely ones and what follows does not prolong it. One token is
    known of what follows. If that is a separator alone, a number ends there: `18.` closes a sentence far more often
    than it opens `18.5`. More is known only where another answer of the pair begins with this one: if it goes on with
    that separator (18 beside 18.5), a digit after it prolongs; and if it is what the model says (Mary Ann beside
    Mary), it prolongs too. An answer in another spelling (`1,800` for 1800) is not seen as given.
    """
    length = (targets >= 0).sum(-1)
    right = ((top == targets) | (targets < 0)).all(-1)
    every = right.shape  # [*run, pair, answer]
    follows = top.gather(-1, length.expand(every)[..., None])
    prolonged = continues.prolongs.expand(*every, -1).gather(-1, follows)[..., 0]
    separated = continues.separates.expand(*every, -1).gather(-1, follows)[..., 0]
    places = torch.arange(targets.shape[-1], device=targets.device)
    for other in range(targets.shape[1]):
        longer, said = targets[:, other, None], top[..., other, :]
        shared = ((targets == longer) | (places >= length[..., None])).all(-1)
        reads_on = shared & (targets[:, other].gather(-1, length) == follows[..., 0])
        second = said.gather(-1, (length + 1).clamp(max=len(places) - 1).expand(every))
        prolonged = prolonged | (separated & reads_on & continues.digit[second])
        prolonged = prolonged | (shared & (length[:, other, None] > length) & right[..., other, None])
    return right & ~prolonged


def outcome(given: Bool[Tensor, "*pair answer"], recipient: int) -> Int[Tensor, " *pair"]:
    """Index in `OUTCOMES` of what greedy decoding gives.

    Args:
        given: whether the clean, the corrupted and, if there is a third, the expected answer are given; two are where
            they are equal, and the name of a pair's own answer comes before "expected".
        recipient: the answer of the unpatched run, which names an answer that both sides share.
    """
    other = torch.full_like(given[..., 0], OUTCOMES.index("other"), dtype=torch.long)
    if given.shape[-1] > 2:
        other = torch.where(given[..., 2], OUTCOMES.index("expected"), other)
    other = torch.where(given[..., 1 - recipient], 1 - recipient, other)
    return torch.where(given[..., recipient], recipient, other)


def recovery(
    patched: Float[Tensor, "*run pair"], corrupted: PerPair, clean: PerPair, min_gap: float
) -> Float[Tensor, "*run pair"]:
    """Share of the clean–corrupted gap that a patched run closes: 0 none, 1 all; can leave [0, 1].

    NaN where the gap is under `min_gap`.
    """
    gap = clean - corrupted
    return ((patched - corrupted) / gap).where(gap.abs() >= min_gap, torch.nan)


def answer_metrics(
    logits: Float[Tensor, "pair 2 position vocab"],
    targets: Int[Tensor, "pair 2 position"],
    recipient: int,
    continues: Continues,
) -> dict[str, Float[Tensor, " pair"] | Int[Tensor, " pair"]]:
    """Everything about the two answers that one run says by itself; `outcome` is an index in `OUTCOMES`.

    Args:
        recipient: the answer of the unpatched run, 0 clean or 1 corrupted: metrics of one position are read in its
            continuation.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    mask = targets >= 0
    clean_score = mean_answer_logit(logits[:, recipient, 0], targets[:, 0], mask[:, 0])
    corrupted_score = mean_answer_logit(logits[:, recipient, 0], targets[:, 1], mask[:, 1])
    logprob = answer_logprob(logits, targets)
    return {
        "answer_logit_diff": clean_score - corrupted_score,
        "clean_score": clean_score,
        "corrupted_score": corrupted_score,
        "answer_logprob_diff": logprob[:, 0] - logprob[:, 1],
        "divergent_logit_diff": divergent_logit_diff(logits[:, recipient], targets),
        "outcome": outcome(greedy_answers(logits, targets, continues), recipient),
    }


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answers:
    """Where the logits of a patched run and of its baseline, [pair, answer, position, vocab], are read.

    Attributes:
        targets: token ids of the clean (0) and the corrupted (1) answer; -1 past the end. The logits at position i
            predict token i.
        mask: positions at which distances from the baseline are read.
        recipient: whose run is patched, and in whose continuation distances are read: 0 clean, 1 corrupted.
    """

    targets: Int[Tensor, "pair answer position"]
    mask: Mask
    recipient: int

    __repr__ = short_repr


# Every column that is a mean over answer positions, in the continuation with the recipient's own answer, of a distance
# between the logits of the patched run and the baseline at one position, which is 0 where they are equal: a new one is
# a function, a row here, and its name in `mechpatch.catalogue`.
DISTANCES: Mapping[str, Callable[[Rows, Rows], PerRow]] = {
    "l2_logit_difference": _l2,
    "rms_logit_difference": _rms,
    "prediction_change_rate": _changes,
}


def distance_metrics(patched: AllLogits, baseline: AllLogits, answers: Answers) -> Mapping[str, PerPair]:
    """Distances between the predictions of a patched run and its baseline, along the baseline's own answer."""
    dtype, recipient = torch.promote_types(patched.dtype, torch.float32), answers.recipient
    patched, baseline = patched[:, recipient].to(dtype), baseline[:, recipient].to(dtype)
    found = {name: mean_over(distance(patched, baseline), answers.mask) for name, distance in DISTANCES.items()}
    return {"kl_divergence": kl_divergence(patched, baseline, answers.mask), **found}


def mean_over(values: Float[Tensor, "*run pair position"], mask: Mask) -> Float[Tensor, "*run pair"]:
    """Mean over the answer positions of a mask."""
    return (values * mask).sum(-1) / mask.sum(-1)


def _pairs(logits: Float[Tensor, "pair *position vocab"]) -> int:
    """How many pairs are worked on at once."""
    return max(1, CHUNK // max(1, 8 * logits[0].numel())) if len(logits) else 1


def _chunks(logits: Float[Tensor, "pair *position vocab"]) -> tuple[Float[Tensor, "part *position vocab"], ...]:
    return logits.split(_pairs(logits))


def wide(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """A copy in float64, on the CPU where the device has none."""
    found = values.cpu() if values.device.type == "mps" else values
    return found.to(torch.float64, copy=True)
