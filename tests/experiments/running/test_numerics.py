"""The fast engine is held to plain hooks as strictly as rounding on the model at hand allows, and not more strictly."""

import copy
from collections.abc import Callable

import pyarrow as pa
import pytest
import torch
from helpers import assert_same
from models_under_test import DEEP, KINDS, PAIRS, Case, make_case, model_under_test
from torch import Tensor

from mechpatch.errors import NumericsError
from mechpatch.experiments.running import numerics
from mechpatch.experiments.running.finite import Written
from mechpatch.experiments.running.numerics import EngineCheck, Rounding, drowned
from mechpatch.patching import Outcome, engine, reference, rollout
from mechpatch.patching.patch import Patch
from mechpatch.patching.rounding import LEAST, moved_input
from mechpatch.patching.wide import rollout_wide

CELLS = [Patch(0, (0,)), Patch(3, (2,)), Patch(1, (1, 2, 3)), Patch(2, (7,), width=2)]


def compare(check: EngineCheck, case: Case, patch: Patch, change: Callable[[Tensor], Tensor] = lambda logits: logits):
    """Hold one patch of the fast engine, whose logits are changed, to plain hooks."""
    base = engine.base_run(case.model.hooked, case.model.head, case.batch)
    ((_, outcome),) = engine.sweep(base, case.donor, [patch])
    written = Written(patch, case.donor[:, :, patch.layers.start : patch.layers.stop, list(patch.sites)])
    names = [pair.pair_id for pair in PAIRS]
    check.compare(case.batch, case.layouts, names, written, change(outcome.logits), "here")


@pytest.mark.parametrize("name", [*DEEP, "tiny-float32"])
def test_what_rounding_does_to_plain_runs_it_may_do_to_the_engine(name: str):
    case = make_case(name, "latent")
    check = EngineCheck(model=case.model, seed=0)
    for patch in CELLS if name in DEEP else CELLS[:1]:
        compare(check, case, patch)
    assert check.found is not None
    assert check.found.cells == (len(CELLS) if name in DEEP else 1)
    fixed = LEAST[case.unpatched.logits.dtype] * case.unpatched.logits.abs().max().item()
    # Without the noise floor, the deep model would be refused in float32: no fixed number fits every model.
    assert (check.difference > fixed) == (name == "deep-float32")
    assert 0 < check.difference <= 20 * check.found.floor


def test_equal_seeds_measure_equal_floors():
    case = make_case("deep-float32", "latent")
    checks = [EngineCheck(model=case.model, seed=seed) for seed in (3, 3, *range(4, 12))]
    for check in checks:
        compare(check, case, CELLS[0])
    assert checks[0].floor == checks[1].floor
    # A floor is the largest of several differences, and the one that no seed decides may be it for some seeds.
    assert len({check.floor for check in checks}) > 1


@pytest.mark.parametrize("name", ["deep-float32", "tiny-float64"])
def test_float64_says_that_the_engine_is_wrong(name: str):
    case = make_case(name, "latent")

    def wrong(logits: Tensor) -> Tensor:
        logits = logits.clone()
        logits[1, 0, 0, 5] += 0.25
        return logits

    message = (
        r"pair 'prefix-answer', here: the fast engine is wrong by 2.5e-01 in a logit \(.*float64 gives .*\); rounding"
    )
    with pytest.raises(NumericsError, match=message):
        compare(EngineCheck(model=case.model, seed=0), case, CELLS[0], wrong)


def test_float64_says_that_plain_hooks_are_wrong(monkeypatch: pytest.MonkeyPatch):
    case = make_case("deep-float32", "latent")

    def wrong(*given: object) -> Outcome:
        outcome = rollout(*given)  # pyright: ignore[reportArgumentType]
        return Outcome(outcome.logits + 0.25, outcome.vectors)

    monkeypatch.setattr(numerics, "rollout", wrong)
    with pytest.raises(
        NumericsError, match=r"plain hooks are wrong by 2.5e-01 in a logit .* Look for hooks that were left"
    ):
        compare(EngineCheck(model=case.model, seed=0), case, CELLS[0])


