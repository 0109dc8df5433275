import json

import pytest

from mechpatch.pairs import (
    Finding,
    Pair,
    Side,
    default_predicates,
    describe,
    flag_only,
    identical_questions,
    odd_blanks,
    same_answer,
    screen,
    unequal_length,
    unequal_steps,
)


def words(text: str) -> int:
    return len(text.split())


def steps(text: str) -> int:
    return text.count("<<")


def pair(pair_id="a", questions=("one two", "one three"), answers=("5", "6"), cots=(None, None)) -> Pair:
    clean, corrupted = (Side(*each, {}) for each in zip(questions, answers, cots, strict=True))
    return Pair(pair_id, clean, corrupted, {})


SOUND = pair("sound")
SAME_ANSWER = pair("same answer", answers=("7", "7"))
IDENTICAL = pair("identical", questions=("one", "one"))
LONG = pair("long", questions=("one " * 9, "one two"))
LONGER = pair("longer", questions=("one", "one two"))
STEPS = pair("steps", cots=("<<1>>", "<<1>><<2>>"))


@pytest.mark.parametrize(
    ("predicate", "hit", "detail"),
    [
        (same_answer, SAME_ANSWER, {"clean_answer": "7", "corrupted_answer": "7"}),
        (same_answer, pair(answers=("1,000", "1e3")), {"clean_answer": "1,000", "corrupted_answer": "1e3"}),
        (identical_questions, IDENTICAL, {}),
        (odd_blanks, pair(questions=("one  two", "one two ")), {"sides": ["clean", "corrupted"]}),
        (odd_blanks, pair(questions=("one two", "\none two")), {"sides": ["corrupted"]}),
        (unequal_length(words), LONGER, {"clean_tokens": 1, "corrupted_tokens": 2}),
        (unequal_steps(steps), STEPS, {"clean_steps": 1, "corrupted_steps": 2}),
        (unequal_steps(steps), pair(cots=(None, "<<1>>")), {"clean_steps": None, "corrupted_steps": 1}),
    ],
)
def test_a_predicate_finds_what_it_is_named_for(predicate, hit, detail):
    assert predicate(hit) == Finding(predicate.__qualname__.split(".")[0], detail, flag=False)


@pytest.mark.parametrize(
    "predicate",
    [same_answer, identical_questions, odd_blanks, unequal_length(words), unequal_steps(steps)],
)
def test_a_predicate_passes_a_sound_pair(predicate):
    assert predicate(SOUND) is None


def test_screen_keeps_the_order_and_gives_the_first_reason():
    both = pair("both", questions=("one", "one"), answers=("7", "7"))
    pairs = [both, SOUND, SAME_ANSWER, LONGER]
    result = screen(pairs, [same_answer, identical_questions])
    assert result.kept == (SOUND, LONGER)
    assert [(each.pair, each.reason) for each in result.dropped] == [
        (both, "same_answer"),
        (SAME_ANSWER, "same_answer"),
    ]
    assert screen(pairs, [identical_questions, same_answer]).dropped[0].reason == "identical_questions"
    assert result.flags == {}
    assert screen(pairs, []).kept == tuple(pairs)


def test_a_flag_keeps_the_pair_and_a_later_predicate_may_still_drop_it():
    flags = [flag_only(unequal_length(words)), flag_only(lambda pair: Finding("seen"))]
    result = screen([SOUND, LONGER], flags)
    assert result.kept == (SOUND, LONGER)
    assert result.flags == {"sound": ("seen",), "longer": ("unequal_length", "seen")}
    result = screen([SOUND, LONGER], [*flags, unequal_length(words)])
    assert result.kept == (SOUND,)
    assert result.flags == {"sound": ("seen",)}


def test_flag_only_leaves_the_finding_as_it_is():
    plain, flagged = unequal_length(words)(LONGER), flag_only(unequal_length(words))(LONGER)
    assert plain is not None
    assert flagged == Finding(plain.reason, plain.detail, flag=True)
    assert flag_only(same_answer)(SOUND) is None


def test_predicates_may_be_a_generator():
    assert len(screen([SAME_ANSWER, SAME_ANSWER], (each for each in [same_answer])).dropped) == 2


EVERY = [SOUND, SAME_ANSWER, IDENTICAL, LONG, LONGER, STEPS]


@pytest.mark.parametrize(
    ("arguments", "dropped", "flagged"),
    [
        ({}, {"same answer", "identical"}, set()),
        ({"count_tokens": words}, {"same answer", "identical"}, {"long", "longer"}),
        ({"count_steps": steps}, {"same answer", "identical", "steps"}, set()),
    ],
)
def test_default_predicates(arguments, dropped, flagged):
    result = screen(EVERY, default_predicates(**arguments))
    assert {each.pair.pair_id for each in result.dropped} == dropped
    assert set(result.flags) == flagged


def test_describe():
    kept = pair("wide", questions=("x", "x y"), answers=("10", "2.5"))
    result = screen([SOUND, SAME_ANSWER, kept], default_predicates(words))
    assert describe(result, 3, len) == {
        "total": 3,
        "kept": 2,
        "dropped": [{"pair_id": "same answer", "reason": "same_answer", "clean_answer": "7", "corrupted_answer": "7"}],
        "flagged": {"wide": ["unequal_length"]},
        "answer_difference": {"min": 1.0, "mean": 4.25, "max": 7.5},
        "answer_tokens": {"1": 2, "2": 1, "3": 1},
    }
    assert json.loads(json.dumps(describe(result, 3, len))) == describe(result, 3, len)


def test_the_difference_is_that_of_numbers():
    words_alone = pair("words", questions=("x", "y"), answers=("Mary", "John"))
    result = screen([SOUND, words_alone], default_predicates())
    assert describe(result, 2, None)["answer_difference"] == {"min": 1.0, "mean": 1.0, "max": 1.0}
    assert describe(screen([words_alone], []), 1, None)["answer_difference"] is None


def test_describe_of_nothing_kept():
    summary = describe(screen([SAME_ANSWER], [same_answer]), 1, None)
    assert (summary["kept"], summary["answer_difference"], summary["answer_tokens"]) == (0, None, None)
    assert describe(screen([], []), 0, len)["answer_tokens"] == {}
