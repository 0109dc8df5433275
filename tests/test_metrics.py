"""Every metric against numbers worked out by hand, and against an independent implementation."""

import math

import numpy as np
import pytest
import torch
from helpers import TOLERANCE, assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from torch import Tensor
from torch.nn import functional as F

from mechpatch import metrics
from mechpatch.experiments.running.continuations import Openings
from mechpatch.metrics import Answers, Continues
from mechpatch.models.load import load_tokenizer


def continuing(prolongs: Tensor, separates: Tensor | None = None, pairs: int = 1) -> Continues:
    """The same tokens after both answers of every pair."""
    separates = torch.zeros_like(prolongs) if separates is None else separates
    return Continues(prolongs.expand(pairs, 2, -1), separates.expand(pairs, 2, -1), prolongs)


ALL = torch.tensor([[True, True]])
FIRST = torch.tensor([[True, False]])
NONE_CONTINUES = continuing(torch.zeros(5, dtype=torch.bool))


def exact(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def logs(*rows: list[float]) -> Tensor:
    """Logits of one pair that give these probabilities, [1, position, vocab]."""
    return torch.tensor([rows], dtype=torch.float64).log()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distances(patched: Tensor, baseline: Tensor, mask: Tensor, own: int = 0) -> dict[str, Tensor]:
    """Distances of logits [pair, position, vocab]; the other continuation, which must not be read, is NaN."""
    both = [torch.full((len(each), 2, *each.shape[1:]), torch.nan, dtype=each.dtype) for each in (patched, baseline)]
    for logits, read in zip(both, (patched, baseline), strict=True):
        logits[:, own] = read
    targets = torch.zeros(len(patched), 2, patched.shape[1], dtype=torch.long)
    answers = Answers(targets=targets, mask=mask, recipient=own)
    return dict(metrics.distance_metrics(both[0], both[1], answers))


def test_divergences_by_hand():
    patched, baseline = logs([0.5, 0.5], [0.2, 0.8]), logs([0.75, 0.25], [0.2, 0.8])
    at_first = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)  # the other way round it is 0.1308
    assert_same(metrics.kl_divergence(patched, baseline, FIRST), exact(at_first))
    assert_same(metrics.kl_divergence(patched, baseline, ALL), exact(at_first / 2))
    patched, baseline = torch.tensor([[[3.0, 4.0, 0.0, 0.0], [0.0] * 4]]), torch.zeros(1, 2, 4)
    assert metrics.l2_logit_difference(patched, baseline, ALL).tolist() == [2.5]
    assert metrics.l2_logit_difference(patched, baseline, FIRST).tolist() == [5.0]
    assert metrics.rms_logit_difference(patched, baseline, FIRST).tolist() == [2.5]
    patched, baseline = torch.eye(3)[None, [0, 1]], torch.eye(3)[None, [0, 2]]
    assert metrics.prediction_change_rate(patched, baseline, ALL).tolist() == [0.5]
    assert metrics.prediction_change_rate(patched, baseline, FIRST).tolist() == [0.0]


def test_divergences_against_other_libraries():
    patched, baseline = draw(3, 4, 7), draw(3, 4, 7, seed=1)
    mask = torch.arange(4) < torch.tensor([[4], [1], [3]])
    found = distances(patched, baseline, mask)
    for pair, length in enumerate((4, 1, 3)):
        p, q = (softmax(each[pair, :length].numpy(), axis=-1) for each in (patched, baseline))
        difference = (patched - baseline)[pair, :length].numpy()
        assert_same(found["kl_divergence"][pair], torch.tensor(rel_entr(p, q).sum(-1).mean()))
        assert_same(found["l2_logit_difference"][pair], torch.tensor(np.sqrt((difference**2).sum(-1)).mean()))
        assert_same(found["rms_logit_difference"][pair], torch.tensor(np.sqrt((difference**2).mean(-1)).mean()))
        changed = torch.tensor((p.argmax(-1) != q.argmax(-1)).mean())
        assert_same(found["prediction_change_rate"][pair], changed)
        with pytest.raises(AssertionError):
            assert_same(found["kl_divergence"][pair], torch.tensor(rel_entr(q, p).sum(-1).mean()))


