"""Estimates of all patches at once: against the slope of each patch itself, and the memory that they take."""

from typing import Any

import pytest
import torch
from jaxtyping import Float
from models_under_test import Case, make_case
from torch import Tensor

from mechpatch.patching import rollout
from mechpatch.patching.attribution import attribute, bytes_of_gradients
from mechpatch.patching.reference import baseline, write_at
from mechpatch.patching.rollout import Write

HOOKS = ("z", "k", "v", "post")
STEP = 1e-4  # of the way from the run's own vector to the donor's


def measure(logits: Float[Tensor, "pair answer position vocab"]) -> Float[Tensor, " pair"]:
    """Of both continuations, and of more than one position; nothing of it is linear."""
    chances = logits.log_softmax(-1)
    return chances[:, 0, 0, 5] - chances[:, 1, 1, 7]


def vectors(case: Case, hooks=HOOKS) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the runs have there, and a donor that is some other run's: the pairs in another order."""
    own = dict(baseline(case.model.hooked, case.model.head, case.batch, hooks).vectors)
    return own, {hook: found.roll(1, 0) for hook, found in own.items()}


@pytest.mark.parametrize("kind", ["latent", "text"])
def test_an_estimate_is_the_slope_of_the_patch(kind):
    case = make_case("tiny-float64", kind)
    model, head, batch = case.model.hooked, case.model.head, case.batch
    own, donor = vectors(case)
    estimates = attribute(model, head, batch, donor, measure)

    def moved(hook: str, layer: int, site: int, part: int, share: float) -> Tensor:
        between = own[hook] + share * (donor[hook] - own[hook])
        return measure(rollout(model, head, batch, [write_at(batch, between, layer, (site,), hook, part)]).logits)

    nothing = 0
    for hook, found in estimates.items():
        assert found.shape == (batch.size, *own[hook].shape[2:5])
        for layer, site in ((0, 0), (1, 1), (1, len(batch.sites) - 1), (2, 2)):
            for part in (0, found.shape[3] - 1):
                slope = (moved(hook, layer, site, part, STEP) - moved(hook, layer, site, part, -STEP)) / (2 * STEP)
                torch.testing.assert_close(found[:, layer, site, part], slope, rtol=1e-5, atol=1e-7)
                nothing += not slope.any()
    assert nothing < 6  # structural zeros: most of the cells that are compared move something
    last = len(batch.sites) - 1
    slope = (moved("z", 1, last, 0, STEP) - moved("z", 1, last, 0, -STEP)) / (2 * STEP)
    with pytest.raises(AssertionError):  # another head must be noticed
        torch.testing.assert_close(estimates["z"][:, 1, last, 1], slope, rtol=1e-5, atol=1e-7)


def test_gradients_are_kept_where_they_are_asked_for_alone():
    case = make_case("tiny-float64", "latent")
    write = Write(1, case.batch.columns, case.donor[:, :, 1])
    assert not rollout(case.model.hooked, case.model.head, case.batch, [write]).logits.requires_grad
    asked = Write(1, case.batch.columns, case.donor[:, :, 1].clone().requires_grad_())
    assert rollout(case.model.hooked, case.model.head, case.batch, [asked]).logits.requires_grad


@pytest.mark.parametrize("kind", ["latent", "text"])
def test_what_is_added_is_added(kind):
    case = make_case("tiny-float64", kind)
    model, head, batch, own = case.model.hooked, case.model.head, case.batch, case.unpatched.resid
    added = Write(1, batch.columns, (case.donor - own)[:, :, 1], added=True)
    written = Write(1, batch.columns, case.donor[:, :, 1])
    if kind == "latent":  # a thought that is written changes what the next one has there, to which is added
        added, written = (
            Write(each.layer, each.columns[:, :, -1:], each.source[:, :, -1:], added=each.added)
            for each in (added, written)
        )
    found, expected = (rollout(model, head, batch, [each]).logits for each in (added, written))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert not torch.equal(found, case.unpatched.logits)


@pytest.mark.parametrize("kind", ["latent", "text"])
@pytest.mark.parametrize("name", ["tiny-float64", "demo-float64"])
def test_the_memory_that_is_planned_suffices(kind, name):
    case = make_case(name, kind)
    _, donor = vectors(case, ("z",))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights: Any = [*case.model.hooked.parameters(), *case.model.hooked.buffers()]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        attribute(case.model.hooked, case.model.head, case.batch, donor, measure)
    held = sum(kept.values()) - sum(kept.get(each.untyped_storage().data_ptr(), 0) for each in weights)
    planned = case.batch.size * bytes_of_gradients(case.model.hooked, case.batch, ("z",))
    assert held <= planned <= 3 * held, (held, planned)
