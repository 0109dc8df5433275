"""The plain reference against experiments spelled out with single writes."""

import pytest
import torch
from helpers import assert_same
from models_under_test import KINDS, Case, make_case

from mechpatch.patching import Read, Write, rollout
from mechpatch.patching.reference import Patch


@pytest.fixture(params=KINDS, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return make_case("tiny-float64", request.param)


def test_every_patch_is_a_fresh_run(case: Case):
    patches = [case.patch(cell) for name in ("layer", "position") for cell in case.cells(name)]
    forward, backward = case.sweep(case.donor, patches), case.sweep(case.donor, patches[::-1])
    for there, back in zip(forward, backward[::-1], strict=True):
        assert torch.equal(there.logits, back.logits)
        assert torch.equal(there.resid, back.resid)
    assert not torch.equal(forward[0].logits, backward[0].logits)


def test_a_patch_reads_its_own_layer_at_every_site(case: Case):
    first, second = case.thoughts[:2]
    patch = Patch(1, (first, second))
    (outcome,) = case.sweep(case.donor, [patch])
    assert outcome.resid.shape == case.unpatched.resid[:, :, [1]].shape
    assert torch.equal(outcome.resid[:, :, 0, [first, second]], case.donor[:, :, 1, [first, second]])
    assert torch.equal(outcome.resid[:, :, 0, :first], case.unpatched.resid[:, :, 1, :first])
    # The same layer of a later site is out of reach within one forward pass, and in reach where thoughts are fed back.
    moved = not torch.equal(outcome.resid[:, :, 0, second + 1 :], case.unpatched.resid[:, :, 1, second + 1 :])
    assert moved == case.frame.feedback


def test_a_patch_is_its_sites_written_one_by_one(case: Case):
    sites = tuple(range(len(case.batch.sites)))
    for chosen in (sites, sites[::-1], sites[1::2]):
        (outcome,) = case.sweep(case.donor, [Patch(1, chosen)])
        writes = [Write(1, case.batch.columns[:, :, [site]], case.donor[:, :, 1, [site]]) for site in chosen]
        found = rollout(case.model.hooked, case.model.head, case.batch, writes)
        assert_same(found.logits, outcome.logits)
        with pytest.raises(AssertionError):
            assert_same(rollout(case.model.hooked, case.model.head, case.batch, writes[:-1]).logits, outcome.logits)


def test_a_relay_spelled_out(case: Case):
    for layer in case.frame.layers:
        vector = case.donor[:, :, layer, case.thoughts[0]]
        for step, ran in enumerate(case.relay(layer)):
            assert torch.equal(ran.written, vector)
            column = case.batch.columns[:, :, [case.thoughts[step]]]
            after = case.batch.columns[:, :, [case.thoughts[min(step + 1, len(case.thoughts) - 1)]]]
            outcome = rollout(
                case.model.hooked,
                case.model.head,
                case.batch,
                [Write(layer, column, vector[:, :, None])],
                Read((layer,), after),
            )
            assert torch.equal(ran.logits, outcome.logits)
            vector = outcome.resid[:, :, 0, 0]


def test_a_relay_differs_from_clean_vectors_at_the_same_thought():
    case = make_case("tiny-float64", "latent")
    patches = [Patch(1, (site,)) for site in case.thoughts]
    for step, (ran, alone) in enumerate(zip(case.relay(1), case.sweep(case.donor, patches), strict=True)):
        assert torch.equal(ran.logits, alone.logits) == (step == 0)
