"""A screened run: what its estimates are, that it keeps its choice, and that what it runs is what a whole run has."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from models_under_test import PAIRS, model_under_test

from mechpatch import workflow
from mechpatch.console import show_plan
from mechpatch.errors import SpecError
from mechpatch.experiments.cost import make_plan
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.pair_file import screened as pairs_of
from mechpatch.experiments.running import screened as screening
from mechpatch.experiments.running.donors import Recipients
from mechpatch.experiments.running.footprint import footprint
from mechpatch.experiments.running.screened import screened
from mechpatch.experiments.spec import Spec
from mechpatch.own import Donor, Own
from mechpatch.patching import collate
from mechpatch.patching.attribution import bytes_of_gradients
from mechpatch.scale.order import Order
from mechpatch.storage.choices import RANDOM, SCREEN, TOP, read_choices
from mechpatch.storage.memory import MemoryRun

SPEC = Spec(experiments=("position",), hooks=("z",), thoughts="placeholder", n_thoughts=5, screen=3, checks=0)
STEP = 1e-3  # of the way to the other side's vector


def run(folder, spec, limit=None, own=None):
    """Run a spec into a folder, without figures; what was said."""
    said, model = [], model_under_test("tiny-float64")
    file = pairs_of(list(PAIRS), "pairs", model, spec, None, limit)
    workflow.run_to_directory(
        model, spec, file, folder, cache=None, say=said.append, drawn=False, **({"own": own} if own else {})
    )
    return said


def keys(table):
    names = ("hook", "head", "layer", "site")
    return {tuple(row.values()) for row in table.select(names).to_pylist()}


def rows(folder, donor="paired"):
    table = workflow.FinishedRun(folder).records
    return table.filter(pc.field("donor") == donor)


def near(runs: Recipients):
    """A thousandth of the way from the run's own vectors to those of the other side."""
    return runs.baseline + STEP * (runs.paired - runs.baseline), runs.all


@pytest.mark.parametrize(
    "settings",
    [
        {"thoughts": "latent", "n_thoughts": 2, "directions": ("denoise", "noise"), "layers": (0, 2)},
        {
            "thoughts": "text",
            "n_thoughts": None,
            "experiments": ("layer", "position"),
            "hooks": ("v", "post.5", "post.11"),
        },
    ],
    ids=["latent", "text"],
)
def test_an_estimate_is_the_slope_of_the_effect(settings, tmp_path):
    """What a small step towards the other side moves is, in proportion, what the estimate says of the whole step."""
    own = Own(donors=(Donor(name="near", function=near),))
    run(tmp_path, replace(SPEC, nulls=("near",), own=own.described(), screen=100, **settings), own=own)
    moved: dict[tuple[Any, ...], list[float]] = {}
    for row in rows(tmp_path, "near").to_pylist():
        if row["recovery"] is None:  # the gap is too small
            continue
        effect = row["recovery"] if row["direction"] == "denoise" else 1 - row["recovery"]
        key = row["experiment"], row["direction"], row["hook"], row["head"], row["layer"], row["site"]
        moved.setdefault(key, []).append(effect / STEP)
    found = {
        (choice.experiment, direction, choice.hook, cell.head, cell.layer, cell.site): estimate
        for choice in read_choices(tmp_path)
        for cell in choice.cells
        for direction, estimate in cell.estimates.items()
    }
    assert found.keys() == moved.keys()
    estimates = np.array([found[key] for key in moved])
    slopes = np.array([np.mean(values) for values in moved.values()])  # a random model is right nowhere: over all
    tolerance = 2e-3 * np.abs(slopes).max()
    assert (np.abs(slopes) > 5 * tolerance).sum() > 20
    np.testing.assert_allclose(estimates, slopes, rtol=0.02, atol=tolerance)
    with pytest.raises(AssertionError):  # another cell's estimate must be noticed
        np.testing.assert_allclose(np.roll(estimates, 1), slopes, rtol=0.02, atol=tolerance)