@given(st.integers(0, 10_000), st.floats(0.01, 4), st.floats(-50, 50))
@settings(max_examples=50)
def test_divergence_is_zero_for_equal_and_positive_otherwise(seed: int, size: float, shift: float):
    baseline = draw(1, 2, 6, seed=seed)
    patched = baseline + size * draw(1, 2, 6, seed=seed + 1)
    assert metrics.kl_divergence(patched, baseline, ALL) > TOLERANCE[torch.float64]
    assert_same(metrics.kl_divergence(patched + shift, baseline, ALL), metrics.kl_divergence(patched, baseline, ALL))
    for metric in distances(baseline, baseline, ALL).values():
        assert metric.tolist() == [0.0]


def test_answer_scores_by_hand():
    first = torch.tensor([[1.0, 2.0, 4.0, 8.0], [0.0, 3.0, 0.0, 0.0]])
    ids = torch.tensor([[2, 3, -1], [1, -1, -1]])
    assert metrics.mean_answer_logit(first, ids, ids >= 0).tolist() == [6.0, 3.0]  # a mean, not a sum


def test_log_probability_of_a_whole_answer():
    logits = logs([0.5, 0.25, 0.25], [0.1, 0.8, 0.1])[:, None]
    assert_same(metrics.answer_logprob(logits, torch.tensor([[[0, 1]]])), exact(math.log(0.5 * 0.8))[None])
    assert_same(metrics.answer_logprob(logits, torch.tensor([[[2, -1]]])), exact(math.log(0.25))[None])
    logits, targets = draw(4, 2, 3, 9), torch.randint(9, (4, 2, 3), generator=torch.Generator().manual_seed(2))
    targets[0, 1, 1:] = targets[3, 0, 2:] = -1
    losses = F.cross_entropy(logits.flatten(0, 2), targets.flatten(), reduction="none", ignore_index=-1)
    assert_same(metrics.answer_logprob(logits, targets), -losses.view(4, 2, 3).sum(-1))


@pytest.mark.parametrize(
    ("clean", "corrupted", "expected"),
    [
        ([2, 3, -1], [1, 3, -1], 30.0 - 20.0),  # at the first token
        ([2, 3, -1], [2, 4, -1], 400.0 - 500.0),  # after a shared one
        ([2, 3, 1], [2, 3, 0], 2000.0 - 1000.0),
        ([2, 3, -1], [4, -1, -1], 30.0 - 50.0),  # of different length
        ([2, 3, -1], [2, -1, -1], math.nan),  # one is the start of the other
        ([2, -1, -1], [2, 3, 4], math.nan),
        ([2, 3, -1], [2, 3, -1], math.nan),
    ],
)
def test_logits_where_the_answers_part(clean: list[int], corrupted: list[int], expected: float):
    own = torch.tensor([10.0, 100.0, 1000.0])[:, None] * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    found = metrics.divergent_logit_diff(own[None], torch.tensor([[clean, corrupted]]))
    assert_same(found, torch.tensor([expected]))


def says(*answers: list[int]) -> Tensor:
    """Logits whose most likely tokens are these, position by position, in each continuation of one pair."""
    return F.one_hot(torch.tensor([answers]), 5).double()


@pytest.mark.parametrize(
    ("clean", "corrupted", "expected"),
    [
        ([1, 2, 0], [1, 2, 0], [True, False]),  # the longer one is what is said
        ([1, 0, 0], [1, 0, 0], [False, True]),
        ([1, 3, 0], [1, 3, 0], [False, True]),
        ([1, 2, 4], [1, 2, 0], [False, False]),  # goes on after the clean answer
        ([1, 4, 0], [1, 4, 0], [False, False]),  # goes on after the corrupted one
        ([1, 0, 0], [1, 0, 4], [False, True]),  # what follows later is not read
        ([3, 2, 0], [3, 0, 0], [False, False]),
    ],
)
def test_greedy_answers(clean: list[int], corrupted: list[int], expected: list[bool]):
    """The clean answer is tokens 1 2, the corrupted one 1; token 4 would prolong either.

    After 1 the model says the same in both continuations.
    """
    continues = continuing(torch.arange(5) == 4)
    targets = torch.tensor([[[1, 2, -1], [1, -1, -1]]])
    assert metrics.greedy_answers(says(clean, corrupted), targets, continues).tolist() == [expected]


