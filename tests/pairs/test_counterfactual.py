"""The answer that a question would have if one step had another value, or nothing where nobody can tell."""

import pytest

from mechpatch.pairs import Side
from mechpatch.pairs.counterfactual import answer_with, given_answers, step_values


def side(cot: str, answer: str, question: str = "Sam has boxes.", **fields: object) -> Side:
    return Side(question, answer, cot, fields)


@pytest.mark.parametrize(
    ("cot", "answer", "step", "value", "found"),
    [
        ("<<6*4=24>><<24+9=33>>", "33", 0, "30", "39"),
        ("<<6*4=24>><<24+9=33>>", "33", 1, "40", "40"),  # the last step is the answer
        ("<<6*4=24>><<5*7=35>><<24+35=59>>", "59", 1, "5", "29"),
        ("<<6*4=24>><<24*3=72>><<72-24=48>>", "48", 0, "10", "20"),  # two steps use the first
        ("<<6*4=24>><<24/9=8/3>>", "8/3", 0, "30", None),  # no result that can be read
        ("<<6*4=24>><<48/24=2>>", "2", 0, "0", None),  # divides by zero
        ("<<6*4=24>><<48/24=2>>", "2", 0, "32", None),  # 3/2 is no whole number
        ("<<6*4=24>><<3*8=24>><<24+5=29>>", "29", 0, "9", None),  # two steps are 24
        ("<<6*4=24>><<24+24=48>>", "48", 0, "9", None),  # the step twice, or once
        ("<<6*4=24>><<24+9=32>>", "32", 0, "9", None),  # does not compute
        ("<<6*4=24>><<24+9=33>>", "34", 0, "9", None),  # the last result is not the answer
        ("no calculation", "33", 0, "9", None),
    ],
)
def test_the_rest_of_the_chain_is_computed_anew(cot: str, answer: str, step: int, value: str, found: str | None):
    assert answer_with(side(cot, answer), step, value) == found


@pytest.mark.parametrize("question", ["Sam has 24 boxes.", "Sam has twenty four boxes."])
def test_a_number_of_the_question_is_not_taken_for_a_step(question: str):
    assert answer_with(side("<<6*4=24>><<24+9=33>>", "33", question), 0, "30") is None
    assert answer_with(side("<<6*4=24>><<24+9=33>>", "33", "Sam has 25 boxes."), 0, "30") == "39"


def test_step_values_are_the_field_or_the_results():
    assert step_values(side("<<6*4=24>><<24+9=33>>", "33")) == ("24", "33")
    assert step_values(side("", "Eva", values=["Tom", "Eva"])) == ("Tom", "Eva")
    assert answer_with(side("", "Eva", values=["Tom", "Eva"]), 1, "Max") == "Max"
    assert answer_with(side("", "Eva", values=["Tom", "Eva"]), 0, "Max") is None
    assert step_values(side("", "33")) == ()


def test_expected_answers_are_an_object_of_answers():
    assert given_answers({"expected": {"t0": 39, "t1": "Eva "}}) == {"t0": "39", "t1": "Eva"}
    assert given_answers({}) == {}
    for wrong in (["39"], {"t0": [39]}, {"t0": ""}):
        with pytest.raises(ValueError, match=r"expected|blank"):
            given_answers({"expected": wrong})
