"""Questions that stand alone: which answer of a file is the right one, and what counts as giving it."""

import json

import pytest

from mechpatch.pairs import PairFileError
from mechpatch.pairs.problems import gives, read_problems, read_questions


@pytest.mark.parametrize(
    ("said", "answer", "right"),
    [
        ("18", "18", True),
        (" $1,800 in all", "1800", True),
        ("18.", "18", True),
        ("18.0", "18", True),
        ("−3", "-3", True),
        ("18.5", "18", False),
        ("1,800", "18", False),
        ("180", "18", False),
        ("18,5", "18", False),
        ("-3", "3", False),
        ("the answer 18", "18", False),
        ("", "18", False),
        ("Ann, I think", "Ann", True),
        ("Annabel", "Ann", False),
        ("ann", "Ann", False),
        ("Alex is a bompus.", "Alex is a bompus.", True),
        ("Alex is a bompus", "Alex is a bompus.", False),
    ],
)
def test_an_answer_is_given_where_the_text_opens_with_it_and_does_not_prolong_it(said, answer, right):
    assert gives(said, answer) is right


def test_the_right_answer_is_what_follows_the_last_mark_or_all(tmp_path):
    gsm, prosqa = {"question": "q 1", "answer": "a #### b\n#### 1,800 "}, {"question": "q 2", "answer": "Ann is a cat."}
    (tmp_path / "list.json").write_text(json.dumps([gsm, prosqa]), encoding="utf-8")
    (tmp_path / "lines.jsonl").write_text(f"{json.dumps(gsm)}\n{json.dumps(prosqa)}", encoding="utf-8")
    for name in ("list.json", "lines.jsonl"):
        assert read_questions(tmp_path / name) == [("q 1", "1,800"), ("q 2", "Ann is a cat.")]
        assert read_problems(tmp_path / name)[0] == ("q 1", "a #### b\n#### 1,800 ")


def test_every_fault_is_named(tmp_path):
    items = [{"question": "q", "answer": "reasoning ####"}, {"answer": "3"}, {"question": "q", "answer": "two\nlines"}]
    (tmp_path / "bad.json").write_text(json.dumps(items), encoding="utf-8")
    with pytest.raises(PairFileError) as error:
        read_questions(tmp_path / "bad.json")
    assert [(fault.index, fault.field) for fault in error.value.faults] == [
        ("item 0", "answer"), ("item 1", "question"), ("item 2", "answer"),
    ]  # fmt: skip
    assert "expected one line, or GSM8K's reasoning with ####" in str(error.value)
