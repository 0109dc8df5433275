"""Made-up inputs give a typed error or a right result. `scripts/fault_drill.py --examples` tries many more."""

import time

import pytest
from faults.fuzz import Target, fuzz, in_time, targets
from hypothesis import strategies as st

NAMES = ("files of pairs", "answers", "answers in tokens", "adapter configurations", "base configurations",
         "keys of CODI checkpoints", "command lines")  # fmt: skip


@pytest.fixture(scope="module")
def made(demo_model, tmp_path_factory):
    return targets(demo_model, tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")  # what libraries say of odd files is theirs
def test_a_typed_error_or_a_right_result(made, name):
    target, examples = made[name]
    found = fuzz(target, examples)
    assert found["refused"]
    assert found["kept"]


def test_every_target_is_tried(made):
    assert set(made) == set(NAMES)


def test_a_wrong_result_and_a_hang_would_be_noticed():
    def wrong(number: int) -> str:
        assert number != 7
        return "kept"

    with pytest.raises(AssertionError):
        fuzz(Target(st.integers(0, 9), wrong), 100)
    with pytest.raises(TimeoutError), in_time(1):
        time.sleep(5)
