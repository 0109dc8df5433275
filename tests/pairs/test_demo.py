import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest

from mechpatch.pairs import load_pairs
from mechpatch.pairs.demo import MAX_ANSWER, MAX_INTERMEDIATE, Event, Problem, corrupt, demo_pairs, problems

SIDES = ("clean", "corrupted")

# The wording of each kind of event, as a reader of the question sees it.
SENTENCES = {
    "start": r"(?P<name>\w+) has (\d+) (?P<item>\w+)\.",
    "groups": r"(?P<name>\w+) has (\d+) (?P<holder>\w+) of (\d+) (?P<item>\w+)\.",
    "add": r"\w+ finds (\d+) more\.",
    "sub": r"\w+ loses (\d+)\.",
    "add_groups": r"\w+ buys (\d+) (?P<holder>\w+) of (\d+)\.",
    "sub_groups": r"\w+ sells (\d+) (?P<holder>\w+) of (\d+)\.",
    "times": r"(?P<friend>\w+) has (\d+) times as many\.",
}


def read(question: str) -> Problem:
    """The problem that a question states."""
    words = {"name": "", "friend": "", "item": "", "holder": ""}
    events = []
    for sentence in re.findall(r"[^.?]+\.", question):
        [(kind, match)] = [
            (kind, match) for kind, pattern in SENTENCES.items() if (match := re.fullmatch(pattern, sentence.strip()))
        ]
        words |= match.groupdict()
        events.append(Event(kind, tuple(int(each) for each in match.groups() if each.isdigit())))
    return Problem(tuple(events), **words)


def numbers(question: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", question)]


def steps(cot: str) -> list[tuple[int, str, int, int]]:
    found = re.findall(r"<<(\d+)([-+*])(\d+)=(\d+)>>", cot)
    assert "".join(f"<<{a}{sign}{b}={c}>>" for a, sign, b, c in found) == cot
    return [(int(a), sign, int(b), int(c)) for a, sign, b, c in found]


@pytest.fixture(scope="module", params=(0, 1, 2))
def pairs(request):
    return demo_pairs(18, request.param)


def test_equal_seeds_give_equal_pairs_and_others_do_not():
    assert demo_pairs(10, 3) == demo_pairs(10, 3)
    assert demo_pairs(10, 3) != demo_pairs(10, 4)
    assert list(islice(problems(3, False), 20)) == list(islice(problems(3, False), 20))


def test_the_global_generator_is_not_read():
    random.seed(1)
    first = demo_pairs(5, 3)
    random.seed(2)
    assert demo_pairs(5, 3) == first


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_equal_seeds_give_equal_pairs_in_every_process(hash_seed):
    program = "import json; from mechpatch.pairs.demo import demo_pairs; print(json.dumps(demo_pairs(10, 3)))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == demo_pairs(10, 3)


def test_exactly_one_number_differs_and_by_one(pairs):
    for pair in pairs:
        clean, corrupted = (pair[side]["question"] for side in SIDES)
        assert re.sub(r"\d+", "#", clean) == re.sub(r"\d+", "#", corrupted)
        differences = [abs(a - b) for a, b in zip(numbers(clean), numbers(corrupted), strict=True)]
        assert sorted(differences) == [0] * (len(differences) - 1) + [1]


def test_steps_compute_and_lead_to_the_answer(pairs):
    compute = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    for side in (pair[each] for pair in pairs for each in SIDES):
        found = steps(side["cot"])
        assert side["reasoning_steps"] == len(found)
        assert all(compute[sign](a, b) == c for a, sign, b, c in found)
        assert found[-1][3] == side["answer"]
        assert 0 <= side["answer"] <= MAX_ANSWER
        assert all(0 <= each[3] <= MAX_INTERMEDIATE for each in found[:-1])
        # Every number of the question enters some step, and every intermediate result a later one.
        used = Counter(each for a, _, b, _ in found for each in (a, b))
        assert used == Counter(numbers(side["question"])) + Counter(each[3] for each in found[:-1])


def test_the_answer_is_that_of_the_question(pairs):
    for side in (pair[each] for pair in pairs for each in SIDES):
        problem = read(side["question"])
        assert problem.question() == side["question"]
        assert (problem.answer(), problem.cot()) == (side["answer"], side["cot"])


def test_every_question_is_held_out(pairs):
    assert all(read(pair[side]["question"]).held_out() for pair in pairs for side in SIDES)


def test_training_problems_are_not_held_out():
    training = list(islice(problems(0, False), 300))
    assert not any(read(problem.question()).held_out() for problem in training)
    assert all(problem.held_out() for problem in islice(problems(0, True), 30))


def test_held_out_looks_at_numbers_and_not_at_words():
    for problem in islice(problems(5, True), 20):
        assert Problem(problem.events, "A", "B", "C", "D").held_out()
        moved = [
            Problem(
                (Event(each.kind, (each.numbers[0] + by, *each.numbers[1:])), *problem.events[1:]), "A", "B", "C", "D"
            )
            for each in problem.events[:1]
            for by in range(1, 60)
        ]
        assert not all(each.held_out() for each in moved)


def test_entry_step_is_the_first_step_that_changes(pairs):
    for pair in pairs:
        clean, corrupted = (steps(pair[side]["cot"]) for side in SIDES)
        assert len(clean) == len(corrupted)
        first = [a == b for a, b in zip(clean, corrupted, strict=True)].index(False)
        assert (pair["entry_step"], pair["steps_after_entry"]) == (first, len(clean) - 1 - first)


@pytest.mark.parametrize("count", [3, 7])
def test_entry_steps_are_spread_evenly(count):
    found = Counter(pair["steps_after_entry"] for pair in demo_pairs(count, 0))
    assert [found[after] for after in range(3)] == [count // 3 + (after < count % 3) for after in range(3)]


def test_answers_differ_in_their_first_two_digits(pairs):
    assert all(str(pair["clean"]["answer"])[:2] != str(pair["corrupted"]["answer"])[:2] for pair in pairs)


def test_corrupt_refuses_what_leaves_the_world():
    problem = Problem((Event("start", (3,)), Event("sub", (2,)), Event("sub", (2,))), "A", "B", "C", "D")
    for seed in range(20):
        changed = corrupt(problem, random.Random(seed))
        if changed is not None:
            assert changed[0].valid()
            assert min(number for event in changed[0].events for number in event.numbers) >= 2


@pytest.mark.parametrize("count", [1, 10])
def test_demo_pairs_load(tmp_path, count):
    path = tmp_path / "demo.jsonl"
    written = demo_pairs(count, 0)
    path.write_text(json.dumps(written))
    pairs = load_pairs(path)
    assert len(pairs) == count
    assert [pair.pair_id for pair in pairs] == [each["pair_id"] for each in written]
    assert [pair.corrupted.cot for pair in pairs] == [each["corrupted"]["cot"] for each in written]
    assert pairs[0].record_fields() == {
        "field.entry_step": written[0]["entry_step"],
        "field.steps_after_entry": written[0]["steps_after_entry"],
        "field.clean.reasoning_steps": written[0]["clean"]["reasoning_steps"],
        "field.corrupted.reasoning_steps": written[0]["corrupted"]["reasoning_steps"],
    }