@pytest.mark.parametrize(("said", "expected"), [("148", [True, False]), ("14", [False, True]), ("15", [False, False])])
def test_14_is_not_148(said: str, expected: list[bool]):
    tokenizer = load_tokenizer("demo")
    fourteen, eight, end = (tokenizer.vocab[token] for token in ("14", "##8", "</s>"))
    targets = torch.tensor([[[fourteen, eight, -1], [fourteen, -1, -1]]])
    spoken = [*tokenizer.encode(said, add_special_tokens=False), end, end][:3]
    # Position 1 of both continuations comes after "14", so the model says the same there.
    logits = F.one_hot(torch.tensor([[spoken, spoken]]), len(tokenizer)).float()
    continues = Openings.of(tokenizer, len(tokenizer)).after([("148", "14")])
    assert metrics.greedy_answers(logits, targets, continues).tolist() == [expected]
    careless = metrics.greedy_answers(logits, targets[:, [1, 1]], Continues(*map(torch.zeros_like, continues)))
    assert careless.tolist() == [[any(expected)] * 2]


SPOKEN = ["18", ".", "5", "7", ",000", ".5", "</s>", ". So"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["18", "</s>"], [True, False]),
        (["18", ".", "</s>"], [True, False]),  # closes a sentence
        (["18", ". So"], [True, False]),
        (["18", ".", "5", "</s>"], [False, True]),
        (["18", ".", "7"], [False, False]),
        (["18", ".", "5", "7"], [False, False]),
        (["18", ",000"], [False, False]),
        (["18", ".5"], [False, False]),  # in one token, where the answer is told by two
        (["18", "5"], [False, False]),
        ([".", "5"], [False, False]),
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_18_is_not_given_by_18_and_a_half(said: list[str], expected: list[bool], first: int):
    """The answers are 18 and 18.5; in each continuation the model says the same as long as it has said that itself."""
    answers = [["18"], ["18", ".", "5"]]
    targets = torch.full((1, 2, 4), -1)
    tops = torch.full((1, 2, 4), SPOKEN.index("7"))
    for at, answer in enumerate(answers if first == 0 else answers[::-1]):
        targets[0, at, : len(answer)] = torch.tensor([SPOKEN.index(token) for token in answer])
        for place in range(len(answer) + 1):
            if answer[:place] == said[:place] and place < len(said):
                tops[0, at, place] = SPOKEN.index(said[place])
    continues = continuing(
        torch.tensor([token in ("5", "7", ",000", ".5", "18") for token in SPOKEN]),
        torch.tensor([token == "." for token in SPOKEN]),
    )
    found = metrics.greedy_answers(F.one_hot(tops, len(SPOKEN)).float(), targets, continues)
    assert found.tolist() == [expected if first == 0 else expected[::-1]]


def test_the_outcome_is_named_by_the_answer_that_is_given():
    given = torch.tensor([[True, False], [False, True], [False, False], [True, True]])
    assert [metrics.OUTCOMES[at] for at in metrics.outcome(given, 0)] == ["clean", "corrupted", "other", "clean"]
    assert [metrics.OUTCOMES[at] for at in metrics.outcome(given, 1)] == ["clean", "corrupted", "other", "corrupted"]


def test_recovery_by_hand():
    patched, corrupted, clean = exact(0.0, 3.0, -4.0, 1.0, 1.0), exact(-2, -1, -2, 1, 1), exact(2, 1, 2, 1.0625, 0.875)
    found = metrics.recovery(patched, corrupted, clean, min_gap=0.125)
    assert_same(found, exact(0.5, 2.0, -0.5, math.nan, 0.0))
    assert metrics.recovery(exact(1), exact(1), exact(1), min_gap=0.1).isnan().all()


