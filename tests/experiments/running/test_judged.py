"""What is read of many runs at once is what each metric says of each run by itself."""

import pytest
import torch
from torch import Tensor

from mechpatch import metrics
from mechpatch.experiments.running import judged as rooms
from mechpatch.experiments.running.judged import Asked, judge
from mechpatch.metrics import Answers, Continues
from mechpatch.patching.together import Predictions

RUNS, PAIRS, LENGTH, WORDS = 6, 3, 4, 40


def drawn(dtype: torch.dtype, seed: int) -> tuple[Predictions, Tensor, Continues]:
    """Runs of which half the places have a row of their own, or one for both continuations; the last run has none."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.rand(RUNS, PAIRS, 2, LENGTH, generator=generator) < 0.5
    own[-1] = False
    at = torch.where(own, own.flatten().cumsum(0).view(own.shape) - 1, -1)
    shared = own[:, :, :, 0].all(-1)
    at[:, :, 1, 0] = torch.where(shared, at[:, :, 0, 0], at[:, :, 1, 0])
    rows, baseline = (
        (3 * torch.randn(*shape, WORDS, generator=generator)).to(dtype)
        for shape in ((int(own.sum()),), (PAIRS, 2, LENGTH))
    )
    targets = torch.randint(1, WORDS, (PAIRS, 2, LENGTH), generator=generator)
    targets[..., -1], targets[0, 0, 2:], targets[0, 1, 1:], targets[2, 1] = -1, -1, -1, targets[2, 0]
    # Some runs say an answer, so that outcomes differ.
    likely = at[: RUNS // 2].clamp(min=0)
    rows[likely, targets.clamp(min=0).expand(likely.shape)] += 9
    prolongs, separates = torch.rand(2, PAIRS, 2, WORDS, generator=generator) < 0.2
    return Predictions(rows, at, baseline), targets, Continues(prolongs, separates, prolongs[0, 0])


@pytest.mark.parametrize("recipient", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_many_runs_at_once_give_what_each_gives_alone(dtype: torch.dtype, recipient: int, monkeypatch):
    monkeypatch.setattr(rooms, "CHUNK", 8 * WORDS * 7)  # seven rows
    predictions, targets, continues = drawn(dtype, seed=recipient)
    asked, mask = Asked.of(targets, recipient), targets[:, recipient] >= 0
    baseline = predictions.baseline
    unpatched = judge(Predictions.of(baseline, baseline), asked)
    found = judge(predictions, asked, unpatched)
    several = found.answers(continues) | found.moved(mask)
    assert found.finite.all()
    outcomes = set()
    for run in range(RUNS):
        logits = predictions.logits(run)
        alone = dict(metrics.answer_metrics(logits, targets, recipient, continues))
        alone |= metrics.distance_metrics(logits, baseline, Answers(targets=targets, mask=mask, recipient=recipient))
        assert alone.keys() == several.keys()
        for name, expected in alone.items():
            torch.testing.assert_close(
                several[name][run], expected, equal_nan=True, msg=lambda text, of=name: of + text
            )
        torch.testing.assert_close(found.logprob[run], metrics.answer_logprob(logits, targets))
        outcomes |= {*several["outcome"][run].tolist()}
    assert len(outcomes) > 1
    for name in found.distances:  # the last run is the unpatched run, and not nearly so
        assert several[name][-1].tolist() == [0] * PAIRS
    own = unpatched.answers(continues)
    assert all(several[name][-1].equal(own[name][0]) or several[name].isnan().any() for name in own)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_seen_in_its_run_and_pair(bad: float):
    predictions, targets, _ = drawn(torch.float32, seed=0)
    asked, baseline = Asked.of(targets, 0), predictions.baseline
    predictions.rows[predictions.at[2, 1].max(), 5] = bad
    found = judge(predictions, asked, judge(Predictions.of(baseline, baseline), asked))
    assert (~found.finite).nonzero().tolist() == [[2, 1]]
