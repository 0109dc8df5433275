"""A real run: the demo model, all null donors, both directions, sets beside their parts."""

from dataclasses import asdict
from typing import Any

import pytest

from mechpatch.catalogue import DIRECTIONS, NULLS, is_null
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running.run import run_experiment
from mechpatch.experiments.spec import Spec
from mechpatch.pairs import Pair
from mechpatch.stats import Summary, summarise
from mechpatch.storage.results import open_run


def with_equal_answers(pairs: list[Pair]) -> list[Pair]:
    """Six pairs in which some clean and some corrupted answers are also given elsewhere: donors of equal value."""
    first = pairs[0]
    near = [
        pair for pair in pairs[1:]
        if {pair.clean.answer, pair.corrupted.answer} & {first.clean.answer, first.corrupted.answer}
    ]  # fmt: skip
    return [first, *near[:2], *[pair for pair in pairs[1:] if pair not in near][: 5 - len(near[:2])]]


@pytest.fixture(scope="module")
def summary(demo_model, shipped_pairs, tmp_path_factory) -> Summary:
    spec = Spec(
        experiments=("layer", "position", "leave_one_out", "pairwise", "window", "cumulative"),
        layers=(1, 2),
        sites=("t0", "t1", "t2"),
        window=2,
        directions=tuple(DIRECTIONS),
        nulls=tuple(filter(is_null, NULLS)),
        batch_size=8,
        checks=0,
    )
    pairs = with_equal_answers(shipped_pairs)
    with open_run(tmp_path_factory.mktemp("run") / "out", {"spec": repr(spec)}) as directory:
        table = run_experiment(Experiment.prepare(demo_model, spec, pairs), directory, None)
    return summarise(table, spec.seed)


def paired(summary: Summary, experiment: str) -> list[Any]:
    return [cell for cell in summary.cells if (cell.donor, cell.experiment) == ("paired", experiment)]


def test_every_check_of_a_real_run_holds(summary):
    held = {check.name for check in summary.checks if check.holds}
    assert held >= {"pair_of_first_thoughts_is_cumulative_1", "leaving_out_the_last_is_cumulative"}
    assert all(check.holds is not False for check in summary.checks)


def test_an_effect_is_more_than_every_null_in_both_directions(summary):
    for cell in paired(summary, "layer"):
        assert list(cell.beyond) == [*filter(is_null, NULLS)]
        assert cell.effect.mean > 0.8
        assert cell.beyond["self"].mean == pytest.approx(cell.effect.mean, abs=1e-9)
        assert all(each.mean > 0.2 for each in cell.beyond.values() if each.n)
    assert all(cell.beyond["same_value"].n >= 1 for cell in paired(summary, "layer"))


def test_sufficiency_and_necessity_stand_beside_each_other(summary):
    cells = {(cell.direction, cell.experiment, cell.layer, cell.site, cell.step): cell.effect
             for cell in summary.cells if cell.donor == "paired"}  # fmt: skip
    assert len(summary.directions) == len(cells) / 2
    for each in summary.directions:
        where = tuple(getattr(each, name) for name in ("experiment", "layer", "site", "step"))
        effect = cells["denoise", *where]
        assert asdict(each.sufficiency) == {name: getattr(effect, name) for name in asdict(each.sufficiency)}
        assert each.necessity.mean == pytest.approx(cells["noise", *where].mean)
        difference = each.sufficiency.mean - each.necessity.mean
        assert each.difference.mean == pytest.approx(difference, abs=1e-9)


def test_sets_are_measured_against_their_parts(summary):
    means = {(cell.direction, cell.experiment, cell.layer, cell.site): cell.effect.mean
             for cell in summary.cells if cell.donor == "paired"}  # fmt: skip
    nats = {(cell.direction, cell.layer, cell.site): cell.answer_logprob_change.mean
            for cell in paired(summary, "position")}  # fmt: skip
    assert summary.sets_notes == ()
    for cell in paired(summary, "leave_one_out"):
        at = cell.direction, "layer", cell.layer, "all"
        assert cell.lost.mean == pytest.approx(means[at] - cell.effect.mean, abs=1e-9)
    for cell in paired(summary, "pairwise"):
        sign = 1 if cell.direction == "denoise" else -1
        alone = sign * sum(nats[cell.direction, cell.layer, site] for site in cell.site.split("+"))
        assert cell.synergy.parts == pytest.approx(alone)
        assert cell.synergy.mean == pytest.approx(sign * cell.answer_logprob_change.mean - alone, abs=1e-9)
    for cell in paired(summary, "window"):
        over = cell.gain.over_layers
        assert set(over) == {str(cell.layer), str(cell.layer + 1)}
        first = means[cell.direction, "position", cell.layer, cell.site]
        assert over[str(cell.layer)].mean == pytest.approx(cell.effect.mean - first, abs=1e-9)
