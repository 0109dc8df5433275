"""Sentences about thoughts taken away, counted and swapped, each beside records in which the opposite is true."""

import pytest
from answer_records import NEITHER, OTHER, OWN, THIRD, Cell, answer_table

from mechpatch.stats.answers import AnswerCell, answer_cells
from mechpatch.stats.cells import groups, select
from mechpatch.views.words.answers import answers_in_short, answers_told, follows_clearly


def answers(*cells: Cell, expected: str | None = "39") -> list[AnswerCell]:
    """The summary of hand-made records."""
    table = answer_table(*cells, expected=expected)
    return [*answer_cells({group: select(table, group) for group in groups(table)}, 0)]


def test_what_is_left_when_thoughts_are_taken_away_is_counted():
    gone = answers(
        ("necessity", "zero", "all", 0, [NEITHER] * 20), ("necessity", "zero", "t0", 0, [OWN] * 5 + [NEITHER] * 15),
        ("necessity", "zero", "t1", 1, [OWN] * 20), ("necessity", "mean", "all", 0, [OTHER] * 20),
    )  # fmt: skip
    whole, single = answers_told(gone)
    assert whole == (
        "With all thoughts taken away, 0 of 20 pairs (at most 17 %) with the zero vector and 0 of 20 pairs (at most "
        "17 %) with the mean over all pairs keep the corrupted answer."
    )
    assert single.startswith(
        "Of single thoughts, the zero vector at t0 leaves fewest: 5 of 20 pairs (25 %); at t1 most"
    )
    kept = answers(("necessity", "zero", "all", 0, [OWN] * 20))
    assert answers_told(kept) == [
        "With all thoughts taken away, 20 of 20 pairs (100 %) with the zero vector keep the corrupted answer."
    ]


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (
            [0, 4, 20, 1],
            "With 2 thoughts most pairs keep the corrupted answer: 20 of 20 pairs (100 %); with none, 0 of 20",
        ),
        ([0, 19, 20, 20], "with 2 thoughts most pairs keep the corrupted answer: 20 of 20 pairs (100 %); 1 thought do"),
        (
            [20, 20, 20, 20],
            "With no thought most pairs keep the corrupted answer: 20 of 20 pairs (100 %); with 3 thoughts",
        ),
        (
            [0, 0, 0, 0],
            "With no number of thoughts a pair keeps the corrupted answer: 0 of 20 pairs (at most 17 %) at any.",
        ),
    ],
)
def test_the_number_of_thoughts_is_told_with_what_fewer_and_more_do(kept: list[int], said: str):
    cells = [("count", "nothing", f"n{at}", at, [OWN] * n + [NEITHER] * (20 - n)) for at, n in enumerate(kept)]
    (told,) = answers_told(answers(*cells))
    assert told.lower().startswith(said.lower())


def swapped(*followed: tuple[str, int, int, int], of: int = 20) -> list[AnswerCell]:
    """Cells of swap: site, step, pairs that follow with another question's vectors, and with Gaussian ones."""
    return answers(
        *[
            ("swap", donor, site, step, [THIRD] * n + [NEITHER] * (of - n))
            for site, step, *counts in followed
            for donor, n in zip(("other_value", "gaussian"), counts, strict=True)
        ]
    )


def test_a_model_computes_on_only_where_the_control_does_not():
    found = swapped(("all", 0, 18, 0), ("t0", 1, 17, 1), ("t1", 2, 1, 0))
    whole, single = answers_told(found)
    assert whole.startswith("With all thoughts of another question, 18 of 20 pairs (90 %) give that question's answer")
    assert single == (
        "The model computes on with t0: with another question's value of step 1, 17 of 20 pairs (85 %) give the answer "
        "that follows from it and their own question (5 % with Gaussian vectors)."
    )
    short = answers_in_short(found)
    assert short[0] == whole
    assert short[1].startswith(
        "The model computes on with t0 (step 1): up to 85 % of pairs give the answer that follows"
    )
    assert [follows_clearly(cell) for cell in found if cell.donor == "other_value"] == [True, True, False]
    for opposite in (
        swapped(("t0", 1, 17, 17)),  # Gaussian vectors do the same
        swapped(("t0", 1, 1, 17)),  # and more
        swapped(("t0", 1, 5, 0), of=5),  # too few pairs
        swapped(("t0", 1, 0, 0)),
    ):
        (told,) = answers_told(opposite)
        assert told.startswith("At no single thought does the answer clearly follow another question's step")
        assert answers_in_short(opposite) == [told]


def test_without_its_control_nothing_is_claimed():
    alone = answers(("swap", "other_value", "t0", 1, [THIRD] * 20))
    assert "At no single thought" in answers_told(alone)[0]


def test_an_expected_answer_that_is_the_own_one_says_nothing():
    assert answers_told(answers(("swap", "other_value", "t0", 1, [OWN] * 20), expected="21.0")) == []
    (cell,) = answers(("swap", "other_value", "t0", 1, [OTHER] * 20), expected="18.0")
    assert (cell.followed.count, cell.followed.n) == (20, 20)  # by its value, whatever the name of the outcome
