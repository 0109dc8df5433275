import random
import re
from collections import Counter
from itertools import islice

import pytest

from mechpatch.pairs.handovers import NAMES, Problem, changes, handover_pairs, problems

SIDES = ("clean", "corrupted")


def read(question: str) -> tuple[dict[str, str], str]:
    """Who hands the ball to whom, and who has it first, as a reader of the question sees it."""
    told = re.findall(r"(\w+) gets it from (\w+)\. ", question)
    (first,) = re.findall(r"(\w+) has the ball first\. Who has it last\?$", question)
    said = [*(f"{b} gets it from {a}." for b, a in told), f"{first} has the ball first. Who has it last?"]
    assert question == " ".join(said)
    givers = {a: b for b, a in told}
    assert len(givers) == len(told)
    return givers, first


def chain(question: str) -> list[str]:
    handovers, holder = read(question)
    found = []
    while holder in handovers:
        holder = handovers[holder]
        found.append(holder)
    return found


@pytest.fixture(scope="module")
def pairs():
    return handover_pairs(12, 1)


def test_equal_seeds_give_equal_pairs(pairs):
    random.seed(1)
    assert handover_pairs(3, 5) == handover_pairs(3, 5) != handover_pairs(3, 6)


def test_the_answer_is_who_has_the_ball_at_the_end(pairs):
    for pair in pairs:
        for side in SIDES:
            found = chain(pair[side]["question"])
            assert pair[side]["values"] == found
            assert (pair[side]["answer"], pair[side]["reasoning_steps"]) == (found[-1], len(found))
            assert len(found) in (2, 3)
        assert pair["clean"]["answer"] != pair["corrupted"]["answer"]


def test_exactly_one_name_differs_and_entry_step_is_where(pairs):
    for pair in pairs:
        clean, corrupted = (re.findall(r"\w+", pair[side]["question"]) for side in SIDES)
        changed = [(a, b) for a, b in zip(clean, corrupted, strict=True) if a != b]
        assert len(changed) == 1
        assert {*changed[0]} <= {*NAMES}
        values = [pair[side]["values"] for side in SIDES]
        assert [a == b for a, b in zip(*values, strict=True)].index(False) == pair["entry_step"]
        assert pair["steps_after_entry"] == len(values[0]) - 1 - pair["entry_step"]
    assert Counter(pair["steps_after_entry"] for pair in pairs) == {0: 4, 1: 4, 2: 4}


def test_problems_are_held_out_by_their_hand_overs_in_any_order(pairs):
    training, held = islice(problems(0, False), 200), islice(problems(0, True), 20)
    assert not any(each.held_out() for each in training)
    assert all(Problem(each.handovers[::-1], each.handovers[0][0]).held_out() for each in held)
    assert all(
        Problem(tuple(read(pair[side]["question"])[0].items()), "").held_out() for pair in pairs for side in SIDES
    )


def test_a_change_keeps_the_steps_and_gives_another_answer():
    for each in islice(problems(2, False), 20):
        for changed, entry in changes(each):
            assert changed.valid()
            assert changed.answer() != each.answer()
            assert changed.results()[:entry] == each.results()[:entry] != changed.results()[: entry + 1]
            assert len(changed.results()) == len(each.results())


def test_a_ball_that_comes_back_is_no_problem():
    assert not Problem((("Tom", "Eva"), ("Eva", "Tom")), "Tom").valid()
    assert Problem((("Tom", "Eva"), ("Eva", "Leo"), ("Max", "Leo")), "Tom").valid()
