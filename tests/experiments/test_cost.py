"""A plan counts what a run then does, and its prediction is the sum of what was measured."""

import dataclasses
import warnings
from dataclasses import replace

import pytest
import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig

from mechpatch.experiments import cost
from mechpatch.experiments.cost import Plan, Timing, foresee, make_plan, predict
from mechpatch.experiments.counted import Counts, count
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running import run
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.running.batches import BatchRunner, Todo
from mechpatch.experiments.running.footprint import footprint_of_batch
from mechpatch.experiments.running.run import run_experiment
from mechpatch.experiments.running.saying import Speech
from mechpatch.experiments.spec import Spec
from mechpatch.models.heads import LatentHead
from mechpatch.patching import reference
from mechpatch.patching.engine import runs as engine
from mechpatch.patching.engine import saying
from mechpatch.patching.engine.work import Work
from mechpatch.patching.say import Say
from mechpatch.storage.results import open_run


@pytest.fixture(scope="module")
def experiment(demo_model, shipped_pairs) -> Experiment:
    spec = Spec(
        experiments=("layer", "position", "relay", "window"),
        hooks=("resid_post", "kv"),
        directions=("denoise", "noise"),
        nulls=("self",),
        layers=(0, 2),
        window=2,
        batch_size=2,
        checks=1,
    )
    return Experiment.prepare(demo_model, spec, shipped_pairs[:3])


@pytest.fixture(scope="module")
def made(experiment) -> Plan:
    return make_plan(experiment)


def test_what_is_counted_is_what_is_run(experiment, monkeypatch):
    rows = []
    real = engine.run_block
    monkeypatch.setattr(engine, "run_block", lambda block, h, *rest: (rows.append(len(h)), real(block, h, *rest)))
    counts = count(experiment)
    runs = UnpatchedRuns(experiment.model, experiment.layouts, "fast", None, experiment.spec.points)
    runner = BatchRunner.prepare(experiment, runs, lambda cells: None)
    whole = [Todo.whole(experiment, batch) for batch in experiment.batches]
    records = sum(part.table.num_rows for todo in whole for part in runner.run(todo))
    assert counts.records == records == 3 * (2 + 2 * 8 + 2 * 5 + 2 * 8) * 2 * 2 * 2
    assert counts.plain_runs == records + 3 * 3
    # Fewer, where a donor's vector is the run's own: the clean and the corrupted `bot` of one pair may be alike.
    assert 0.9 * (counts.unpatched + counts.patched).token_layers <= sum(rows)
    assert sum(rows) <= (counts.unpatched + counts.patched).token_layers
    assert set(runner.watch.seconds) == set(counts.sections())
    assert all(seconds > 0 for seconds in runner.watch.seconds.values())


def test_relay_steps_that_nothing_is_handed_to_are_not_planned(demo_model, shipped_pairs, monkeypatch):
    """Without feedback the run of every step but the first is the unpatched one."""
    rows, real = [], engine.run_block
    monkeypatch.setattr(engine, "run_block", lambda block, h, *rest: (rows.append(len(h)), real(block, h, *rest)))
    spec = Spec(experiments=("relay",), layers=(1,), thoughts="placeholder", n_thoughts=3, checks=0)
    experiment = Experiment.prepare(demo_model, spec, shipped_pairs[:2])
    counts = count(experiment)
    runs = UnpatchedRuns(demo_model, experiment.layouts, "fast", None)
    runner = BatchRunner.prepare(experiment, runs, lambda cells: None)
    assert sum(part.table.num_rows for part in runner.run(Todo.whole(experiment, [0, 1]))) == 2 * 3
    assert sum(rows) == (counts.unpatched + counts.patched).token_layers
    first = count(
        Experiment.prepare(
            demo_model, dataclasses.replace(spec, experiments=("position",), sites=("t0",)), shipped_pairs[:2]
        )
    )
    assert counts.patched == first.patched  # t0 of `position`
    assert counts.patched.token_layers > 0


