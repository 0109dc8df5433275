"""A fault in the fast engine is found whatever rounding does to the model: every fault, at small shapes."""

import pytest
from engine_faults import FAULTS, Remembering, draw, make_cell
from models_under_test import PAIRS, model_under_test

from mechpatch.errors import NumericsError
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.spec import Spec
from mechpatch.patching.patch import Patch

SEEDS = range(2)  # `scripts/planted_faults.py` tries five


@pytest.fixture(scope="module", params=["demo-float32", "deep-float32"])
def check(request: pytest.FixtureRequest) -> Remembering:
    """Of a patch in the first block, at the first two thoughts, so that most of the engine is at work."""
    model = model_under_test(request.param)
    spec = Spec(experiments=("position",))
    return Remembering(make_cell(model, [pair_layouts(model, spec, pair) for pair in PAIRS[:2]], Patch(0, (1, 2))))


def test_the_engine_without_a_fault_is_passed(check: Remembering):
    check.cell.held(check, check.cell.run())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(check: Remembering, name: str, seed: int, monkeypatch: pytest.MonkeyPatch):
    FAULTS[name](monkeypatch, draw(check.cell, seed))
    wrong = check.cell.run()
    monkeypatch.undo()
    assert check.margin(wrong) > 1
    with pytest.raises(NumericsError, match="the fast engine is wrong"):
        check.cell.held(check, wrong)
