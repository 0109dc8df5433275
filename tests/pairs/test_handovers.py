import random
import re
from collections import Counter
from itertools import islice

import pytest

from mechpatch.pairs.handovers import NAMES, Problem, changes, handover_pairs, problems

SIDES = ("clean", "corrupted")


def read(question: str) -> Problem:
    """The problem that a question states."""
    (first,) = re.findall(r"^(\w+) has the ball\. ", question)
    told = re.findall(r"It goes (\d) on\. ", question)
    sentences = [f"{first} has the ball.", *(f"It goes {far} on." for far in told), "Who has it now?"]
    assert question == " ".join(sentences)
    return Problem(first, tuple(map(int, told)))


def walked(problem: Problem) -> list[str]:
    """Who has the ball after each hand-over, person by person."""
    circle, found = [*NAMES], []
    while circle[0] != problem.first:
        circle.append(circle.pop(0))
    for move in problem.moves:
        for _ in range(move):
            circle = [*circle[1:], circle[0]]
        found.append(circle[0])
    return found


@pytest.fixture(scope="module")
def pairs():
    return handover_pairs(18, 1)


def test_equal_seeds_give_equal_pairs():
    random.seed(1)
    assert handover_pairs(6, 5) == handover_pairs(6, 5) != handover_pairs(6, 6)


def test_the_answer_is_who_has_the_ball_at_the_end(pairs):
    for pair in pairs:
        for side in (pair[each] for each in SIDES):
            found = walked(read(side["question"]))
            assert (side["values"], side["answer"], side["reasoning_steps"]) == (found, found[-1], len(found))
        assert pair["clean"]["answer"] != pair["corrupted"]["answer"]


def test_one_word_differs_and_entry_step_is_where(pairs):
    for pair in pairs:
        words = [re.findall(r"\w+", pair[side]["question"]) for side in SIDES]
        assert sum(a != b for a, b in zip(*words, strict=True)) == 1
        values = [pair[side]["values"] for side in SIDES]
        assert [a == b for a, b in zip(*values, strict=True)].index(False) == pair["entry_step"]
        assert pair["steps_after_entry"] == len(values[0]) - 1 - pair["entry_step"]
    assert Counter(pair["steps_after_entry"] for pair in pairs) == {0: 6, 1: 6, 2: 6}


def test_every_question_is_held_out(pairs):
    assert all(read(pair[side]["question"]).held_out() for pair in pairs for side in SIDES)
    assert not any(each.held_out() for each in islice(problems(0, False), 200))


def test_every_change_gives_another_answer():
    for problem in islice(problems(2, False), 20):
        for changed, entry in changes(problem):
            assert changed.answer() != problem.answer()
            assert changed.results()[:entry] == problem.results()[:entry]