@pytest.mark.parametrize("experiments", [("position", "relay"), ("count",)])
def test_what_is_said_is_counted_as_if_nothing_ended_before(experiment, monkeypatch, experiments):
    rows, plain = [], []
    real, rollout = engine.run_block, reference.rollout
    for module in (engine, saying):
        monkeypatch.setattr(module, "run_block", lambda block, h, *rest: (rows.append(len(h)), real(block, h, *rest)))
    monkeypatch.setattr(reference, "rollout", lambda *given, **named: (plain.append(1), rollout(*given, **named))[1])
    monkeypatch.setattr(Speech, "say", Say(5, torch.zeros(experiment.model.hooked.cfg.d_vocab_out, dtype=torch.bool)))
    spec = Spec(experiments=experiments, layers=(0, 1), say=5, checks=0, sites=("thoughts",))
    loud = Experiment.prepare(experiment.model, spec, experiment.pairs)
    (batch,) = loud.batches
    runner = BatchRunner.prepare(
        loud, UnpatchedRuns(loud.model, loud.layouts, "fast", None, spec.points), lambda _: None
    )
    list(runner.run(Todo.whole(loud, batch)))
    counts, silent = count(loud), count(replace(loud, spec=replace(spec, say=None)))
    by_hooks = silent.patched.token_layers if experiments == ("count",) else 0
    assert sum(rows) + by_hooks == (counts.unpatched + counts.patched).token_layers
    written = experiments != ("count",)
    shared = 2 * 3 * written  # step 0 of the relay is t0 of position, at two layers of three pairs
    said = (counts.records - shared + 3 * written) * 4 * loud.model.n_layers
    assert counts.patched.token_layers >= silent.patched.token_layers + said
    assert counts.plain_runs - silent.plain_runs == 5 * counts.records
    assert counts.patched.flops > silent.patched.flops
    assert len(plain) == (len(loud.cells(batch)) if experiments == ("count",) else 0)


@pytest.mark.parametrize("say", [None, 4])
def test_the_reference_is_counted_as_plain_runs(experiment, say):
    spec = Spec(experiments=("layer",), engine="reference", say=say)
    plain = Experiment.prepare(experiment.model, spec, experiment.pairs)
    counts = count(plain)
    assert counts.patched == counts.plain
    assert counts.checks == Work()
    if say:
        assert counts.patched.flops > 4 * count(replace(plain, spec=replace(spec, say=None))).patched.flops


