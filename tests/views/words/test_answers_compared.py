"""A run beside that of its twin, in experiments that ask for answers: each sentence beside its opposite."""

from collections.abc import Sequence

import pytest
from answer_records import NEITHER, OWN, THIRD, Cell, answer_table

from mechpatch.errors import SpecError
from mechpatch.stats.compare import compare_runs
from mechpatch.stats.comparison import OTHER_RUN
from mechpatch.views.words.comparison import describe_control, describe_runs

COUNT, SWAP = ("count", "nothing", "n0", 0), ("swap", "other_value", "t0", 1)
GAUSSIAN = ("swap", "gaussian", "t0", 1)
WHOLE = ("swap", "other_value", "all", 0)


def of(cell: tuple[str, str, str, int], yes: int, pairs: int = 12, what: str = OWN) -> Cell:
    """A cell at which so many of the pairs give an answer, and the others none."""
    return (*cell, [what] * yes + [NEITHER] * (pairs - yes))


def control(a: Sequence[Cell], b: Sequence[Cell]) -> list[str]:
    return describe_control(compare_runs(answer_table(*a), answer_table(*b)), "run", "twin")


def kept(a: int, b: int, pairs: int = 12) -> list[str]:
    """A in which `a` pairs keep their answer with no thought, beside a twin in which `b` do; all do with one."""
    one = ("count", "nothing", "n1", 1)
    return control([of(COUNT, a, pairs), of(one, pairs, pairs)], [of(COUNT, b, pairs), of(one, pairs, pairs)])


def test_answers_that_only_the_twin_keeps_are_told():
    found, counts, switched, cell = kept(1, 12)
    assert found == (
        "Found: With fewer or more thoughts, clearly fewer pairs keep their answer in A than in its control B in 1 of "
        "2 cells, and clearly more in 0; the largest difference is −92 % (95 % interval −100 % to −45 %, of the best "
        "of 2 cells) at 0 thoughts: 8.3 % of 12 pairs in A, 100 % in B."
    )
    assert counts.startswith("A run, B twin: 12 pairs in both")
    assert switched.startswith("With fewer or more thoughts, pairs that keep their answer: in 1 of 2 cells A and B")
    assert cell == (
        "  0 thoughts: A 8.3 %, B 100 %, difference −92 % (95 % interval −100 % to −49 %, 12 pairs, p < 0.001, "
        "q = 0.002)"
    )


def test_answers_that_only_the_run_keeps_are_told_as_that():
    assert (
        "clearly fewer pairs keep their answer in A than in its control B in 0 of 2 cells, and clearly more in 1; the"
        in (kept(12, 1)[0])
    )


@pytest.mark.parametrize(("a", "b", "pairs"), [(12, 12, 12), (3, 4, 12), (0, 5, 5)])
def test_runs_that_keep_equally_many_or_few_claim_nothing(a: int, b: int, pairs: int):
    found, _, *few, switched = kept(a, b, pairs)
    assert found.startswith(
        "Found: With fewer or more thoughts, A and its control B nowhere clearly differ in the pairs"
    )
    assert "in 0 of 2 cells A and B clearly differ" in switched
    assert few == (["Fewer than 6 pairs are in both, which makes no difference clear."] if pairs < 6 else [])


def swapped(a: int, b: int, drawn: int = 0) -> list[str]:
    """A in which `a` of 12 pairs follow another question's step, a twin in which `b` do, `drawn` with Gaussian ones."""
    return control(
        [of(SWAP, a, what=THIRD), of(GAUSSIAN, drawn, what=THIRD), of(WHOLE, 6, what=THIRD)],
        [of(SWAP, b, what=THIRD), of(GAUSSIAN, 0, what=THIRD), of(WHOLE, 6, what=THIRD)],
    )


def test_answers_that_follow_the_thoughts_in_the_run_alone_are_the_finding():
    whole, single, _, of_whole, of_single, cell = swapped(11, 0)
    assert whole.startswith(
        "Found: With all thoughts of another question, A nowhere clearly exceeds its control B in the pairs that "
        "give the answer that is expected of the donor's thoughts; the largest difference is 0 %"
    )
    assert single == (
        "Found: With one thought of another question, A exceeds its control B in the pairs that give the answer that "
        "is expected of the donor's thoughts, by 92 % (95 % interval 49 % to 100 %) at layer 0, t0 for step 1: 92 % of "
        "12 pairs in A, 0 % in B. It does so clearly in 1 of 1 cell."
    )
    assert "in 0 of 1 cell A and B clearly differ" in of_whole
    assert "in 1 of 1 cell A and B clearly differ" in of_single
    assert cell.startswith("  layer 0, t0 for step 1: A 92 %, B 0 %, difference 92 %")


@pytest.mark.parametrize(("a", "b", "drawn"), [(11, 11, 0), (3, 1, 0), (11, 0, 11)])
def test_a_twin_or_a_control_that_does_the_same_makes_no_finding(a: int, b: int, drawn: int):
    assert "With one thought of another question, A nowhere clearly exceeds" in swapped(a, b, drawn)[1]


def test_a_twin_that_follows_more_often_is_told_as_that():
    assert swapped(0, 11)[1].endswith("In 1 cell fewer do in A than in B.")


def test_pairs_that_either_run_gets_wrong_do_not_count():
    a, b = answer_table(of(COUNT, 4), wrong=[0, 11]), answer_table(of(COUNT, 6), wrong=[1])
    (cell,) = compare_runs(a, b).answers
    test = cell.kept.beyond[OTHER_RUN]
    assert (cell.kept.n, cell.kept.count) == (test.n, 2) == (9, 2)
    assert (test.more, test.less, test.share) == (0, 2, pytest.approx(4 / 9))


def test_necessity_names_its_donor_and_runs_without_a_common_cell_are_refused():
    zero = ("necessity", "zero", "all", 0)
    found = control([of(zero, 0), of(("necessity", "mean", "all", 0), 0)], [of(zero, 12)])
    assert "at layer 0, all thoughts with the zero vector: 0 % of 12 pairs in A, 100 % in B." in found[0]
    assert "Not compared: 1 cells that only A has, 0 that only B has." in found
    with pytest.raises(SpecError, match="no cell in common"):
        compare_runs(answer_table(of(COUNT, 1)), answer_table(of(zero, 1)))


def test_a_cell_that_cannot_move_in_one_run_is_no_finding():
    zero = ("necessity", "zero", "all", 0)
    a, b = answer_table(of(zero, 0)), answer_table(of(zero, 12))
    fixed = b.set_column(b.column_names.index("structural"), "structural", [[True] * 12])
    assert len(describe_control(compare_runs(a, b), "run", "twin")) == 4
    assert describe_control(compare_runs(a, fixed), "run", "twin") == [
        "Found: nothing; no pair can switch in both runs at any cell.",
        "A run, B twin: 12 pairs in both, of which A answers 12 and B 12 right on both sides.",
    ]


def test_without_a_control_the_cells_are_listed_and_nothing_is_found():
    found = compare_runs(answer_table(of(COUNT, 0)), answer_table(of(COUNT, 12)))
    told = describe_runs(found, "a", "b")
    assert told[1].startswith("With fewer or more thoughts, pairs that keep their answer: in 1 of 1 cell")
    assert not any("Found" in line or "switch" in line for line in told)
