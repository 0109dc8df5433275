"""What a screen missed, on records in which that is known; and that what was not run counts as tested."""

import numpy as np
import pyarrow as pa
import pytest
from records import planted
from screened import screened_records

from mechpatch.stats import summarise
from mechpatch.stats.clear import is_clear
from mechpatch.stats.estimates import benjamini_hochberg
from mechpatch.stats.maximum import largest_share_limits
from mechpatch.stats.screens import Screened, upper_limit
from mechpatch.stats.switching import proportion_limits

TOP = [0.9, 0.5, 0.4, 0.3, 0.2]
NOTHING = [0.0] * 50
GOOD = [*TOP, *np.linspace(0, 0.01, 50)]


def screen(*args, **settings) -> Screened:
    (found,) = screened(*args, **settings).screens
    return found


def screened(*args, **settings):
    table, choices = screened_records(*args, **settings)
    return summarise(table, 0, choices=choices)


def test_cells_that_were_not_run_count_as_tested():
    p = np.array([0.001, 0.02, np.nan, 0.3])
    alone, among = benjamini_hochberg(p), benjamini_hochberg(p, 17)
    assert alone[[0, 1, 3]] == pytest.approx([0.003, 0.03, 0.3])
    assert among[[0, 1, 3]] == pytest.approx([0.02, 0.2, 1.0])
    assert np.isnan([alone[2], among[2]]).all()


def test_a_screen_buys_no_significance():
    """The same records are clear where they were all there was, and not where they were chosen of many."""
    weak = [0.9] + [0.0] * 9
    few, many = (screened(weak, [], weak, candidates=count, pairs=10).cells for count in (10, 1000))
    for of in ("effect", "answer_logprob_change", "switched"):
        assert [is_clear(cells[0], of) for cells in (few, many)] == [True, False], of
    tests = [cells[0].effect for cells in (few, many)]
    assert tests[0].p == tests[1].p
    for read in (  # each of these tests alone
        lambda cell: cell.effect.q,
        lambda cell: cell.effect.beyond["other_pair"].q,
        lambda cell: cell.effect.beyond_every.q,
        lambda cell: cell.switched.beyond["other_pair"].q,
        lambda cell: cell.switched.beyond_every.q,
    ):
        assert read(few[0]) < 0.05 < read(many[0])
    # A hook point without heads beside it is not screened.
    both = screened(weak, [], weak, candidates=1000, pairs=10, also=[0.9])
    assert [is_clear(cell, "effect") for cell in both.cells if cell.layer == 0 and cell.donor == "paired"] == [True]


def test_cells_that_were_not_run_are_no_cells():
    effects = {("position@z.0", "denoise", "paired", 0, "t0"): [0.5] * 8}
    effects |= {("position@z.1", "denoise", "paired", 1, "t0"): [0.5] * 8}
    assert [(cell.layer, cell.head) for cell in summarise(planted(effects), 0).cells] == [(0, 0), (1, 1)]


def test_the_limit_of_the_largest_share_knows_of_what_was_not_run():
    values = (np.random.default_rng(0).random((40, 5)) < [0.9, 0.1, 0.1, 0.1, 0.1]).astype(float)
    known, of_many = largest_share_limits(values, 0), largest_share_limits(values, 0, left_out=995)
    assert of_many[0] < known[0] - 0.05
    assert of_many[1] == known[1]
    count = np.array(int(values[:, 0].sum()))
    assert of_many[0] == pytest.approx(float(proportion_limits(count, np.array(40), 1 - 0.05 / 1000)[0]))
    found = screened(TOP, NOTHING, GOOD).best[0]
    assert (found.cells, found.left_out) == (55, 945)


def test_a_good_screen_is_told_by_what_its_random_cells_allow():
    found = screen(TOP, NOTHING, GOOD)
    assert not found.failed
    assert (len(found.cells), found.left_out, found.told, found.clear) == (55, 945, 50, ())
    assert found.limit == pytest.approx(1 - 0.05 ** (1 / 50))  # 0 of 50
    assert found.median == pytest.approx(0.4, abs=0.02)
    assert found.smallest == pytest.approx(0.2, abs=0.02)
    assert found.rank_top == pytest.approx(1.0)


def test_a_random_cell_with_an_effect_is_counted_and_placed():
    found = screen(TOP, [0.0] * 49 + [0.1], GOOD)
    assert [(cell.head, cell.why) for cell in found.clear] == [(54, "random")]
    assert found.largest == found.clear[0]
    assert found.limit == upper_limit(1, 50)
    assert not found.failed  # it is smaller than half of the top ones


def test_a_random_cell_beyond_half_of_the_top_ones_is_a_failure():
    found = screen(TOP, [0.0] * 49 + [0.6], GOOD)
    assert found.exceeds is not None
    assert found.exceeds.head == 54
    assert found.failed
    few = screen(TOP, [0.0] * 49 + [0.6], GOOD, pairs=5)  # nothing is clear with five pairs
    assert (few.exceeds, few.told, few.limit) == (None, 0, None)


def test_an_inverted_screen_is_a_failure():
    """Estimates that rank the cells the other way round: it ran the smallest, and random ones of the rest."""
    effects = list(np.linspace(0.5, 0.05, 50))
    found = screen([0.0] * 5, effects, [1.0] * 5 + [1 - effect for effect in effects])
    assert found.failed
    assert found.blind
    assert found.exceeds is not None
    assert len(found.clear) == 50
    assert found.limit == 1.0
    told = screen([0.9] * 5, effects, [1.0] * 5 + [float(effect) for effect in effects])
    assert not told.failed


def test_without_a_control_an_effect_off_zero_counts():
    found = screen(TOP, [0.0] * 49 + [0.1], GOOD, control=False)
    assert not found.controlled
    assert 54 in {cell.head for cell in found.clear}


def test_a_law_of_all_steps_is_not_held_to_the_few_that_were_run():
    """The last step that was run is not the last step, so it need not be what all thoughts at once do."""
    effects = {("cumulative@z.0", "denoise", "paired", 1, "t0"): [0.1] * 8}
    effects |= {("layer@z.0", "denoise", "paired", 1, "all"): [0.9] * 8}
    table = planted(effects)
    assert [check.name for check in summarise(table, 0).failed()] == ["cumulative_end_is_layer_wise"]
    few = table.append_column("candidates", pa.array([100] * len(table), pa.int64()))
    assert not summarise(few, 0).failed()


@pytest.mark.parametrize(("hits", "n", "limit"), [(0, 50, 0.058), (50, 50, 1.0), (0, 0, None), (5, 50, 0.199)])
def test_the_upper_limit(hits, n, limit):
    assert upper_limit(hits, n) == (limit if limit in (None, 1.0) else pytest.approx(limit, abs=1e-3))
