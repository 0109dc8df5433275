"""Indices are made once for all donors, and anew wherever another donor goes another way."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from helpers import assert_same
from models_under_test import KINDS, Case, make_case
from torch import Tensor

from mechpatch.patching import reference
from mechpatch.patching.engine import planned as indices
from mechpatch.patching.engine import runs as engine
from mechpatch.patching.engine.tree import Tree
from mechpatch.patching.patch import Patch


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest) -> Case:
    return make_case("tiny-float64", request.param)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many patches indices were made for, each time they were."""
    found, real = [], indices.patched_runs

    def count(tree: Tree, patches: Sequence[Patch], *rest: Any) -> object:
        found.append(len(patches))
        return real(tree, patches, *rest)

    monkeypatch.setattr(indices, "patched_runs", count)
    return found


Check = Callable[[engine.BaseRun, Tensor, Sequence[Patch], Mapping[int, int]], None]


@pytest.fixture
def check(case: Case, made: list[int]) -> Check:
    """The base run's patches have the bits of one that remembers nothing, and the numbers of plain hooks."""

    def compare(base: engine.BaseRun, donor: Tensor, patches: Sequence[Patch], handed: Mapping[int, int]) -> None:
        found = [each.logits for _, each in engine.sweep(base, donor, patches, handed=handed)]
        counted = len(made)
        fresh = dataclasses.replace(base, planned={})
        expected = [each.logits for _, each in engine.sweep(fresh, donor, patches, handed=handed)]
        del made[counted:]
        assert all(map(torch.equal, found, expected))
        if not handed:
            plain = reference.sweep(case.model.hooked, case.model.head, case.batch, donor, patches)
            for mine, (_, theirs) in zip(found, plain, strict=True):
                assert_same(mine, theirs.logits)

    return compare


def test_every_donor_has_its_own_numbers_with_indices_that_are_made_once(case: Case, check: Check, made: list[int]):
    base, patches = engine.base_run(case.model.hooked, case.model.head, case.batch), [Patch(0, (1,)), Patch(0, (2,))]
    noise = torch.randn(case.donor[:, :1].shape, dtype=case.donor.dtype).expand_as(case.donor)
    for donor in (case.donor, noise, -noise):
        check(base, donor, patches, {1: 0})
    assert made == [2]
    check(base, noise, patches, {})  # now the second one writes the donor's vector
    check(base, noise, patches[:1], {})
    assert made == [2, 2, 1]


def test_a_donor_that_is_somewhere_the_run_itself_goes_another_way(case: Case, check: Check, made: list[int]):
    base, patches = engine.base_run(case.model.hooked, case.model.head, case.batch), [Patch(0, (1,)), Patch(1, (1,))]
    check(base, case.donor, patches, {})
    partly = case.donor.clone()
    partly[0, :, 0] = base.vectors("resid_post")[0, 0]
    check(base, partly, patches, {})
    check(base, case.donor, patches, {})
    assert made == [2, 2]


def test_indices_that_take_too_much_are_not_kept(
    case: Case, check: Check, made: list[int], monkeypatch: pytest.MonkeyPatch
):
    base, patches = engine.base_run(case.model.hooked, case.model.head, case.batch), [Patch(0, (1,))]
    monkeypatch.setattr(indices, "KEPT", 0)
    check(base, case.donor, patches, {})
    check(base, case.donor, patches, {})
    assert made == [1, 1]
    assert not base.planned
    monkeypatch.setattr(indices, "KEPT", 2**20)
    check(base, case.donor, patches, {})
    [kept] = base.planned.values()
    assert kept.nbytes > 8 * len(kept.runs.pair)
