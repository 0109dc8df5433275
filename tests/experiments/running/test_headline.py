"""What the log says of one pair."""

import pytest
from records import make_records, planted

from mechpatch.experiments.running.headline import headline

P = "paired"


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_the_cell_that_is_named_is_the_one_that_moved(direction: str):
    """With corrupted vectors in the clean run recovery is 1 where nothing moved."""
    effects = {("position", direction, P, 1, "t0"): [0.0], ("position", direction, P, 2, "t1"): [0.8]}
    found = headline(planted(effects))
    assert found == {
        "pair_id": "pair-000",
        "both_correct": True,
        "cell": "position:2:t1" + (":noise" if direction == "noise" else ""),
        "switched": True,
        "effect": 0.8,
        "recovery": 0.8 if direction == "denoise" else 0.2,
    }


def test_a_switch_comes_before_a_larger_effect_that_gives_neither():
    here = ("position", "denoise", P, 1, "t0")
    effects = {here: [2.0], ("position", "denoise", P, 1, "t1"): [0.6]}
    assert headline(planted(effects, neither=[(*here, 0)]))["cell"] == "position:1:t1"


def test_thoughts_come_before_landmarks_and_position_before_others():
    effects = {
        ("layer", "denoise", P, 1, "all"): [0.9],
        ("position", "denoise", P, 1, "answer"): [1.0],
        ("position", "denoise", P, 1, "t0"): [0.2],
        ("position", "denoise", "gaussian", 1, "t0"): [0.9],
    }
    found = headline(planted(effects))
    assert (found["cell"], found["switched"]) == ("position:1:t0", False)
    landmark = {key: value for key, value in effects.items() if key[4] == "answer"}
    assert headline(planted(landmark))["cell"] == "position:1:answer"


def test_a_pair_that_is_wrong_or_cannot_move_claims_no_switch():
    wrong = headline(make_records(pairs=1, incorrect=1, layers=2, experiments=("position",)))
    assert (wrong["both_correct"], "switched" in wrong) == (False, False)
    here = ("position", "denoise", P, 1, "t0")
    assert headline(planted({here: [0.0]}, structural=[here])) == {"pair_id": "pair-000", "both_correct": True}


def test_a_pair_with_one_answer_in_two_writings_cannot_switch():
    table = planted({("position", "denoise", P, 1, "t0"): [0.8]})
    at, answer = table.column_names.index("corrupted_answer"), table["clean_answer"][0].as_py()
    assert "switched" not in headline(table.set_column(at, "corrupted_answer", [[f"{answer}.0"] * table.num_rows]))
