import numpy as np
from records import planted

from mechpatch.stats.compare import compare_cells, compare_runs, parse_place
from mechpatch.views.words.comparison import describe_cells, describe_runs

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02, 0.0, 0.01, -0.01])
HERE, THERE = ("position", "denoise", "paired", 1, "t2"), ("position", "denoise", "paired", 1, "t3")


def test_cells_that_clearly_differ_are_listed_with_both_means():
    a = planted({HERE: 0.8 + SPREAD, THERE: 0.5 + SPREAD})
    b = planted({HERE: 0.6 - SPREAD, THERE: 0.5 - SPREAD})
    lines = describe_runs(compare_runs(a, b), "first", "second")
    assert "A first, B second: 8 pairs in both, of which A answers 8 and B 8 right" in lines[0]
    assert "1 of 2 cells clearly differ" in lines[1]
    assert "layer 1, t2" in lines[2]
    assert "A 0.80, B 0.60, difference 0.20 (95 % interval 0.1" in lines[2]
    assert not any("t3" in line for line in lines)


def test_equal_runs_claim_nothing():
    a = planted({HERE: 0.8 + SPREAD, ("position", "denoise", "self", 1, "t2"): 0 * SPREAD})
    lines = describe_runs(compare_runs(a, a), "a", "b")
    assert "0 of 1 cells clearly differ" in lines[1]
    assert "with null donors 0 of 1" in lines[1]
    assert "largest difference is position-wise patching, layer 1, t2" in lines[2]


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
