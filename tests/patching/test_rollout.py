"""Running a batch: against plain forward passes, and what it reads, writes and refuses."""

import pytest
import torch
from helpers import assert_same
from models_under_test import KINDS, Case, make_case, tiny_llama

from mechpatch.errors import ThoughtError
from mechpatch.models.hooked import to_hooked
from mechpatch.patching import Outcome, Read, Write, rollout


def run(case: Case, *writes: Write, read: Read | None = None) -> Outcome:
    return rollout(case.model.hooked, case.model.head, case.batch, writes, read)


@pytest.mark.parametrize("kind", ["text", "placeholder"])
def test_without_latents_it_is_one_plain_forward(kind: str):
    case = make_case("tiny-float64", kind)
    for row, layout in enumerate(case.layouts):
        for answer, tail in enumerate(layout.tails):
            start = len(layout.prompt) + tail.answer - 1
            tokens = torch.tensor([[*layout.prompt, *tail.tokens]])
            logits, cache = case.model.hooked(tokens), case.model.hooked.run_with_cache(tokens)[1]
            assert_same(case.unpatched.logits[row, answer, : len(tail.answer_tokens) + 1], logits[0, start:])
            positions = list(layout.positions(answer))
            for layer in range(case.model.n_layers):
                assert_same(case.unpatched.resid[row, answer, layer], cache["resid_post", layer][0, positions])
            with pytest.raises(AssertionError):
                assert_same(case.unpatched.logits[row, answer, : len(tail.answer_tokens)], logits[0, start + 1 :])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_back(kind: str):
    case = make_case("tiny-float64", kind)
    layers, everywhere = tuple(range(case.model.n_layers)), case.batch.columns
    written = [Write(layer, everywhere, case.donor[:, :, layer]) for layer in layers]
    assert torch.equal(run(case, *written, read=Read(layers, everywhere)).resid, case.donor)
    reversed_read = Read(layers[::-1], everywhere.flip(-1))
    assert torch.equal(run(case, *written, read=reversed_read).resid, case.donor.flip(2, 3))
    before = run(case, written[2], read=Read((0, 1), everywhere)).resid[:, :, :, 0]
    assert torch.equal(before, case.unpatched.resid[:, :, :2, 0])  # a write moves nothing that is below and before it


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_nothing_behind(kind: str):
    case = make_case("tiny-float64", kind)
    write = Write(1, case.batch.columns, case.donor[:, :, 1])
    assert not torch.equal(run(case, write).logits, case.unpatched.logits)
    with pytest.raises(ValueError, match="d_model"):
        run(case, Write(1, case.batch.columns, case.donor[:, :, 1, :, :5]))
    assert torch.equal(run(case).logits, case.unpatched.logits)
    assert not run(case).vectors  # nothing was asked for


def test_later_writes_win():
    case = make_case("tiny-float64", "latent")
    first, second = (Write(1, case.batch.columns, vectors[:, :, 1]) for vectors in (case.unpatched.resid, case.donor))
    assert torch.equal(run(case, first, second).logits, run(case, second).logits)
    assert not torch.equal(run(case, second, first).logits, run(case, second).logits)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shift", [-100, 100])
def test_a_column_outside_the_batch_is_refused(kind: str, shift: int):
    case = make_case("tiny-float64", kind)
    outside = case.batch.columns + shift
    with pytest.raises(ValueError, match=r"`columns` run from -?\d+ to -?\d+, but the batch has columns 0 to \d+"):
        run(case, Write(1, outside, case.donor[:, :, 1]))
    with pytest.raises(ValueError, match="`columns` run from"):
        run(case, read=Read((1,), outside))


def test_a_site_in_two_segments_is_refused():
    case = make_case("tiny-float64", "latent")
    columns = case.batch.columns[:, :, :1].clone()
    columns[0] += 1  # t0 in one row, bot in the others
    with pytest.raises(ValueError, match="must be there in every row"):
        run(case, Write(1, columns, case.donor[:, :, 1, :1]))


def test_latents_need_a_head():
    case = make_case("tiny-float64", "latent")
    with pytest.raises(ThoughtError, match="latent head; load a CODI checkpoint"):
        rollout(case.model.hooked, None, case.batch)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_wider_than_the_model_is_refused(kind: str):
    """transformer-lens would make longer rotary tables by itself, and every later run would use them."""
    case = make_case("tiny-float64", kind)
    narrow = to_hooked(tiny_llama(torch.float64), case.batch.width - 1)
    table = narrow.blocks[0].attn.rotary_cos
    with pytest.raises(ThoughtError, match=rf"is padded to {case.batch.width} tokens, and the model runs at most"):
        rollout(narrow, case.model.head, case.batch)
    assert narrow.blocks[0].attn.rotary_cos is table
    enough = to_hooked(tiny_llama(torch.float64), case.batch.width)
    assert_same(rollout(enough, case.model.head, case.batch).logits, case.unpatched.logits)
