"""The one predicate, on records in which each of its conditions fails alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from records import planted

from mechpatch.stats import CellSummary, summarise
from mechpatch.stats.clear import controls, is_clear, moves, unbeaten

D, P, OTHER = "denoise", "paired", "other_pair"
HERE = ("position", D, P, 1, "t0")
QUANTITIES = ("switched", "effect", "answer_logprob_change")


def cell(effects: Mapping[str, Any], donor: str = P, **more: Any) -> CellSummary:
    """The cell at layer 1, t0, of the effects of each donor there."""
    table = planted({("position", D, name, 1, "t0"): values for name, values in effects.items()}, **more)
    (found,) = [each for each in summarise(table, seed=0).cells if each.donor == donor]
    return found


def switching(count: int, of: int = 10) -> list[float]:
    """Effects of which so many are above a half; none is equal to another."""
    return [0.9 + 0.01 * at if at < count else 0.1 + 0.01 * at for at in range(of)]


def clear_in(found: CellSummary) -> list[str]:
    return [name for name in QUANTITIES if is_clear(found, name)]


def test_what_is_beyond_every_control_is_clear_in_every_quantity():
    found = cell({P: switching(9), OTHER: [0.0] * 10, "gaussian": [0.01, -0.01] * 5, "self": [0.0] * 10})
    assert clear_in(found) == [*QUANTITIES]
    assert controls(found.switched) == [OTHER, "gaussian"]
    assert not is_clear(found, "recovery")  # it is held against nothing
    assert not is_clear(found, "neither")


@pytest.mark.parametrize(
    ("why", "effects"),
    [
        ("no control", {P: switching(9)}),
        ("a law is no control", {P: switching(9), "self": [0.0] * 10}),
        ("five pairs", {P: switching(5, 5), OTHER: [0.0] * 5}),
        ("a control does it too", {P: switching(9), OTHER: switching(9)}),
        ("one of two controls does", {P: switching(9), OTHER: [0.0] * 10, "gaussian": switching(9)}),
        ("the control does more", {P: [0.6 + 0.001 * at for at in range(10)], OTHER: switching(10)}),
        ("a control of the user's own", {P: switching(9), OTHER: [0.0] * 10, "mine": switching(9)}),
        ("the control has five pairs", {P: switching(9), OTHER: [0.0] * 5}),
        ("nothing moves", {P: [0.0] * 10, OTHER: [0.0] * 10}),
    ],
)
def test_one_failing_condition_makes_nothing_clear(why: str, effects: Mapping[str, Any]):
    assert clear_in(cell(effects)) == [], why


def test_an_effect_below_its_nulls_is_clear_in_neither_direction():
    """The nulls destroy, the effect destroys less: it is off zero, and off its control, with the wrong sign."""
    found = cell({P: [-0.3 - 0.01 * at for at in range(10)], OTHER: [-0.9 + 0.01 * at for at in range(10)]})
    assert moves(found)
    assert clear_in(found) == []
    assert unbeaten(found.effect) == [OTHER]


def test_the_pairs_are_those_that_have_the_quantity():
    """With a large gap asked for, two pairs have a recovery, and all ten can switch."""
    table = planted({HERE: switching(9), ("position", D, OTHER, 1, "t0"): [0.0] * 10})
    recovery = [
        value if pair < 2 else None
        for pair, value in zip(*(table[n].to_pylist() for n in ("pair_index", "recovery")), strict=True)
    ]
    table = table.set_column(table.column_names.index("recovery"), "recovery", [recovery])
    found = summarise(table, seed=0).cells[0]
    assert found.effect.n == 2
    assert clear_in(found) == ["switched", "answer_logprob_change"]


def test_ablations_are_effects_and_controls_are_none():
    effects = {P: switching(9), "zero": switching(8), OTHER: [0.02 + 0.001 * at for at in range(10)]}
    assert clear_in(cell(effects, "zero")) == [*QUANTITIES]
    null = cell(effects, OTHER)
    assert moves(null)
    assert clear_in(null) == []
    assert OTHER not in cell({P: switching(9), "zero": switching(8)}).switched.beyond


def test_a_control_that_has_no_donor_for_any_pair_was_not_run():
    table = planted(
        {
            HERE: switching(9),
            ("position", D, OTHER, 1, "t0"): [0.0] * 10,
            ("position", D, "same_value", 1, "t1"): [0.0] * 10,
        }
    )
    found = next(each for each in summarise(table, seed=0).cells if (each.donor, each.site) == (P, "t0"))
    assert "same_value" in found.switched.beyond
    assert clear_in(found) == [*QUANTITIES]


def test_what_is_zero_by_construction_is_never_clear():
    assert clear_in(cell({P: switching(9), OTHER: [0.0] * 10}, structural=[HERE])) == []


def test_every_control_is_asked_at_once_over_the_map():
    """Each control alone is beaten in all of its six cells; no cell beats both but one."""
    few, many = [0.1] * 12, [0.9] * 7 + [0.1] * 5
    sites = [f"t{at}" for at in range(6)]
    effects = {("position", D, P, 1, site): many for site in sites}
    effects |= {("position", D, OTHER, 1, site): few if at in (0, 1, 2, 3) else many for at, site in enumerate(sites)}
    effects |= {("position", D, "gaussian", 1, site): few if at in (0, 4, 5) else many for at, site in enumerate(sites)}
    found: list[Any] = [each for each in summarise(planted(effects), seed=0).cells if each.donor == P]
    assert {test.q <= 0.05 for test in (found[0].switched.beyond[name] for name in (OTHER, "gaussian"))} == {True}
    assert found[0].switched.beyond_every.p == pytest.approx(2 / 2**7)
    assert found[0].switched.beyond_every.q == pytest.approx(6 * 2 / 2**7)  # the only one of six that beats both
    assert not is_clear(found[0])
    assert unbeaten(found[0].switched) == [OTHER]


def test_what_sets_do_beyond_their_parts_goes_through_the_controls_too():
    spread = 0.01 * np.arange(8)

    def set_of(control: float, donors: tuple[str, ...] = (P, OTHER)) -> CellSummary:
        alone, both = {P: 0.3, OTHER: 0.0}, {P: 0.9, OTHER: control}
        effects = {("position", D, donor, 1, site): alone[donor] + spread for donor in donors for site in ("t0", "t1")}
        effects |= {("pairwise", D, donor, 1, "t0+t1"): both[donor] + 2.5 * spread for donor in donors}
        return next(
            each for each in summarise(planted(effects), 0).cells if (each.experiment, each.donor) == ("pairwise", P)
        )

    assert is_clear(set_of(0.0), "synergy")
    assert not is_clear(set_of(0.3), "synergy")  # vectors of another pair add up as little
    assert not is_clear(set_of(0.0, (P,)), "synergy")
    assert not is_clear(set_of(0.0), "lost")
