import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mechpatch.cli import app
from mechpatch.errors import PairError
from mechpatch.pairs import load_pairs
from mechpatch.pairs.templates import fill_templates, read_templates

NAMES = ["Mary", "John", "Ann Lee"]
BALL = {
    "name": "ball", "question": "{a} gives the ball to {b}. Who has it?", "answer": "{b}",
    "slots": {"a": NAMES, "b": NAMES}, "distinct": [["a", "b"]], "change": ["b"],
}  # fmt: skip
BAGS = {
    "question": "{n} bags of {k} are halved.", "answer": "{n*k/2}",
    "slots": {"n": {"from": 3, "to": 9}, "k": [3, 4, 5]},
    "cot": "<<{n}*{k}={n*k}>><<{n*k}/2={n*k/2}>>",
}  # fmt: skip
COLOUR = {
    "name": "colour", "question": "Which colour has {a}?", "slots": {"a": ["a rose", "grass"]},
    "answer": {"of": "{a}", "is": {"a rose": "red", "grass": "green"}},
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def write(content):
        (tmp_path / "templates.json").write_text(json.dumps(content))
        return tmp_path / "templates.json"

    return write


def test_pairs_are_what_the_templates_say(write):
    templates = read_templates(write([BALL, BAGS, COLOUR]))
    pairs, skipped = fill_templates(templates, count=6)
    assert (pairs, skipped) == fill_templates(templates, count=6)
    assert pairs != fill_templates(templates, count=6, seed=1)[0]
    assert len({frozenset((pair.clean.question, pair.corrupted.question)) for pair in pairs}) == len(pairs)
    kinds = [pair.fields["template"] for pair in pairs]
    assert (kinds.count("ball"), kinds.count("template1"), kinds.count("colour")) == (3, 6, 1)
    assert set(skipped) == {
        "an expression is not whole", "two slots have the same value", "both sides are the same", "drawn before",
    }  # fmt: skip
    for pair in pairs:
        assert pair.clean.value != pair.corrupted.value
        for side in (pair.clean, pair.corrupted):
            if pair.fields["template"] == "ball":
                giver, taker = re.findall("Mary|John|Ann Lee", side.question)
                assert (pair.fields["slot"], side.answer, giver == taker) == ("b", taker, False)
            elif pair.fields["template"] == "colour":
                assert side.answer == {"a rose": "red", "grass": "green"}[side.question[17:-1]]
            else:
                n, k = map(int, re.findall(r"\d+", side.question))
                assert (2 * int(side.answer), side.cot) == (n * k, f"<<{n}*{k}={n * k}>><<{n * k}/2={side.answer}>>")


def test_a_template_gives_all_that_it_has_and_ends(write):
    pairs, _ = fill_templates(read_templates(write(BALL | {"slots": {"a": NAMES, "b": [*NAMES, "Bo"]}})), count=10**9)
    assert len(pairs) == 3 + 3 * 2  # giver a name, takers two of the other three: Bo is never the giver


def test_a_file_that_never_ends_is_not_read():
    with pytest.raises(PairError, match="/dev/zero: is not a regular file; expected a file with a JSON template or"):
        read_templates(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"slots": {}}, "slots must be an object"),
        ({"slots": {"a": ["x"], "b": NAMES}}, "slot 'a': expected two or more"),
        ({"slots": {"a": NAMES}}, "distinct and change must be lists of a"),
        ({"question": "{c}?"}, "'{c}': expected a slot"),
        ({"question": "{a*2}?"}, "expected a slot, or"),
        ({"question": "{a.__class__}?"}, "cannot be read"),
        ({"answer": 5}, "answer text or"),
        ({"extra": 5}, "expected an object with question"),
    ],
)
def test_a_fault_of_a_template_is_told(write, change, said):
    with pytest.raises(PairError, match=r"templates.json: template 1: ") as caught:
        read_templates(write([COLOUR, BALL | change]))
    assert said in str(caught.value)


def test_a_table_without_an_answer_is_told(write):
    with pytest.raises(PairError, match="'colour': the table of answers has no 'grass'"):
        fill_templates(read_templates(write(COLOUR | {"answer": {"of": "{a}", "is": {"a rose": "red"}}})), count=1)


def test_the_command_takes_templates(write, tmp_path):
    call = ["make-pairs", "--out", str(tmp_path / "pairs.json")]
    found = CliRunner().invoke(app, [*call, "--template", str(write(BALL)), "--per-question", "2"])
    assert (found.exit_code, "2 pairs" in found.stdout) == (0, True)
    assert len(load_pairs(tmp_path / "pairs.json")) == 2
    assert "takes one file" in str(CliRunner().invoke(app, call).exception)
