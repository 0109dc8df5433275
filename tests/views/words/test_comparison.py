import numpy as np
import pytest
from records import planted

from mechpatch.stats.compare import compare_cells, compare_runs
from mechpatch.stats.comparison import parse_place
from mechpatch.views.words.comparison import describe_cells, describe_control, describe_runs

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02, 0.0, 0.01, -0.01])
HERE, THERE = ("position", "denoise", "paired", 1, "t2"), ("position", "denoise", "paired", 1, "t3")


def test_cells_that_clearly_differ_are_listed_with_both_means():
    a = planted({HERE: 0.8 + SPREAD, THERE: 0.5 + SPREAD})
    b = planted({HERE: 0.6 - SPREAD, THERE: 0.5 - SPREAD})
    counts, switches, about, means, cell = describe_runs(compare_runs(a, b), "first", "second")
    assert "A first, B second: 8 pairs in both, of which A answers 8 and B 8 right" in counts
    assert "in 0 of 2 cells A and B clearly differ" in switches
    assert about == "Effect (share of gap), A − B, over the pairs that both can use:"
    assert "1 of 2 cells clearly differ" in means
    assert (
        "layer 1, t2, clean vectors into the corrupted run: A 0.80, B 0.60, difference 0.20 (95 % interval 0.1" in cell
    )


def test_equal_runs_claim_nothing():
    a = planted({HERE: 0.8 + SPREAD, ("position", "denoise", "self", 1, "t2"): 0 * SPREAD})
    said = "\n".join(describe_runs(compare_runs(a, a), "a", "b"))
    assert "in 0 of 1 cell A and B clearly differ" in said
    assert "0 of 1 cells clearly differ" in said
    assert "with null donors 0 of 1" in said
    assert "The means of A and B are equal in every cell." in said
    assert "largest difference" not in said


def test_runs_that_hardly_differ_are_not_called_equal():
    a, b = (planted({HERE: 0.8 + shift + SPREAD}) for shift in (0, SPREAD.clip(0) * [1, -1, 1, -1, 1, -1, 1, -1]))
    said = "\n".join(describe_runs(compare_runs(a, b), "a", "b"))
    assert "0 of 1 cells clearly differ" in said
    assert "The largest difference is position-wise patching, layer 1, t2" in said
    assert "are equal" not in said


def test_of_fewer_than_six_pairs_it_is_said_that_nothing_can_be_clear():
    few, enough = (planted({HERE: 0.8 + SPREAD[:count]}) for count in (5, 6))
    none = "Fewer than 6 pairs are in both, which makes no difference clear."
    assert none in describe_runs(compare_runs(few, enough), "a", "b")
    assert none not in describe_runs(compare_runs(enough, enough), "a", "b")


def switching(count: int, of: int = 12) -> list[float]:
    return [0.9] * count + [0.1] * (of - count)


def beside_control(a: int, b: int, of: int = 12, nulls: int | None = None, direction: str = "denoise") -> list[str]:
    """What is said of a run in which `a` of `of` pairs switch at t2, and a control twin in which `b` do; none at t3."""
    here, there = (("position", direction, "paired", 1, site) for site in ("t2", "t3"))
    control = {} if nulls is None else {(*here[:2], "other_pair", *here[3:]): switching(nulls, of)}
    one = planted({here: switching(a, of), there: switching(0, of)} | control)
    return describe_control(
        compare_runs(one, planted({here: switching(b, of), there: switching(0, of)})), "run", "twin"
    )


def test_beside_a_control_twin_the_difference_is_the_finding():
    found, counts, switches, cell, *_ = beside_control(11, 1)
    assert found.startswith(
        "Found: A exceeds its control B by 83 % (95 % interval 36 % to 100 %, of the best of 2 cells) at position-wise "
        "patching, layer 1, t2, clean vectors into the corrupted run: 92 % of 12 pairs give the clean answer in A, "
        "8.3 % in B."
    )
    assert found.endswith("It does so clearly in 1 of 2 cells.")
    assert counts.startswith("A run, B twin: 12 pairs in both")
    assert "in 1 of 2 cells A and B clearly differ (exact McNemar test" in switches
    assert "A 92 %, B 8.3 %, difference 83 % (95 % interval 41 % to 100 %, 12 pairs, p = 0.002, q = 0.004)" in cell


@pytest.mark.parametrize(("a", "b"), [(11, 11), (3, 0), (0, 0)])
def test_a_map_that_does_not_exceed_its_twins_is_no_finding(a: int, b: int):
    found = beside_control(a, b)[0]
    assert found.startswith("Found: A nowhere clearly exceeds its control B; the largest difference is")
    assert "not clearly more than with the second run" in found


def test_a_twin_that_switches_more_is_told_as_that():
    found = beside_control(0, 11)[0]
    assert "A nowhere clearly exceeds" in found
    assert found.endswith("In 1 cell fewer switch in A than in B.")


def test_beside_a_twin_too_the_controls_of_the_run_itself_count():
    assert "A exceeds its control B" in beside_control(11, 1, nulls=0)[0]
    found = beside_control(11, 1, nulls=11)[0]
    assert "A nowhere clearly exceeds" in found
    assert "not clearly more than with vectors of another pair (92 %)" in found


def test_two_pairs_and_pairs_that_the_twin_gets_wrong_make_no_finding():
    assert "fewer than 6 pairs have it" in beside_control(2, 0, of=2)[0]
    one, twin = planted({HERE: switching(11)}), planted({HERE: switching(0)})
    nobody = twin.set_column(twin.column_names.index("both_correct"), "both_correct", [[False] * 12])
    found = describe_control(compare_runs(one, nobody), "run", "twin")
    assert found[0] == "Found: nothing; no pair can switch in both runs at any cell."
    assert "B 0 right on both sides" in found[1]


def test_many_differences_are_cut_short():
    a = {("position", "denoise", "paired", layer, "t0"): 0.8 + SPREAD for layer in range(12)}
    b = {cell: values - 0.3 for cell, values in a.items()}
    assert describe_runs(compare_runs(planted(a), planted(b)), "a", "b")[-1] == "  … and 2 more; --out writes them all"


def test_two_cells_are_told_with_a_verdict():
    one, other = parse_place("position:1:t2"), parse_place("position:1:t3")
    lines = describe_cells(compare_cells(planted({HERE: 0.8 + SPREAD, THERE: 0.5 - SPREAD}), one, other))
    assert lines[1] == "  A position-wise patching, layer 1, t2: 0.80"
    assert "A − B is 0.30" in lines[3]
    assert lines[3].endswith(": a clear difference.")
    alike = describe_cells(compare_cells(planted({HERE: 0.8 + SPREAD, THERE: 0.8 - SPREAD}), one, other))
    assert "no clear difference; so many pairs would show 0.0" in alike[3]
    single = describe_cells(compare_cells(planted({HERE: [0.8], THERE: [0.5]}), one, other))
    assert "one pair, so no interval and no test" in single[3]
