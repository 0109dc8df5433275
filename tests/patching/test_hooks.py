"""The hooks by themselves, in plain transformer-lens runs; nothing else of mechpatch is needed to use them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_under_test import model_under_test
from torch import Tensor
from transformer_lens import HookedTransformer
from transformer_lens.hook_points import HookPoint

import mechpatch
from mechpatch.patching import (
    Hook,
    capture,
    chain,
    edit_position,
    edit_positions,
    is_last_pass,
    patch_position,
    patch_positions,
)

NAME = "blocks.1.hook_resid_post"
TOKENS = torch.tensor([[1, 9, 5, 7, 3], [1, 4, 4, 8, 2]])
RESID = torch.arange(2 * 5 * 4, dtype=torch.float32).view(2, 5, 4)
HEADS = torch.arange(2 * 5 * 3 * 4, dtype=torch.float32).view(2, 5, 3, 4)


@pytest.fixture(scope="module")
def model() -> HookedTransformer:
    return model_under_test("tiny-float64").hooked


def source(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_one_neuron_is_written_edited_and_read(model: HookedTransformer):
    """Its vector is one number, [1]; the other neurons keep theirs, and all at once are written without a name."""
    name, found = "blocks.1.mlp.hook_post", list[Tensor]()
    width, value = int(model.cfg.d_mlp or 0), source(2, 1, dtype=torch.float64)
    _, cache = model.run_with_cache(TOKENS)
    whole = cache[name][:, 3].clone()
    whole[:, 5:6] = value
    expected = model.run_with_hooks(TOKENS, fwd_hooks=[(name, patch_position(3, whole))])
    writes = patch_position(3, value, neuron=5), edit_position(3, lambda there: 0 * there + value, neuron=5)
    for write in writes:
        both = chain(write, capture([3], found, neuron=5))
        assert torch.equal(model.run_with_hooks(TOKENS, fwd_hooks=[(name, both)]), expected)
        assert torch.equal(found.pop(), value[:, None])
    assert not torch.equal(
        model.run_with_hooks(TOKENS, fwd_hooks=[(name, patch_position(3, value, neuron=6))]), expected
    )
    for wrong, place, problem in (
        ({"neuron": width}, name, f"`neuron` is {width}, but the activation has neurons 0 to {width - 1}"),
        ({"neuron": 1}, NAME, "`neuron` is 1, but the activation has no axis of neurons"),
        ({"head": 1}, name, "`head` is 1, but the activation has no axis of heads"),
        ({"head": 1, "neuron": 1}, name, "no hook point has both"),
    ):
        with pytest.raises(ValueError, match=problem):
            model.run_with_hooks(TOKENS, fwd_hooks=[(place, patch_position(3, value, **wrong))])


def test_a_plain_run_takes_the_hook(model: HookedTransformer):
    vector = source(2, 32, dtype=torch.float64)

    def by_hand(resid: Tensor, hook: HookPoint) -> Tensor:
        return torch.cat([resid[:, :3], vector[:, None], resid[:, 4:]], dim=1)

    expected = model.run_with_hooks(TOKENS, fwd_hooks=[(NAME, by_hand)])
    assert torch.equal(model.run_with_hooks(TOKENS, fwd_hooks=[(NAME, patch_position(3, vector))]), expected)
    assert not torch.equal(model.run_with_hooks(TOKENS, fwd_hooks=[(NAME, patch_position(2, vector))]), expected)
    assert not torch.equal(model(TOKENS), expected)  # and no hook is left behind


def test_one_position_for_each_row():
    vector = source(2, 4)
    patched = patch_position(torch.tensor([1, 4]), vector)(RESID, None)
    assert torch.equal(patched[0, 1], vector[0])
    assert torch.equal(patched[1, 4], vector[1])
    assert (patched != RESID).any(-1).tolist() == [[0, 1, 0, 0, 0], [0, 0, 0, 0, 1]]


def test_several_positions_of_each_row():
    vectors, positions = source(2, 2, 4), torch.tensor([[0, 3], [4, 2]])
    patched = patch_positions(positions, vectors)(RESID, None)
    for row in range(2):
        for site in range(2):
            assert torch.equal(patched[row, positions[row, site]], vectors[row, site])
    assert (patched != RESID).any(-1).sum() == 4


def test_negative_positions_count_from_the_end():
    vector = source(2, 4)
    assert torch.equal(patch_position(-2, vector)(RESID, None), patch_position(3, vector)(RESID, None))
    mixed = patch_position(torch.tensor([-5, 4]), vector)(RESID, None)
    assert torch.equal(mixed, patch_position(torch.tensor([0, -1]), vector)(RESID, None))


def test_the_input_is_never_written_to(model: HookedTransformer):
    vector, before = source(2, 4), RESID.clone()
    patched = patch_position(2, vector)(RESID, None)
    assert torch.equal(RESID, before)
    patched.zero_()
    assert torch.equal(RESID, before)
    seen: list[Tensor] = []

    def alias(resid: Tensor, hook: HookPoint) -> None:
        seen.append(resid)  # as transformer-lens' activation cache does

    _, cache = model.run_with_cache(TOKENS)
    wide = source(2, 32, dtype=torch.float64)
    model.run_with_hooks(TOKENS, fwd_hooks=[(NAME, alias), (NAME, patch_position(2, wide))])
    assert torch.equal(seen[0], cache[NAME])
    assert not torch.equal(seen[0][:, 2], wide)


def test_capture_copies_and_changes_nothing(model: HookedTransformer):
    positions, found = torch.tensor([[0, 3], [4, -1]]), []
    assert capture(positions, found)(RESID, None) is RESID
    assert torch.equal(found[0], torch.stack([RESID[0, [0, 3]], RESID[1, [4, 4]]]))
    found[0].zero_()
    assert RESID[1].all()
    vector, into = source(2, 32, dtype=torch.float64), []
    both = chain(patch_position(3, vector), capture(torch.tensor([[3], [3]]), into))
    model.run_with_hooks(TOKENS, fwd_hooks=[(NAME, both)])
    assert torch.equal(into[0][:, 0], vector)


def test_chain_goes_left_to_right():
    first, second = (patch_position(1, source(2, 4, seed=seed)) for seed in (1, 2))
    assert torch.equal(chain(first, second)(RESID, None), second(RESID, None))
    assert torch.equal(chain(second, first)(RESID, None), first(RESID, None))
    assert not torch.equal(first(RESID, None), second(RESID, None))
    assert chain()(RESID, None) is RESID
    assert isinstance(chain(), Hook)


@pytest.mark.parametrize("head", [None, 1])
def test_vectors_and_heads(head: int | None):
    """Lists and tensors of positions, sources with and without rows, of all heads or one; edits of what is there."""
    shape, sites = ((3, 4) if head is None else (4,)), [3, -5]
    index = (slice(None), slice(None)) if head is None else (slice(None), head)

    def by_hand(vectors: Tensor) -> Tensor:
        expected = HEADS.clone()
        for site, position in enumerate(sites):
            expected[:, position][index] = vectors[:, site]
        return expected

    each, same = source(2, 2, *shape), source(2, *shape)
    positions = torch.tensor([sites] * 2)
    for places in (sites, positions):
        assert torch.equal(patch_positions(places, each, head=head)(HEADS, None), by_hand(each))
        doubled = edit_positions(places, lambda there: there.mul_(2), head=head)(HEADS, None)
        there = torch.stack([HEADS[:, position][index] for position in sites], dim=1)
        assert torch.equal(doubled, by_hand(2 * there))
        found: list[Tensor] = []
        assert capture(places, found, head=head)(HEADS, None) is HEADS
        assert torch.equal(found[0], there)
    assert torch.equal(patch_positions(sites, same, head=head)(HEADS, None), by_hand(same.expand(2, *same.shape)))
    first, second = (patch_position(position, same[i], head=head) for i, position in enumerate(sites))
    assert torch.equal(chain(first, second)(HEADS, None), by_hand(same.expand(2, *same.shape)))
    first, second = (edit_position(at, lambda there: there + 1, head=head) for at in (sites[0], torch.tensor([0, 0])))
    assert torch.equal(chain(first, second)(HEADS, None), by_hand(there + 1))


def test_in_a_chain_one_that_returns_nothing_reads():
    seen: list[Tensor] = []
    vector = source(2, 4)
    both = chain(patch_position(1, vector), lambda activation, hook: seen.append(activation))
    assert torch.equal(both(RESID, None), seen[0])
    assert torch.equal(seen[0][:, 1], vector)
    assert is_last_pass()


def test_a_pattern_has_no_positions(model: HookedTransformer):
    with pytest.raises(ValueError, match=r"hook_pattern is \[row, head, query, key\], expected \[row, position"):
        model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.0.attn.hook_pattern", capture([0], []))])


@given(st.permutations(range(5)), st.integers(0, 5))
@settings(max_examples=20)
def test_patches_at_distinct_positions_commute(order: list[int], count: int):
    hooks = [patch_position(position, source(2, 4, seed=position)) for position in range(5)]
    expected = chain(*(hooks[position] for position in sorted(order[:count])))(RESID, None)
    assert torch.equal(chain(*(hooks[position] for position in order[:count]))(RESID, None), expected)
    positions = torch.tensor([order[:count]] * 2, dtype=torch.int64)
    vectors = torch.stack([source(2, 4, seed=seed) for seed in order], dim=1)[:, :count]
    assert torch.equal(patch_positions(positions, vectors)(RESID, None), expected)


# What is done wrong, and what the error must name.
FAULTS: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "past the end": (
        lambda: patch_position(5, source(2, 4))(RESID, None),
        ("ValueError", "`position` runs from 5 to 5", "5 positions"),
    ),
    "before the start": (
        lambda: patch_positions(torch.tensor([[0], [-6]]), source(2, 1, 4))(RESID, None),
        ("ValueError", "`position` runs from -6 to 0", "5 positions"),
    ),
    "capture past the end": (
        lambda: capture(torch.tensor([[0], [7]]), [])(RESID, None),
        ("ValueError", "`position` runs from 0 to 7", "5 positions"),
    ),
    "wrong width": (
        lambda: patch_position(1, source(2, 3))(RESID, None),
        ("ValueError", "axis `d_model` of `source` is 3", "activation has 4"),
    ),
    "wrong number of rows": (
        lambda: patch_position(1, source(1, 4))(RESID, None),
        ("ValueError", "axis `row` of `source` is 1", "activation has 2"),
    ),
    "capture of a wrong number of rows": (
        lambda: capture(torch.tensor([[1]]), [])(RESID, None),
        ("ValueError", "axis `row` is 1", "activation has 2"),
    ),
    "other precision": (
        lambda: patch_position(1, source(2, 4, dtype=torch.float64))(RESID, None),
        ("ValueError", "`source` is torch.float64", "activation is torch.float32"),
    ),
    "integers": (
        lambda: patch_position(1, torch.ones(2, 4, dtype=torch.int64)),
        ("TypeCheckError", "'source'", "row *vector"),
    ),
    "rows of positions and source differ": (
        lambda: patch_position(torch.tensor([1, 2, 3]), source(2, 4)),
        ("TypeCheckError", "'source'", "row *vector"),
    ),
    "sites of positions and source differ": (
        lambda: patch_positions(torch.tensor([[1, 2], [1, 2]]), source(2, 3, 4)),
        ("TypeCheckError", "'source'", "row site *vector"),
    ),
    "no site axis": (
        lambda: patch_positions(torch.tensor([1, 2]), source(2, 4)),
        ("TypeCheckError", "'positions'", "row site"),
    ),
    "fractional positions": (
        lambda: patch_positions(torch.tensor([[1.0], [2.0]]), source(2, 1, 4)),
        ("TypeCheckError", "'positions'", "row site"),
    ),
    "a stream of one row": (
        lambda: patch_position(1, source(2, 4))(RESID[0], None),
        ("TypeCheckError", "'activation'", "row position d_model"),
    ),
    "a site in a plain run": (
        lambda: patch_position("t2", source(2, 4))(RESID, None),
        ("ValueError", "site 't2' has a position only where", "run_with_hooks of a ThoughtModel"),
    ),
    "a vector of fewer axes": (
        lambda: patch_position(1, source(4))(HEADS, None),
        ("ValueError", "`source` is [4]", "[row, site, head, d_head] = [2, 1, 3, 4]; `row` may be left out"),
    ),
    "sites of a list and source differ": (
        lambda: patch_positions([1, 2, 3], source(2, 2, 4))(RESID, None),
        ("ValueError", "axis `site` of `source` is 2", "there are 3"),
    ),
    "a head where there is none": (
        lambda: edit_position(1, torch.sin, head=0)(RESID, None),
        ("ValueError", "`head` is 0", "no axis of heads"),
    ),
    "no such head": (
        lambda: capture([1], [], head=3)(HEADS, None),
        ("ValueError", "`head` is 3", "heads 0 to 2"),
    ),
    "an edit of another shape": (
        lambda: edit_position(1, lambda there: there[:, :2])(RESID, None),
        ("ValueError", "`function` returned [2, 2] of torch.float32", "expected [2, 4] of torch.float32"),
    ),
    "an edit of another dtype": (
        lambda: edit_positions([1, 2], torch.Tensor.double)(RESID, None),
        ("ValueError", "`function` returned [2, 2, 4] of torch.float64", "expected [2, 2, 4] of torch.float32"),
    ),
    "an edit that returns nothing": (
        lambda: edit_position(1, lambda there: None)(RESID, None),  # pyright: ignore
        ("ValueError", "`function` returned None", "expected [2, 4]"),
    ),
}


def messages() -> dict[str, str]:
    """Class and text of what each fault raises."""
    found = {}
    for name, (fault, _) in FAULTS.items():
        try:
            fault()
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


@pytest.fixture(scope="module", params=["under the checker of the tests", "as installed"])
def raised(request: pytest.FixtureRequest) -> dict[str, str]:
    """`messages`, here and in a fresh process that pytest does not instrument."""
    if request.param != "as installed":
        return messages()
    folders = [Path(__file__).parent, Path(__file__).parents[1] / "support", Path(mechpatch.__file__ or "").parents[1]]
    child = "import json, sys, test_hooks; json.dump(test_hooks.messages(), sys.stdout)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_refused_and_named(raised: dict[str, str], name: str):
    for part in FAULTS[name][1]:
        assert part in raised[name]


def test_a_message_names_the_hook_point(model: HookedTransformer):
    with pytest.raises(ValueError, match=r"blocks\.1\.hook_resid_post: `position` runs from 5"):
        model.run_with_hooks(TOKENS, fwd_hooks=[(NAME, patch_position(5, source(2, 32, dtype=torch.float64)))])