def test_a_pair_is_held_to_its_own_floor_and_then_to_float64(monkeypatch: pytest.MonkeyPatch):
    """With a floor that was measured far too low, sound cells are still found to be sound, and it is said how."""
    case = make_case("deep-float32", "latent")
    check = EngineCheck(model=case.model, seed=0, floor=0.0)
    compare(check, case, CELLS[0])
    assert not check.refereed
    # How far two sound computations lie apart depends on the machine, so here nothing at all is allowed to rounding.
    monkeypatch.setattr(numerics, "tolerance", lambda dtype, largest, floor: 0.0)
    monkeypatch.setattr(numerics, "NEAR", 100.0)
    compare(check, case, CELLS[0], lambda logits: logits + 1e-4)
    assert check.refereed == [f"pair {pair.pair_id!r}, here" for pair in PAIRS]
    assert f"float64 was asked about {len(PAIRS)} of them" in str(check.found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wide_run_is_that_of_a_float64_model(kind: str, monkeypatch: pytest.MonkeyPatch):
    narrow, exact = make_case("tiny-float32", kind), make_case("tiny-float64", kind)
    hooked = exact.model.hooked
    for block, own in zip(hooked.blocks, narrow.model.hooked.blocks, strict=True):  # tables are rounded to the dtype
        for name in ("rotary_cos", "rotary_sin"):
            monkeypatch.setitem(block.attn._buffers, name, getattr(own.attn, name).double())
    patch = Patch(1, (0, 1), width=2)
    vectors = narrow.donor[:, :, 1:3, :2]
    found = rollout_wide(
        narrow.model.hooked, narrow.model.head, narrow.batch, Written(patch, vectors).writes(narrow.batch)
    )
    head = copy.deepcopy(narrow.model.head)
    assert head is not None
    head = head.double()
    ((_, expected),) = reference.sweep(hooked, head, exact.batch, narrow.donor.double(), [patch])
    assert_same(found, expected.logits)
    assert not torch.equal(found.float(), exact.unpatched.logits.float())  # the patch was felt
    assert {weight.dtype for weight in narrow.model.hooked.parameters()} == {torch.float32}
    assert narrow.model.hooked.cfg.dtype == torch.float32


def test_moved_input_moves_every_number_by_one_unit_in_the_last_place():
    model = model_under_test("tiny-float32").hooked
    tokens = torch.arange(20)[None]
    before = model.embed(tokens)
    with moved_input(model, 0):
        moved, again = model.embed(tokens), model.embed(tokens)
    assert torch.equal(model.embed(tokens), before)
    up, down = (torch.nextafter(before, torch.full_like(before, far)) for far in (torch.inf, -torch.inf))
    assert bool(((moved == up) | (moved == down)).all())
    assert 0.4 < (moved == up).float().mean() < 0.6
    assert not torch.equal(moved, again)  # each embedding has its own draw


def records(*gaps: float) -> pa.Table:
    size = range(len(gaps))
    clean, corrupted = [0.5 * gap for gap in gaps], [-0.5 * gap for gap in gaps]
    runs = {"answer_logprob_diff_clean_run": clean, "answer_logprob_diff_corrupted_run": corrupted}
    return pa.table({"pair_index": [*size, *size], **{name: 2 * values for name, values in runs.items()}})


def test_effects_that_drown_in_rounding_are_warned_of():
    assert not drowned(records(3.1, 0.1, 9.0), "float32", 0.3)
    assert "run with --dtype float64" in drowned(records(2.9, 0.1, 9.0), "float32", 0.3)
    assert "median of the pairs); no dtype is wider" in drowned(records(2.9), "float64", 0.3)
    rounding = Rounding("float32", 0.05, 0.3, 6)
    assert rounding.largest == 0.3
    assert "differ by 5.0e-02 in a logit; engine and plain hooks by at most 3.0e-01, in 6 cells" in str(rounding)


def test_parts_of_a_run_are_told_together():
    parts = Rounding("float32", 1e-4, 3e-4, 6, ("one",)), Rounding("float32", 2e-4, 1e-4, 3, ("two",))
    whole = parts[0].joined(parts[1])
    assert whole == Rounding("float32", 2e-4, 3e-4, 9, ("one", "two"))
    assert Rounding.of_json(whole.as_json()) == whole
