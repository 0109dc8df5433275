"""A recording put into any batch is the run of that batch, to the bit of the recording."""

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from helpers import assert_same
from models_under_test import KINDS, Case, make_case

from mechpatch.patching import collate, engine, reference
from mechpatch.patching.engine.recording import Recording, record, recorded_shapes, replay, stack_logits, stack_vectors
from mechpatch.patching.patch import Patch
from mechpatch.points import POINTS


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest) -> Case:
    return make_case("tiny-float64", request.param)


def recordings(case: Case, hooks: Sequence[str] = ()) -> list[Recording]:
    """Each question recorded beside another than those of its batch."""
    alone = [record(case.model.hooked, case.model.head, [layout], hooks) for layout in case.layouts]
    return [kept for kept, *_ in alone]


def test_a_replay_is_the_base_run(case: Case):
    kept = recordings(case)
    base = replay(case.model.hooked, case.model.head, case.batch, kept)
    assert_same(base.logits, case.unpatched.logits)
    assert_same(base.outcome.resid, case.unpatched.resid)
    for row, each in enumerate(kept):
        assert torch.equal(base.outcome.resid[row, 0], each.vectors())
        assert torch.equal(base.logits[row, :, : each.logits.shape[1]], each.logits)
    assert torch.equal(stack_vectors(kept), base.outcome.resid)
    assert torch.equal(stack_logits(kept, case.batch), base.logits)


def test_patches_of_a_replay_are_the_reference(case: Case):
    patches = [Patch(layer, (site,)) for layer in range(2) for site in range(len(case.batch.sites))]
    base = replay(case.model.hooked, case.model.head, case.batch, recordings(case))
    for (_, found), expected in zip(
        engine.sweep(base, case.donor, patches), case.sweep(case.donor, patches), strict=True
    ):
        assert_same(found.logits, expected.logits)
    kept = recordings(case)
    wrong = [dataclasses.replace(each, cache=each.cache.roll(1, dims=3)) for each in kept]  # one token too late
    base = replay(case.model.hooked, case.model.head, case.batch, wrong)
    (_, found), *_ = engine.sweep(base, case.donor, patches[:1])
    with pytest.raises(AssertionError):
        assert_same(found.logits, case.sweep(case.donor, patches[:1])[0].logits)


def test_hook_points_are_recorded_where_they_are_asked_for(case: Case):
    hooks = [hook for hook, point in POINTS.items() if point.hooks or case.batch.n_latents]
    own = reference.baseline(case.model.hooked, case.model.head, case.batch, hooks).vectors
    kept = recordings(case, hooks)
    base = replay(case.model.hooked, case.model.head, case.batch, kept)
    for hook in hooks:
        assert_same(stack_vectors(kept, hook), own[hook])
        assert torch.equal(base.outcome.vectors[hook], stack_vectors(kept, hook))
    assert not recordings(case)[0].points  # and nowhere else
    again = [Recording.of(each.tensors()) for each in kept]
    assert all(torch.equal(stack_vectors(again, hook), stack_vectors(kept, hook)) for hook in hooks)
    patch = Patch(1, (1,), head=1)
    ((_, found),) = engine.sweep(base, own["z"].roll(1, dims=3), [patch], hook="z")
    shifted = own["z"].roll(1, dims=3)
    ((_, plain),) = reference.sweep(case.model.hooked, case.model.head, case.batch, shifted, [patch], "z")
    assert_same(found.logits, plain.logits)
    assert not torch.equal(found.logits, base.logits)


@pytest.mark.parametrize("hooks", [(), ("kv", "resid_pre", "z")])
def test_shapes_are_known_before_anything_runs(case: Case, hooks: tuple[str, ...]):
    shapes = recorded_shapes(case.model.hooked, case.layouts, hooks)
    kept = record(case.model.hooked, case.model.head, case.layouts, hooks)
    for expected, each in zip(shapes, kept, strict=True):
        assert expected == {name: tuple(tensor.shape) for name, tensor in each.tensors().items()}
    assert [name for name in shapes[0] if "." in name] == ["points.z", "points.kv"][: len(hooks)]


def test_pairs_recorded_together_are_those_recorded_alone(case: Case):
    together = record(case.model.hooked, case.model.head, case.layouts)
    for found, expected in zip(together, recordings(case), strict=True):
        assert_same(found.cache, expected.cache)
        assert_same(found.stream, expected.stream)
        assert_same(found.logits[:, : expected.logits.shape[1]], expected.logits)
    assert collate(case.layouts).size == len(together)
