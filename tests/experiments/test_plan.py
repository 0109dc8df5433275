"""A plan counts what a run then does, and its prediction is the sum of what was measured."""

import pytest

from mechpatch.experiments.activations import UnpatchedRuns
from mechpatch.experiments.batches import BatchRunner
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.plan import Counts, Timing, count, make_plan, predict
from mechpatch.experiments.spec import Spec
from mechpatch.patching import engine
from mechpatch.patching.work import Work


@pytest.fixture(scope="module")
def experiment(demo_model, shipped_pairs) -> Experiment:
    spec = Spec(
        experiments=("layer", "position", "relay", "window"),
        directions=("denoise", "noise"),
        nulls=("self", "noise"),
        layers=(0, 2),
        window=2,
        batch_size=2,
        checks=1,
    )
    return Experiment.prepare(demo_model, spec, shipped_pairs[:3])


def test_what_is_counted_is_what_is_run(experiment, monkeypatch):
    rows = []
    real = engine.run_block
    monkeypatch.setattr(
        engine, "run_block", lambda block, eps, h, *rest: (rows.append(len(h)), real(block, eps, h, *rest))
    )
    counts = count(experiment)
    runs = UnpatchedRuns(experiment.model, experiment.layouts, "fast", None)
    runner = BatchRunner.prepare(experiment, runs, lambda cells: None)
    records = sum(table.num_rows for batch in experiment.batches for table in runner.run(batch))
    assert counts.records == records == 3 * (2 + 2 * 8 + 2 * 5 + 2 * 8) * 3 * 2
    assert counts.plain_runs == records + 3 * 3
    # Fewer, where a donor's vector is the run's own: the clean and the corrupted `bot` of one pair may be alike.
    assert 0.9 * (counts.unpatched + counts.patched).token_layers <= sum(rows)
    assert sum(rows) <= (counts.unpatched + counts.patched).token_layers
    assert set(runner.watch.seconds) == set(counts.sections)
    assert all(seconds > 0 for seconds in runner.watch.seconds.values())


def test_the_reference_is_counted_as_plain_runs(experiment):
    spec = Spec(experiments=("layer",), engine="reference")
    plain = Experiment.prepare(experiment.model, spec, experiment.pairs)
    counts = count(plain)
    assert counts.patched == counts.plain
    assert counts.checks == Work()


def counts(scale: int) -> Counts:
    work = Work(scale, 10 * scale)
    return Counts(plain_runs=scale, plain=work, unpatched=work, patched=work, checks=Work(), records=2 * scale)


def timing(scale: int, each: float, overhead: float) -> Timing:
    seconds = {name: overhead + each * scale for name in ("unpatched", "patched", "records")}
    return Timing(counts(scale), seconds | {"checks": 0.0})


def test_two_timings_tell_overhead_from_work():
    small, large = timing(1, 0.5, 2.0), timing(4, 0.5, 2.0)
    assert predict(small, large, counts(40), 10) == pytest.approx(3 * (10 * 2.0 + 40 * 0.5))
    assert predict(large, large, counts(40), 10) == pytest.approx(3 * 10 * (2.0 + 4 * 0.5))


def test_noise_gives_no_negative_overhead():
    slow, quick = timing(1, 3.0, 0.0), timing(4, 0.5, 0.0)
    assert predict(slow, quick, counts(8), 2) == pytest.approx(3 * 4.0)


def test_a_plan_is_of_its_run(experiment, demo_model):
    plan = make_plan(experiment)
    assert (plan.pairs, plan.cells) == (3, 44)
    assert plan.counts == count(experiment)
    assert plan.weights == pytest.approx(
        sum({p.data_ptr(): p.nbytes for p in demo_model.hooked.parameters()}.values()), rel=0.1
    )
    assert plan.peak_memory > plan.weights
    assert plan.seconds > 0
    assert plan.as_json()["counts"]["records"] == plan.counts.records