def test_an_estimate_of_many_writes_is_the_sum_of_theirs():
    model = model_under_test("tiny-float64")
    spec = replace(SPEC, experiments=("position", "window", "cumulative"), window=2, screen=100)
    file = pairs_of(list(PAIRS), "pairs", model, spec, None, None)
    directory = MemoryRun({})
    screened(Experiment.prepare(model, spec, file.kept), directory, None)
    of = {
        choice.experiment: {
            (cell.head, cell.layer, cell.site): cell.estimates["denoise"] or np.nan for cell in choice.cells
        }
        for choice in directory.choices()
    }
    single = of["position"]
    assert of["window"][1, 0, "answer"] == pytest.approx(single[1, 0, "answer"] + single[1, 1, "answer"])
    assert of["cumulative"][3, 1, "t1"] == pytest.approx(single[3, 1, "t0"] + single[3, 1, "t1"])
    assert of["cumulative"][3, 1, "t0"] == pytest.approx(single[3, 1, "t0"])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two of the pairs."""
    folder = tmp_path_factory.mktemp("small") / "run"
    assert "screened 68 cells of z in" in run(folder, SPEC, limit=2)[0]
    return folder


def test_only_what_was_chosen_is_run_and_it_is_what_a_whole_run_has(small, tmp_path):
    (choice,) = read_choices(small)
    chosen = {("z", cell.head, cell.layer, cell.site) for cell in choice.cells}
    assert keys(rows(small)) == chosen
    assert [cell.why for cell in choice.cells] == [TOP] * 3 + [RANDOM] * 50
    assert "It is no result" in json.loads((small / SCREEN).read_text())["what"]
    whole = workflow.run_in_memory(
        model_under_test("tiny-float64"),
        replace(SPEC, screen=None),
        pairs_of(list(PAIRS), "pairs", model_under_test("tiny-float64"), SPEC, None, 2),
    ).records
    order = [(name, "ascending") for name in ("pair_index", "head", "layer", "site")]
    found = rows(small).sort_by(order)
    same = [
        row in chosen
        for row in zip(*(whole[name].to_pylist() for name in ("hook", "head", "layer", "site")), strict=True)
    ]
    expected = whole.filter(same).sort_by(order)
    np.testing.assert_allclose(found["recovery"].to_numpy(), expected["recovery"].to_numpy(), atol=1e-9)


def test_a_run_that_is_resumed_or_grows_keeps_its_choice(small, tmp_path):
    before, chosen = (small / SCREEN).read_bytes(), keys(rows(small))
    said = run(small, replace(SPEC, directions=("denoise", "noise")))
    assert not any("screened" in text for text in said)
    assert (small / SCREEN).read_bytes() == before
    grown = rows(small)
    assert keys(grown) == chosen
    assert len(grown) == len(chosen) * 2 * len(PAIRS)
    run(small, replace(SPEC, hooks=("z", "k")), limit=2)
    first, second = read_choices(small)
    assert (first.hook, second.hook) == ("z", "k")
    assert json.loads(before)["screens"][0]["cells"] == json.loads((small / SCREEN).read_text())["screens"][0]["cells"]
    run(tmp_path / "anew", replace(SPEC, seed=1), limit=2)  # other random ones
    other = read_choices(tmp_path / "anew")[0]
    assert [cell for cell in other.cells if cell.why == TOP] == [cell for cell in first.cells if cell.why == TOP]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"screen": 4}, "--screen: the run has 3, asked for 4"),
        ({"screen": None}, r"--screen: the run has 3, asked for \(not given\)"),
        ({"layers": (0, 1)}, "--layers: the run has all, asked for 0,1"),
        ({"sites": ("t0",)}, "--sites: the run has all, asked for t0"),
        ({"hooks": ("z.1", "z.2")}, r"--hooks: the run has z,k, asked for z\.1,z\.2"),
    ],
)
def test_another_screen_is_refused(small, settings, message):
    with pytest.raises(SpecError, match=message):
        run(small, replace(SPEC, **settings), limit=2)


def test_workers_are_told_what_was_chosen(demo_model, shipped_pairs):
    spec = Spec(experiments=("position",), hooks=("z",), screen=2)
    experiment = Experiment.prepare(demo_model, spec, shipped_pairs[:2])
    chosen = screened(experiment, MemoryRun({}), None)
    assert len(chosen.cells([0, 1])) == 52
    assert chosen.cells([0, 1]) != experiment.cells([0, 1])  # those that were foreseen
    there = Order.of(chosen, None).experiment(demo_model)
    assert there.cells([0, 1]) == chosen.cells([0, 1])


def test_a_run_in_memory_is_saved_with_its_choice(tmp_path):
    model = model_under_test("tiny-float64")
    kept = workflow.run_in_memory(model, SPEC, pairs_of(list(PAIRS), "pairs", model, SPEC, None, 2))
    workflow.write_run(kept, tmp_path / "run")
    found = workflow.FinishedRun(tmp_path / "run")
    assert found.choices == kept.choices
    assert len(found.choices[0].cells) == 53
    assert found.summary.screens == kept.summary.screens
    assert (found.summary.screens[0].candidates, found.summary.best) == (68, ())  # nobody is right, so none can switch


def test_the_gradients_of_one_pair_are_planned_with(demo_model, shipped_pairs):
    spec = Spec(experiments=("position",), hooks=("z", "post"), screen=2, checks=0)
    experiment = Experiment.prepare(demo_model, spec, shipped_pairs[:2])
    batch = collate([pair[1] for pair in experiment.layouts])
    needed = bytes_of_gradients(demo_model.hooked, batch, ("z", "post"))
    whole = footprint(demo_model, replace(spec, screen=None), experiment.layouts, 2)
    assert whole.work < needed == footprint(demo_model, spec, experiment.layouts, 2).work


def test_a_plan_counts_the_time_of_the_estimates(demo_model, shipped_pairs, monkeypatch, capsys):
    timed = []

    def seconds(experiment, indices, hooks):
        timed.append((list(indices), hooks))
        return 1.0 + 0.5 * len(indices)  # a second for every call, and half a second a pair

    monkeypatch.setattr(screening, "_seconds_of", seconds)
    spec = Spec(experiments=("position",), hooks=("z", "mlp_out"), layers=(1,), screen=2, checks=0, batch_size=2)
    experiment = Experiment.prepare(demo_model, spec, shipped_pairs[:4])
    assert screening.seconds_of_screen(experiment, quick=9.0) == 4 * 1.0  # the two pairs of a batch share one call
    assert timed == [([0], ("z",)), ([0], ("z",)), ([0, 1], ("z",))]
    both = replace(experiment, spec=replace(spec, directions=("denoise", "noise")))
    assert screening.seconds_of_screen(both, quick=1.0) == 4 * 2 * 1.5  # long enough: timed once
    assert screening.seconds_of_screen(replace(both, spec=replace(spec, screen=None)), quick=1.0) == 0
    monkeypatch.undo()
    plan = make_plan(Experiment.prepare(demo_model, replace(spec, hooks=("z",)), shipped_pairs[:2]))
    assert 0 < plan.screening < 60
    show_plan(plan, spec, "")
    show_plan(plan, replace(spec, screen=None), "")
    assert capsys.readouterr().out.count("for the estimates that choose the cells") == 1
