"""What sets do beyond their parts, on numbers that can be added by hand."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from records import make_records, planted

from mechpatch.errors import StorageError
from mechpatch.stats import Summary, summarise

D, P = "denoise", "paired"
SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02, 0.0, 0.01, -0.01])  # of 8 pairs, around each mean


def around(*means: float) -> list[np.ndarray]:
    return [mean + SPREAD * (1 + index) for index, mean in enumerate(means)]


def only(summary: Summary, experiment: str, site: str, layer: int = 1) -> Any:
    (found,) = [
        cell for cell in summary.cells
        if (cell.experiment, cell.site, cell.layer, cell.donor) == (experiment, site, layer, P)
    ]  # fmt: skip
    return found


def test_what_a_thought_left_out_costs():
    whole, without_0, without_1 = around(0.9, 0.3, 0.9)
    summary = summarise(
        planted(
            {
                ("layer", D, P, 1, "all"): whole,
                ("leave_one_out", D, P, 1, "t0"): without_0,
                ("leave_one_out", D, P, 1, "t1"): without_1,
            }
        ),
        seed=0,
    )
    lost = only(summary, "leave_one_out", "t0").lost
    assert (lost.whole, lost.parts, lost.mean) == pytest.approx((0.9, 0.3, 0.6))
    assert lost.low == pytest.approx(0.6, abs=0.02)
    assert lost.low < 0.6 < lost.high
    assert lost.p == pytest.approx(2 / 2**8)  # all eight pairs lose: of 256 patterns of signs, two are as extreme
    assert lost.q == pytest.approx(4 / 2**8)  # the least of two tests
    assert only(summary, "leave_one_out", "t1").lost.mean == pytest.approx(0.0)
    assert only(summary, "leave_one_out", "t1").lost.q > 0.5
    assert summary.sets_notes == ()


def test_a_thought_that_moves_nothing_costs_nothing_by_construction():
    effects = {
        ("layer", D, P, 1, "all"): around(0.9)[0],
        ("leave_one_out", D, P, 1, "t0"): around(0.3)[0],
        ("leave_one_out", D, P, 1, "t1"): around(0.9)[0],
        ("position", D, P, 1, "t0"): around(0.9)[0],
        ("position", D, P, 1, "t1"): [0.0] * 8,
    }
    summary = summarise(planted(effects, structural=[("position", D, P, 1, "t1")]), seed=0)
    spare = only(summary, "leave_one_out", "t1").lost
    assert (spare.structural, spare.q) == (True, None)
    assert only(summary, "leave_one_out", "t0").lost.q == pytest.approx(2 / 2**8)  # it is the only test now


def test_synergy_is_the_effect_of_both_minus_the_sum_of_each():
    one, other, both, three = around(0.2, 0.3, 0.9, 0.1)
    effects = {
        ("position", D, P, 1, "t0"): one,
        ("position", D, P, 1, "t1"): other,
        ("position", D, P, 1, "t2"): three,
        ("pairwise", D, P, 1, "t0+t1"): both,
        ("pairwise", D, P, 1, "t1+t2"): other + three,
        ("subset", D, P, 1, "t0+t1+t2"): [0.5] * 8,
    }
    summary = summarise(planted(effects), seed=0)
    synergy = only(summary, "pairwise", "t0+t1").synergy
    # In nats: the gap is 12.
    assert (synergy.whole, synergy.parts, synergy.mean) == pytest.approx((10.8, 6.0, 4.8))
    assert synergy.n == 8
    assert synergy.p == pytest.approx(2 / 2**8)
    # Pair by pair the spreads of 1, 2 and 3 times the same deviations cancel: 3 − 1 − 2 = 0.
    assert synergy.high - synergy.low == pytest.approx(0.0, abs=1e-9)
    additive = only(summary, "pairwise", "t1+t2").synergy
    assert additive.mean == pytest.approx(0.0, abs=1e-12)
    assert only(summary, "subset", "t0+t1+t2").synergy.mean == pytest.approx(12 * (0.5 - 0.6))


def test_synergy_of_noise_is_towards_the_side_that_is_written():
    alone, both = around(0.2)[0], around(0.9)[0]
    effects = {("position", "noise", P, 1, site): alone for site in ("t0", "t1")}
    summary = summarise(planted(effects | {("pairwise", "noise", P, 1, "t0+t1"): both}), seed=0)
    synergy = only(summary, "pairwise", "t0+t1").synergy
    assert (synergy.whole, synergy.parts) == pytest.approx((10.8, 4.8))


def test_a_set_of_which_one_site_alone_can_move_has_no_synergy_by_construction():
    effects = {
        ("position", D, P, 1, "t0"): around(0.4)[0],
        ("position", D, P, 1, "eot"): [0.0] * 8,
        ("pairwise", D, P, 1, "t0+eot"): around(0.4)[0],
    }
    summary = summarise(planted(effects, structural=[("position", D, P, 1, "eot")]), seed=0)
    synergy = only(summary, "pairwise", "t0+eot").synergy
    assert (synergy.structural, synergy.q) == (True, None)
    assert synergy.mean == pytest.approx(0.0)


def test_pairs_without_one_of_the_parts_are_left_out():
    effects = {
        ("position", D, P, 1, "t0"): around(0.2)[0],
        ("position", D, P, 1, "t1"): around(0.3)[0][:5],
        ("pairwise", D, P, 1, "t0+t1"): around(0.5)[0],
    }
    assert only(summarise(planted(effects), seed=0), "pairwise", "t0+t1").synergy.n == 5


def test_a_window_is_held_against_each_of_its_layers():
    effects = {
        ("position", D, P, 1, "t0"): around(0.2)[0],
        ("position", D, P, 2, "t0"): around(0.5)[0],
        ("position", D, P, 1, "t1"): around(0.2)[0],
        ("position", D, P, 2, "t1"): around(0.7)[0],
        ("window", D, P, 1, "t0"): around(0.6)[0],
        ("window", D, P, 1, "t1"): around(0.7)[0],
    }
    summary = summarise(planted(effects), seed=0)
    gain = only(summary, "window", "t0").gain
    assert {layer: round(each.mean, 9) for layer, each in gain.over_layers.items()} == {"1": 0.4, "2": 0.1}
    assert gain.over_mean.mean == pytest.approx(0.25)
    assert asdict(gain.over_every_layer) == {"p": pytest.approx(2 / 2**8), "q": pytest.approx(4 / 2**8)}
    # At t1 the window does no more than its second layer alone, whatever it does beyond the mean.
    even = only(summary, "window", "t1").gain
    assert even.over_mean.mean == pytest.approx(0.25)
    assert even.over_mean.q < 0.05
    assert even.over_every_layer.p == 1.0


def test_a_window_that_does_less_than_a_layer_does_not_beat_it():
    effects = {
        ("position", D, P, 1, "t0"): around(0.2)[0],
        ("position", D, P, 2, "t0"): around(0.9)[0],
        ("window", D, P, 1, "t0"): around(0.6)[0],
    }
    gain = only(summarise(planted(effects), seed=0), "window", "t0").gain
    assert gain.over_layers["2"].p == pytest.approx(2 / 2**8)
    assert gain.over_every_layer.p == 1.0


@pytest.mark.parametrize(
    ("experiment", "name", "needed"),
    [("leave_one_out", "lost", "layer"), ("pairwise", "synergy", "position"), ("window", "gain", "position")],
)
def test_without_the_parts_there_is_a_note_and_nothing_else(experiment: str, name: str, needed: str):
    table = make_records(experiments=(experiment, "cumulative"), pairs=6, layers=3)
    summary = summarise(table, seed=0)
    sets = [cell for cell in summary.cells if cell.experiment == experiment]
    assert sets
    assert all(cell.sets == {name: None} for cell in sets)
    assert all(cell.sets == {} for cell in summary.cells if cell.experiment == "cumulative")
    assert summary.sets_notes == (
        f"{experiment} was run without {needed}, so its {name} is not given; run both in one run for it.",
    )


def test_windows_of_two_widths_are_no_one_map():
    table = make_records(experiments=("position", "window"), pairs=6, layers=3)
    widths = [3 if row["experiment"] == "window" and row["layer"] == 1 else row["width"] for row in table.to_pylist()]
    mixed = table.set_column(table.column_names.index("width"), "width", pa.array(widths))
    with pytest.raises(StorageError, match="window, denoise, paired, resid_post write 2 and 3 layers in a row"):
        summarise(mixed, seed=0)


def test_a_window_over_a_layer_that_was_not_run_has_no_mean_gain():
    effects = {
        ("position", D, P, 1, "t0"): around(0.2)[0],
        ("window", D, P, 1, "t0"): around(0.6)[0],
    }
    gain = only(summarise(planted(effects), seed=0), "window", "t0").gain
    assert gain.over_layers["1"].mean == pytest.approx(0.4)
    assert gain.over_layers["2"].mean is None
    assert gain.over_mean.mean is None
    assert asdict(gain.over_every_layer) == {"p": None, "q": None}
