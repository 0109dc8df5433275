"""How far an answer moved: functions of logits, one value per pair.

Axis `position` runs over answer positions; `mask` says which of them predict a token of the answer (answers differ in
length). Logit differences are in logits, divergences in nats, rates in [0, 1].
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Positions = Float[Tensor, "pair position vocab"]
Mask = Bool[Tensor, "pair position"]
PerPair = Float[Tensor, " pair"]


def kl_divergence(patched: Positions, baseline: Positions, mask: Mask) -> PerPair:
    """KL(patched ‖ baseline) in nats, mean over answer positions; at least 0 up to rounding."""
    p, q = patched.log_softmax(-1), baseline.log_softmax(-1)
    return _mean((p.exp() * (p - q)).sum(-1), mask)


def l2_logit_difference(patched: Positions, baseline: Positions, mask: Mask) -> PerPair:
    """Euclidean distance of the logits over the vocabulary, mean over answer positions."""
    return _mean((patched - baseline).norm(dim=-1), mask)


def rms_logit_difference(patched: Positions, baseline: Positions, mask: Mask) -> PerPair:
    """As `l2_logit_difference`, but the root of the mean square: smaller by the root of the vocabulary's size."""
    return l2_logit_difference(patched, baseline, mask) / patched.shape[-1] ** 0.5


def prediction_change_rate(patched: Positions, baseline: Positions, mask: Mask) -> PerPair:
    """Share of answer positions whose most likely token differs from the baseline's."""
    return _mean((patched.argmax(-1) != baseline.argmax(-1)).to(patched.dtype), mask)


def mean_answer_logit(first: Float[Tensor, "pair vocab"], ids: Int[Tensor, "pair position"], mask: Mask) -> PerPair:
    """Mean logit of an answer's token ids, at the position that predicts the first answer token."""
    return _mean(first.gather(1, ids.clamp(min=0)), mask)


def answer_logprob(
    logits: Float[Tensor, "pair answer position vocab"], targets: Int[Tensor, "pair answer position"]
) -> Float[Tensor, "pair answer"]:
    """Log probability of each whole answer, teacher-forced in its own continuation; in nats."""
    chosen = logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return (chosen * (targets >= 0)).sum(-1)


def divergent_logit_diff(own: Positions, targets: Int[Tensor, "pair 2 position"]) -> PerPair:
    """Logit of the clean token minus that of the corrupted one, where the two answers first differ.

    NaN where they do not differ before one of them ends.
    """
    clean, corrupted = targets[:, 0], targets[:, 1]
    differs = (clean != corrupted) & (clean >= 0) & (corrupted >= 0)
    pairs, at = torch.arange(len(targets), device=targets.device), differs.to(torch.int8).argmax(-1)
    logits = own[pairs, at].gather(1, targets[pairs, :, at].clamp(min=0))
    return (logits[:, 0] - logits[:, 1]).where(differs.any(-1), torch.nan)


def greedy_answers(
    logits: Float[Tensor, "pair answer position vocab"],
    targets: Int[Tensor, "pair answer position"],
    continues: Bool[Tensor, " vocab"],
) -> Bool[Tensor, "pair answer"]:
    """Whether greedy decoding gives each answer, read off the teacher-forced top-1s.

    Args:
        continues: tokens that would prolong a number; none of them may be the most likely one after the answer.
    """
    top = logits.argmax(-1)
    length = (targets >= 0).sum(-1, keepdim=True)
    right = ((top == targets) | (targets < 0)).all(-1)
    return right & ~continues[top.gather(-1, length)[..., 0]]


def recovery(patched: PerPair, corrupted: PerPair, clean: PerPair, min_gap: float) -> PerPair:
    """Share of the clean–corrupted gap that a patched run closes: 0 none, 1 all; can leave [0, 1].

    NaN where the gap is under `min_gap`.
    """
    gap = clean - corrupted
    return ((patched - corrupted) / gap).where(gap.abs() >= min_gap, torch.nan)


def answer_metrics(
    logits: Float[Tensor, "pair 2 position vocab"],
    targets: Int[Tensor, "pair 2 position"],
    own: int,
    continues: Bool[Tensor, " vocab"],
) -> dict[str, Float[Tensor, " pair"] | Bool[Tensor, " pair"]]:
    """Everything about the two answers that one run says by itself.

    Args:
        own: whose continuation single-position metrics are read in: 0 clean, 1 corrupted, the unpatched run's own.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    mask = targets >= 0
    clean_score = mean_answer_logit(logits[:, own, 0], targets[:, 0], mask[:, 0])
    corrupted_score = mean_answer_logit(logits[:, own, 0], targets[:, 1], mask[:, 1])
    logprob = answer_logprob(logits, targets)
    answers = greedy_answers(logits, targets, continues)
    return {
        "answer_logit_diff": clean_score - corrupted_score,
        "clean_score": clean_score,
        "corrupted_score": corrupted_score,
        "answer_logprob_diff": logprob[:, 0] - logprob[:, 1],
        "divergent_logit_diff": divergent_logit_diff(logits[:, own], targets),
        "answers_clean": answers[:, 0],
        "answers_corrupted": answers[:, 1],
    }


def distribution_metrics(patched: Positions, baseline: Positions, mask: Mask) -> Mapping[str, PerPair]:
    """Distances between the predictions of a patched run and its baseline, along the baseline's own answer."""
    dtype = torch.promote_types(patched.dtype, torch.float32)
    patched, baseline = patched.to(dtype), baseline.to(dtype)
    functions = (kl_divergence, l2_logit_difference, rms_logit_difference, prediction_change_rate)
    return {function.__name__: function(patched, baseline, mask) for function in functions}


def _mean(values: Float[Tensor, "pair position"], mask: Mask) -> PerPair:
    return (values * mask).sum(-1) / mask.sum(-1)