@pytest.mark.parametrize("parallel", [False, True])
def test_the_reference_is_forecast_for_any_model(shipped_pairs, demo_model, tmp_path, caplog, monkeypatch, parallel):
    """After its first batch; the fast engine reads a Llama's weights, and plain hooks run any model."""
    cfg = HookedTransformerConfig(
        n_layers=2, d_model=16, n_heads=2, d_head=8, d_mlp=24, n_ctx=128, d_vocab=demo_model.hooked.cfg.d_vocab,
        act_fn="gelu", positional_embedding_type="rotary", parallel_attn_mlp=parallel, seed=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        hooked = HookedTransformer(cfg).requires_grad_(False)
    model = dataclasses.replace(demo_model, hooked=hooked, head=LatentHead({}), n_latents=2)
    spec = Spec(experiments=("layer",), engine="reference", batch_size=1)
    experiment = Experiment.prepare(model, spec, shipped_pairs[:2])
    whole, tokens = count(experiment), sum(layout.length for layouts in experiment.layouts for layout in layouts)
    assert whole.unpatched.token_layers > 2 * tokens
    assert whole.unpatched.flops > 2 * 2 * tokens * (4 * 16 * 16 + 2 * 16 * 24)
    for short, told in ((1e9, False), (0.0, True)):  # what a short run takes nobody counts
        monkeypatch.setattr(run, "SHORT", short)
        with caplog.at_level("INFO"), open_run(tmp_path / str(short), {}) as directory:
            run_experiment(experiment, directory, None)
        assert ("expected to take" in caplog.text) == told


def test_a_long_pair_is_timed_on_some_of_its_layers(experiment, made, monkeypatch):
    """Whatever a pair takes: one layer at least, in one direction and with one donor; the forecast is of all.

    A second of this test is one operation or one record, so that what is foreseen is what is counted.
    """
    timed = []
    real = cost._timed

    def count_time(of: Experiment, todo: Todo) -> tuple[Timing, int]:
        timed.append(todo)
        found, answered = real(of, todo)
        return replace(found, seconds=found.counts.sections()), answered

    monkeypatch.setattr(cost, "_timed", count_time)
    monkeypatch.setattr(cost, "rows_for_reading", lambda model: 0.0)
    monkeypatch.setattr(cost, "LONG", 1e-9)
    sampled = make_plan(experiment)
    ((part, cells),) = timed[0].cells.items()
    assert len(timed) == 1
    assert part == ("denoise", "paired")
    assert {cell.layer for cell in cells} == {2}
    assert (sampled.timed, sampled.counts) == (len(cells), made.counts)
    assert sampled.seconds == pytest.approx(sum(made.counts.sections().values()))


def test_layers_are_spread_evenly():
    assert cost.evenly(range(16), 1) == {8}
    assert cost.evenly(range(16), 4) == {2, 6, 10, 14}
    assert cost.evenly((3, 5), 9) == {3, 5}


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


def test_weights_that_few_rows_read_are_no_work_of_the_rows():
    """A sample with few rows in a product takes nearly as long as one with many."""
    reading, each = 40.0, 0.5  # rows that reading a weight is worth, and seconds of an operation

    def timed(rows: int) -> Timing:
        patched = Work(rows, 2 * rows, read=1)  # one weight, once for all rows
        nothing = Counts(plain_runs=0, plain=Work(), unpatched=Work(), patched=patched, checks=Work(), records=0)
        seconds = dict.fromkeys(nothing.sections(), 0.0) | {"patched": each * patched.effort(reading)}
        return Timing(nothing, seconds)

    few, many = timed(8), timed(800)
    assert predict(few, few, many.counts, 1, reading) == pytest.approx(many.total)
    assert predict(few, few, many.counts, 1) > 5 * many.total


def test_reading_weights_is_timed(demo_model, monkeypatch):
    seconds = iter(range(1000))
    monkeypatch.setattr(cost.time, "perf_counter", lambda: float(next(seconds)))
    assert cost.rows_for_reading(demo_model.hooked) == 0  # as long for many rows as for few: nothing can be told
    clock = iter([0.0, 2.0] * cost.ROUNDS + [0.0, 2.0 + (cost.MANY - cost.FEW) / 16] * cost.ROUNDS)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    assert cost.rows_for_reading(demo_model.hooked) == pytest.approx(2.0 * 16 - cost.FEW)


def test_noise_gives_no_negative_overhead():
    slow, quick = timing(1, 3.0, 0.0), timing(4, 0.5, 0.0)
    assert predict(slow, quick, counts(8), 2) == pytest.approx(3 * 4.0)


def test_a_plan_is_of_its_run(experiment, made, demo_model):
    assert (made.pairs, made.cells) == (3, 88)
    assert made.counts == count(experiment)
    assert made.weights == pytest.approx(
        sum({p.data_ptr(): p.nbytes for p in demo_model.hooked.parameters()}.values()), rel=0.1
    )
    found = footprint_of_batch(experiment, [0, 1], made.counts.records)
    assert made.peak_memory == found.process + found.end  # a small model takes most at its end
    assert made.memory_bound > made.peak_memory
    assert made.answered == made.calibrated_on > 0  # both sides of every shipped pair are answered right
    assert made.seconds > 0
    assert made.as_json()["counts"]["records"] == made.counts.records


def test_of_many_batches_some_are_counted(demo_model, shipped_pairs, monkeypatch):
    """And what all take is foreseen nearly as if all were."""
    spec = Spec(experiments=("layer",), layers=(1,), batch_size=1, checks=0)
    small = Experiment.prepare(demo_model, spec, shipped_pairs[:7])
    todos = [Todo.whole(small, batch) for batch in small.batches]
    counted = []
    monkeypatch.setattr(cost, "count", lambda experiment, some: (counted.append(len(some)), count(experiment, some))[1])
    first = Timing(count(small, todos[:1]), {"unpatched": 3.0, "patched": 5.0, "checks": 0.0, "records": 1.0})
    exact = foresee(small, first, todos)
    monkeypatch.setattr(cost, "COUNTED", 3)
    assert foresee(small, first, todos) == pytest.approx(exact, rel=0.1)
    assert counted == [7, 3]