def test_everything_about_one_run_by_hand():
    """Answers 1 2 and 3; the corrupted run is the one at hand, so single positions are read in its continuation."""
    clean, corrupted = [[0.0, 5, 0, 1, 0], [0.0, 0, 5, 0, 0], [5.0, 0, 0, 0, 0]], [[0.0, 1, 2, 7, 0], [6.0, 0, 0, 0, 0]]
    logits, targets = torch.tensor([[clean, [*corrupted, corrupted[-1]]]]), torch.tensor([[[1, 2, -1], [3, -1, -1]]])
    found = metrics.answer_metrics(logits, targets, 1, NONE_CONTINUES)
    p_clean = -math.log(math.exp(0) + math.exp(-4) + 3 * math.exp(-5)) - math.log(1 + 4 * math.exp(-5))
    p_corrupted = -math.log(1 + math.exp(-6) + math.exp(-5) + 2 * math.exp(-7))
    expected = {
        "answer_logit_diff": 1.5 - 7,
        "clean_score": 1.5,
        "corrupted_score": 7.0,
        "answer_logprob_diff": p_clean - p_corrupted,
        "divergent_logit_diff": 1.0 - 7.0,
        "outcome": 1,  # both answers are given, and the run at hand is the corrupted one
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_same(found[name], torch.tensor([value], dtype=found[name].dtype))
    assert_same(metrics.answer_metrics(logits, targets, 0, NONE_CONTINUES)["answer_logit_diff"], torch.tensor([1.5]))


def test_half_precision_is_widened_before_anything_is_summed():
    logits, targets = draw(1, 2, 3, 5), torch.tensor([[[1, 2, -1], [3, -1, -1]]])
    half = logits.bfloat16()
    found = metrics.answer_metrics(half, targets, 0, NONE_CONTINUES)
    expected = metrics.answer_metrics(half.float(), targets, 0, NONE_CONTINUES)
    assert all(torch.equal(found[name], expected[name]) for name in found)
    found = distances(half[:, 0], half[:, 1], targets[:, 0] >= 0)
    assert {name: distance.dtype for name, distance in found.items()} == {
        "kl_divergence": torch.float64,
        "l2_logit_difference": torch.float32,
        "rms_logit_difference": torch.float32,
        "prediction_change_rate": torch.float32,
    }


@pytest.mark.parametrize("size", [1e-3, 1e-4])
def test_a_small_divergence_over_a_large_vocabulary_is_no_rounding(size: float, monkeypatch: pytest.MonkeyPatch):
    """At LLaMA-3's size of vocabulary float32 gives a divergence of 1e-8 as anything from −1e-6 to 1e-6."""
    monkeypatch.setattr(metrics, "CHUNK", 2**23)  # three pairs and one
    generator = torch.Generator().manual_seed(0)
    baseline = 3 * torch.randn(4, 2, 128_261, generator=generator)
    patched = baseline + size * torch.randn(baseline.shape, generator=generator)
    mask = torch.ones(4, 2, dtype=torch.bool)
    found = metrics.kl_divergence(patched, baseline, mask)
    p, q = (softmax(each.double().numpy(), axis=-1) for each in (patched, baseline))
    expected = torch.tensor(rel_entr(p, q).sum(-1).mean(-1))
    assert (found > 0).all()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)
    careless = (patched.log_softmax(-1).exp() * (patched.log_softmax(-1) - baseline.log_softmax(-1))).sum(-1).mean(-1)
    assert not torch.allclose(careless.double(), expected, rtol=1e-3, atol=0)


def test_a_batch_gives_what_each_pair_gives_alone():
    """A shorter answer repeats its last column in a batch; that must not leak into any number."""
    targets = torch.tensor([[[1, 2, 3, -1], [1, -1, -1, -1]], [[4, -1, -1, -1], [2, 3, -1, -1]], [[1, 2, -1, -1]] * 2])
    lengths = [4, 3, 3]  # positions that each pair would have by itself
    logits, baseline = draw(3, 2, 4, 5), draw(3, 2, 4, 5, seed=1)
    for values in (logits, baseline):
        for pair, answer in np.ndindex(3, 2):
            end = int((targets[pair, answer] >= 0).sum())
            values[pair, answer, end:] = values[pair, answer, end]
    for own in (0, 1):
        nothing = continuing(torch.zeros(5, dtype=torch.bool), pairs=3)
        together = metrics.answer_metrics(logits, targets, own, nothing)
        mask = targets[:, own] >= 0
        together |= distances(logits[:, own], baseline[:, own], mask, own)
        for pair, length in enumerate(lengths):
            row = slice(pair, pair + 1)
            alone = metrics.answer_metrics(logits[row, :, :length], targets[row, :, :length], own, NONE_CONTINUES)
            first, second = logits[row, own, :length], baseline[row, own, :length]
            alone |= distances(first, second, mask[row, :length], own)
            for name, value in alone.items():
                assert_same(together[name][row], value)
    unmasked = metrics.kl_divergence(logits[:, 0], baseline[:, 0], torch.ones_like(targets[:, 0], dtype=torch.bool))
    with pytest.raises(AssertionError):
        assert_same(unmasked, metrics.kl_divergence(logits[:, 0], baseline[:, 0], targets[:, 0] >= 0))
