"""A run over a few demo pairs: what is stored, what controls say, and that stopping it changes nothing."""

import signal
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from commands import killed, mechpatch
from models_under_test import make_pair

from mechpatch import catalogue
from mechpatch.catalogue import STORED, is_null
from mechpatch.errors import NumericsError, SpecError, ThoughtError
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.layouts import pair_layouts, run_predicates
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.running.batches import BatchRunner
from mechpatch.experiments.running.donors import Recipients, gaussian
from mechpatch.experiments.running.run import run_experiment
from mechpatch.experiments.spec import Spec, parse_experiments
from mechpatch.kinds.cells import KEY
from mechpatch.models import load_model
from mechpatch.pairs import Pair, Side, screen
from mechpatch.patching import engine, reference
from mechpatch.points import POINTS
from mechpatch.storage.results import open_run, read_effects

KINDS = ("latent", "text", "placeholder")
NULLS = tuple(filter(is_null, catalogue.NULLS))
SHARED = {"nulls": NULLS, "layers": (1, 3), "batch_size": 2}  # a full batch and a rest; a middle layer and the last


def run(model, pairs, spec, folder, cache=None):
    with open_run(folder, {"spec": repr(spec)}) as directory:
        return run_experiment(Experiment.prepare(model, spec, pairs), directory, cache)


def column(table, name, **where):
    """Values of a column in the rows where the given columns have the given values."""
    for key, value in where.items():
        table = table.filter(pc.field(key) == value)
    return table[name].to_numpy()


def of_each(run_one):
    """Records of the three experiments, by thought kind and experiment."""
    return {(kind, each): run_one(kind, each) for kind in KINDS for each in ("layer", "position", "chained")}


@pytest.fixture(scope="module")
def tables(demo_model, shipped_pairs, tmp_path_factory):
    """Of the reference, which is slow: without some sites where thoughts are fed back, and some nulls in chains."""

    def run_one(kind, experiment):
        given: dict[str, Any] = {
            "experiments": parse_experiments([experiment]),
            "thoughts": kind,
            "engine": "reference",
        }
        given |= SHARED
        if experiment == "chained":
            given["nulls"] = ("self", "gaussian")
        elif (kind, experiment) == ("latent", "position"):
            given["sites"] = ("t0", "t4", "answer")
        return run(demo_model, shipped_pairs[:3], Spec(**given), tmp_path_factory.mktemp("run") / "out")

    return of_each(run_one)


@pytest.fixture(scope="module")
def fast_tables(demo_model, shipped_pairs, tmp_path_factory):
    """Of the fast engine, with all nulls at all sites, in chunks."""

    def run_one(kind, experiment):
        spec = Spec(**SHARED, experiments=parse_experiments([experiment]), thoughts=kind, memory=2**24)
        return run(demo_model, shipped_pairs[:3], spec, tmp_path_factory.mktemp("run") / "out")

    return of_each(run_one)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("experiment", ["layer", "position", "chained"])
def test_self_donor_moves_exactly_nothing(tables, fast_tables, kind, experiment):
    for table in (tables[kind, experiment], fast_tables[kind, experiment]):
        own = table.filter(pc.field("donor") == "self")
        assert own.num_rows
        for name in ("kl_divergence", "l2_logit_difference", "prediction_change_rate"):
            assert not own[name].to_numpy().any()
        assert (own["answer_logprob_diff"].to_numpy() == own["answer_logprob_diff_corrupted_run"].to_numpy()).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("experiment", ["layer", "position", "chained"])
def test_structural_cells_are_zero_and_others_are_not(tables, fast_tables, kind, experiment):
    for table in (tables[kind, experiment], fast_tables[kind, experiment]):
        assert not column(table, "l2_logit_difference", structural=True, donor="paired").any()
        assert column(table, "l2_logit_difference", structural=False, donor="paired").all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("experiment", ["layer", "position", "chained"])
def test_the_fast_engine_gives_the_records_of_the_reference(tables, fast_tables, kind, experiment):
    fast, plain = fast_tables[kind, experiment], tables[kind, experiment]
    for name in ("donor", "site"):
        fast = fast.filter(pc.field(name).isin(plain[name].unique()))
    key = [(name, "ascending") for name in ("pair_index", "experiment", "donor", "layer", "site_index", "step")]
    fast, plain = fast.sort_by(key), plain.sort_by(key)
    assert fast.select([name for name, _ in key if name != "site_index"]).equals(
        plain.select([name for name, _ in key if name != "site_index"])
    )
    for name in STORED:
        found, expected = (np.nan_to_num(table[name].to_numpy().astype(float)) for table in (fast, plain))
        assert np.allclose(found, expected, atol=2e-3), name


@pytest.mark.parametrize("engine_name", ["fast", "reference"])
def test_pairs_that_fit_alone_run_even_if_they_would_not_fit_together(engine_name, tmp_path):
    """A long question with a short answer beside a short question with a long one."""
    spec = Spec(experiments=("layer",), layers=(1,), engine=engine_name)
    long = make_pair(
        "long",
        ("Sam has 3 boxes of 5 pens. Sam finds 28.", "Sam has 3 boxes of 5 pens. Sam finds 29."),
        ("43", "44"),
        ("", ""),
    )
    wordy = make_pair("wordy", ("Ann has 7.", "Ann has 8."), ("1234567890", "2345678901"), ("", ""))
    n_ctx = max(
        layout.length for pair in (long, wordy) for layout in pair_layouts(load_model("demo", device="cpu"), spec, pair)
    )
    model = load_model("demo", device="cpu", n_ctx=n_ctx)
    together = run(model, [long, wordy], spec, tmp_path / "together")
    for pair in (long, wordy):
        alone = run(model, [pair], spec, tmp_path / pair.pair_id)
        assert column(together, "answer_logprob_diff", pair_id=pair.pair_id) == column(alone, "answer_logprob_diff")


def test_a_wrong_engine_is_caught_by_its_checks(demo_model, shipped_pairs, tmp_path, monkeypatch):
    exact = engine.together

    def wrong(*given):
        for ran in exact(*given):
            made = ran.predictions
            yield replace(ran, predictions=replace(made, rows=made.rows + 0.01))

    monkeypatch.setattr(engine, "together", wrong)
    with pytest.raises(NumericsError, match=r"the fast engine is wrong by 1\.0e-02 in a logit"):
        run(demo_model, shipped_pairs[:2], Spec(experiments=("layer",)), tmp_path / "run")
    run(demo_model, shipped_pairs[:2], Spec(experiments=("layer",), checks=0), tmp_path / "unchecked")


@pytest.mark.parametrize("kind", KINDS)
def test_experiments_agree_where_they_must(tables, kind):
    layer, position, chained = (tables[kind, name] for name in ("layer", "position", "chained"))
    for where in ({"donor": "paired"}, {"donor": "gaussian"}):
        for name in STORED[:10]:
            first = column(position, name, site="t0", **where)
            assert np.array_equal(column(chained, name, experiment="relay", step=0, **where), first, equal_nan=True)
            assert np.array_equal(
                column(chained, name, experiment="cumulative", step=0, **where), first, equal_nan=True
            )
    cumulative = chained.filter((pc.field("experiment") == "cumulative") & (pc.field("donor") == "paired"))
    # The last step is as many steps as the pair has thoughts.
    last = {(r["pair_index"], r["layer"]): r["answer_logprob_diff"] for r in cumulative.to_pylist()}
    whole = layer.filter(pc.field("donor") == "paired").to_pylist()
    assert [last[r["pair_index"], r["layer"]] for r in whole] == [r["answer_logprob_diff"] for r in whole]


@pytest.mark.parametrize("kind", KINDS)
def test_baselines_agree_across_experiments(tables, kind):
    for name in ("answer_logprob_diff_clean_run", "answer_logit_diff_corrupted_run", "both_correct"):
        found = [
            dict(zip(table["pair_index"].to_pylist(), table[name].to_pylist(), strict=True))
            for (each, _), table in tables.items()
            if each == kind
        ]
        assert found[0] == found[1] == found[2]


def test_clean_and_corrupted_change_places_with_direction(demo_model, shipped_pairs, tmp_path):
    """Noise on a pair is denoise on the pair with its sides exchanged."""
    pair = shipped_pairs[0]
    swapped = Pair(pair.pair_id, clean=pair.corrupted, corrupted=pair.clean, fields=pair.fields)
    noise = run(demo_model, [pair], Spec(experiments=("position",), directions=("noise",)), tmp_path / "noise")
    denoise = run(demo_model, [swapped], Spec(experiments=("position",)), tmp_path / "denoise")
    assert np.allclose(noise["kl_divergence"].to_numpy(), denoise["kl_divergence"].to_numpy(), atol=1e-5)
    expected = -denoise["answer_logprob_diff"].to_numpy()
    assert np.allclose(noise["answer_logprob_diff"].to_numpy(), expected, atol=1e-3)
    assert np.allclose(noise["recovery"].to_numpy(), 1 - denoise["recovery"].to_numpy(), atol=1e-3)


def test_both_directions_in_one_run_are_those_of_two(demo_model, shipped_pairs, tmp_path):
    shared = {"experiments": ("layer", "relay"), "nulls": ("other_pair",)}
    both = run(demo_model, shipped_pairs[:3], Spec(**shared, directions=("denoise", "noise")), tmp_path / "both")
    for direction in ("denoise", "noise"):
        alone = run(demo_model, shipped_pairs[:3], Spec(**shared, directions=(direction,)), tmp_path / direction)
        assert both.filter(pc.field("direction") == direction).equals(alone)


def test_windows_say_how_wide_they_are(demo_model, shipped_pairs, tmp_path):
    spec = Spec(experiments=("position", "window"), layers=(0, 1), window=3, sites=("t0",))
    table = run(demo_model, shipped_pairs[:1], spec, tmp_path / "run")
    widths = {(row["experiment"], row["width"]) for row in table.to_pylist()}
    assert widths == {("position", 1), ("window", 3)}


def test_outcomes_are_what_the_answers_say(tables):
    table = tables["latent", "position"]
    assert set(column(table, "outcome_clean_run", both_correct=True)) == {"clean"}
    assert set(column(table, "outcome_corrupted_run", both_correct=True)) == {"corrupted"}
    assert set(column(table, "outcome", donor="self", both_correct=True)) == {"corrupted"}
    # The clean vector of the last token before the answer brings the clean answer.
    assert set(column(table, "outcome", donor="paired", site="answer", layer=3, both_correct=True)) == {"clean"}


def test_sets_are_stored_beside_what_they_are_made_of(demo_model, shipped_pairs, tmp_path):
    names = ("layer", "position", "leave_one_out", "pairwise", "subset", "window")
    spec = Spec(experiments=names, layers=(0, 1), subsets=(("t0", "t1"), ("thoughts",)), window=2, sites=("t0", "t1"))
    table = run(demo_model, shipped_pairs[:2], spec, tmp_path / "run")
    assert set(table["experiment"].to_pylist()) == set(names)
    values = {(r["experiment"], r["pair_index"], r["layer"], r["site"]): r for r in table.to_pylist()}
    for pair in (0, 1):
        for layer in (0, 1):
            both = values["pairwise", pair, layer, "t0+t1"]
            assert both["answer_logprob_diff"] == values["subset", pair, layer, "t0+t1"]["answer_logprob_diff"]
            whole = values["subset", pair, layer, "t0+t1+t2+t3+t4"]["answer_logprob_diff"]
            assert whole == values["layer", pair, layer, "all"]["answer_logprob_diff"]
            single = values["window", pair, layer, "t0"]["l2_logit_difference"]
            assert single != values["position", pair, layer, "t0"]["l2_logit_difference"]
    order = table.filter(pc.field("experiment") == "subset")["site_index"].to_pylist()
    assert order[0] < order[1]


def test_recovery_is_that_of_the_primary_metric(tables):
    table = tables["latent", "position"]
    clean, corrupted, patched = (
        table[f"answer_logprob_diff{suffix}"].to_numpy() for suffix in ("_clean_run", "_corrupted_run", "")
    )
    assert np.allclose(table["recovery"].to_numpy(), (patched - corrupted) / (clean - corrupted))


def test_fields_travel_into_the_records(tables, shipped_pairs):
    table = tables["latent", "layer"]
    entry = dict(zip(table["pair_id"].to_pylist(), table["field.entry_step"].to_pylist(), strict=True))
    assert entry == {pair.pair_id: pair.fields["entry_step"] for pair in shipped_pairs[:3]}
    assert set(column(table, "field.clean.reasoning_steps")) <= {2, 3}


def test_null_donors(tables):
    table = tables["latent", "position"]
    donors = dict(zip(*np.unique(table["donor"].to_numpy(), return_counts=True), strict=True))
    assert donors["paired"] == donors["self"] == donors["other_pair"] == donors["gaussian"]
    # A donor of equal answer need not exist; rows are then left out, not filled.
    assert donors.get("same_value", 0) <= donors["paired"]


def test_same_value_donor_is_found_and_has_the_answer(demo_model, shipped_pairs, tmp_path):
    first, second = shipped_pairs[:2]
    answer = Side(second.corrupted.question, first.corrupted.answer, None, {})
    twin = Pair("twin", second.clean, answer, {})
    table = run(demo_model, [first, twin], Spec(experiments=("layer",), nulls=("same_value",)), tmp_path / "run")
    assert set(column(table, "pair_id", donor="same_value")) == {first.pair_id, "twin"}
    assert set(column(table, "pair_id", donor="paired")) == {first.pair_id, "twin"}
    assert column(table, "l2_logit_difference", donor="same_value").all()


def test_a_batch_gives_what_each_pair_gives_alone(demo_model, shipped_pairs, tmp_path):
    spec = {"experiments": parse_experiments(["chained"]), "nulls": ("gaussian", "other_pair"), "layers": (0, 3)}
    together = run(demo_model, shipped_pairs[:5], Spec(**spec, batch_size=5), tmp_path / "together")
    alone = run(demo_model, shipped_pairs[:5], Spec(**spec, batch_size=1), tmp_path / "alone")
    for name in STORED:
        found, expected = (np.nan_to_num(table[name].to_numpy().astype(float)) for table in (together, alone))
        assert np.allclose(found, expected, atol=2e-3), name


def test_the_cache_changes_nothing(demo_model, shipped_pairs, tmp_path, caplog):
    spec = Spec(experiments=("layer",), nulls=("other_pair",))
    plain = run(demo_model, shipped_pairs[:3], spec, tmp_path / "plain")
    filled = run(demo_model, shipped_pairs[:3], spec, tmp_path / "filled", tmp_path / "cache")
    files = sorted((tmp_path / "cache").glob("*.safetensors"))
    assert files
    assert run(demo_model, shipped_pairs[:3], spec, tmp_path / "read", tmp_path / "cache").equals(plain)
    damaged = bytearray(files[0].read_bytes())
    damaged[-1] ^= 1
    files[0].write_bytes(damaged)
    assert run(demo_model, shipped_pairs[:3], spec, tmp_path / "again", tmp_path / "cache").equals(plain)
    assert files[0].name in caplog.text
    assert filled.equals(plain)


def test_resumed_equals_uninterrupted(demo_model, shipped_pairs, tmp_path):
    spec = Spec(experiments=("position",), nulls=("self",), batch_size=2)
    whole = run(demo_model, shipped_pairs[:5], spec, tmp_path / "whole")
    ticks = []

    def stop(cells):
        ticks.append(cells)
        if len(ticks) == 5:  # in the second batch, after the effect and in the midst of its null donor
            raise KeyboardInterrupt

    experiment = Experiment.prepare(demo_model, spec, shipped_pairs[:5])
    with pytest.raises(KeyboardInterrupt), open_run(tmp_path / "part", {"a": 1}) as directory:
        run_experiment(experiment, directory, None, stop)
    with open_run(tmp_path / "part", {"a": 1}) as directory:
        assert len(directory.shards()) == 3
        assert run_experiment(experiment, directory, None).equals(whole)
    files = [tmp_path / name / "effects.parquet" for name in ("whole", "part")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    """The real command, killed with SIGKILL once its first shards are there, then given again."""
    command = ["run", "layer", "--limit", "6", "--batch-size", "1", "--cache", str(tmp_path / "cache"), "--out"]
    assert mechpatch(*command, tmp_path / "whole").returncode == 0
    shards = tmp_path / "part" / "shards"
    killed(*command, tmp_path / "part", once=lambda: shards.is_dir() and any(shards.glob("*.parquet")))
    assert not (tmp_path / "part" / "effects.parquet").exists()
    assert mechpatch(*command, tmp_path / "part").returncode == 0
    assert read_effects(tmp_path / "part").equals(read_effects(tmp_path / "whole"))


HOOKS = (*(hook for hook in POINTS if hook != "post"), "post.3", "post.200")


@pytest.fixture(scope="module")
def everywhere(demo_model, shipped_pairs, tmp_path_factory):
    """Records of every hook point, of each engine: all donors, two layers, questions of unequal length."""
    found = {}
    for engine_name in ("fast", "reference"):
        spec = Spec(
            experiments=("position", "relay") if engine_name == "fast" else ("position",),
            hooks=HOOKS,
            layers=(0, 3),
            sites=("t0", "t4", "answer"),
            nulls=("self", "zero") if engine_name == "fast" else (),
            batch_size=2,
            engine=engine_name,
        )
        found[engine_name] = run(demo_model, shipped_pairs[:2], spec, tmp_path_factory.mktemp("run") / "out")
    return found


def test_the_engines_agree_at_every_hook_point(everywhere):
    """Chains too, by `tests/patching/engine`; here what becomes of the numbers on their way into records."""
    fast, plain = everywhere["fast"], everywhere["reference"]
    fast = fast.filter((pc.field("donor") == "paired") & (pc.field("experiment") == "position"))
    assert {*fast["hook"].to_pylist()} == {*POINTS}
    assert [*zip(*(fast[name].to_pylist() for name in KEY), strict=True)] == [
        *zip(*(plain[name].to_pylist() for name in KEY), strict=True)
    ]
    for name in STORED:
        found, expected = (np.nan_to_num(table[name].to_numpy().astype(float)) for table in (fast, plain))
        assert np.allclose(found, expected, atol=2e-3), name


def test_what_must_be_zero_is_zero_at_every_hook_point_and_nothing_else(everywhere):
    records = everywhere["fast"]
    assert not column(records, "l2_logit_difference", structural=True).any()
    assert not column(records, "l2_logit_difference", donor="self").any()
    moved = records.filter((pc.field("donor") == "paired") & ~pc.field("structural"))
    still = [row for row in moved.to_pylist() if not row["l2_logit_difference"]]
    assert not still
    assert column(records, "l2_logit_difference", donor="zero", structural=False).all()


def test_every_head_has_cells_of_its_own(everywhere, demo_model):
    cfg, records = demo_model.hooked.cfg, everywhere["fast"].filter(pc.field("donor") == "paired")
    for hook, heads in (("z", cfg.n_heads), ("k", cfg.n_key_value_heads), ("v", cfg.n_key_value_heads)):
        rows = records.filter(pc.field("hook") == hook)
        assert {*rows["head"].to_pylist()} == {*range(heads or cfg.n_heads)}
    neurons = records.filter(pc.field("hook") == "post")
    assert {*neurons["head"].to_pylist()} == {3, 200}
    assert neurons["similarity_clean"].null_count == len(neurons)  # one number has no direction
    for hook in ("resid_pre", "attn_out", "kv", "thought"):
        assert {*records.filter(pc.field("hook") == hook)["head"].to_pylist()} == {None}
    fed = records.filter((pc.field("hook") == "thought") & (pc.field("experiment") == "position"))
    assert {*zip(fed["layer"].to_pylist(), fed["site"].to_pylist(), strict=True)} == {(0, "t0"), (0, "t4")}


def test_all_heads_at_once_and_one_stream_say_the_same(everywhere):
    """`resid_pre` of a block is `resid_post` of the one below, so at layer 0 it is what enters: the thought itself."""
    records = everywhere["fast"].filter((pc.field("donor") == "paired") & (pc.field("experiment") == "position"))
    entering = column(records, "answer_logprob_diff", hook="resid_pre", layer=0, site="t4")
    assert np.allclose(entering, column(records, "answer_logprob_diff", hook="thought", site="t4"), atol=1e-3)


def test_a_hook_point_that_is_asked_for_at_no_site_of_its_own_is_refused(demo_model, shipped_pairs):
    spec = Spec(experiments=("position",), hooks=("thought",), sites=("bot", "answer"))
    with pytest.raises(SpecError, match="--hooks thought: it is written at thoughts alone, and --sites bot,answer has"):
        Experiment.prepare(demo_model, spec, shipped_pairs[:1])


def test_gaussian_vectors_have_the_norm_of_each_head(demo_model, shipped_pairs, tmp_path):
    spec = Spec(
        experiments=("position",),
        hooks=("z", "kv", "post.0"),
        layers=(1,),
        sites=("t0",),
        nulls=("gaussian",),
        checks=0,
    )
    experiment = Experiment.prepare(demo_model, spec, shipped_pairs[:1])
    runs = UnpatchedRuns(demo_model, experiment.layouts, "fast", None, spec.points)
    runner = BatchRunner.prepare(experiment, runs, lambda cells: None)
    for hook in spec.points:
        recipients = Recipients(
            everyone=runner.everyone["denoise", hook], indices=[0], baseline=runs.vectors(0, 1, hook)
        )
        drawn, _ = gaussian(recipients)
        if hook == "post":  # of one number the norm is the standard deviation, over 384 neurons one by one
            ratio = (drawn / recipients.paired)[0, 0, 1, 0]
            assert ratio.std().item() == pytest.approx(1, abs=0.15)
            assert ratio.abs().std().item() > 0.4  # and is no mere change of sign
            continue
        assert torch.allclose(drawn.norm(dim=-1), recipients.paired.norm(dim=-1), rtol=1e-4)
        assert not torch.allclose(drawn, recipients.paired, rtol=0.1)


def test_a_logit_that_is_not_finite_names_pair_and_place(demo_model, shipped_pairs, tmp_path, monkeypatch):
    plain = reference.sweep

    def broken(model, head, batch, donor, patches, hook, say):
        for patch, outcome in plain(model, head, batch, donor, patches, hook, say):
            if patch.layer == 2:
                outcome.logits[1] = torch.nan
            yield patch, outcome

    monkeypatch.setattr(reference, "sweep", broken)
    with pytest.raises(
        NumericsError,
        match=r"'demo-001', layer, layer 2, site all, denoise, donor paired: NaN or infinite in its batch",
    ):
        run(demo_model, shipped_pairs[:2], Spec(experiments=("layer",), engine="reference"), tmp_path / "run")


@pytest.mark.parametrize("side", [0, 1])
def test_the_run_of_either_side_is_looked_at(demo_model, shipped_pairs, tmp_path, monkeypatch, side):
    """A token of one question alone has a damaged embedding: also where only its vectors would have been written."""
    pair = shipped_pairs[0]
    asked = [set(demo_model.tokenizer.encode(each.question)) for each in (pair.clean, pair.corrupted)]
    token = min(asked[side] - asked[1 - side])
    embed = demo_model.hooked.embed
    plain = embed.forward
    broken = lambda tokens: plain(tokens).masked_fill((tokens == token)[..., None], torch.nan)  # noqa: E731
    monkeypatch.setattr(embed, "forward", broken)
    name = ("clean", "corrupted")[side]
    message = f"{pair.pair_id!r}, the unpatched {name} run: NaN or infinite first in the embedding"
    with pytest.raises(NumericsError, match=message):
        run(demo_model, [pair], Spec(experiments=("layer",), engine="reference"), tmp_path / "run")


def test_more_thoughts_than_the_model_runs(demo_model, shipped_pairs):
    spec = Spec(experiments=("layer",), thoughts="placeholder", n_thoughts=10**8)
    with pytest.raises(SpecError, match="--latents 100000000: too many, the model runs at most 512 tokens"):
        Experiment.prepare(demo_model, spec, shipped_pairs[:1])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 2.5), [1.0, 2.5]),
        ((2**60 + 1, 2.5), [str(2**60 + 1), "2.5"]),
        ((2**70, 1), [str(2**70), "1"]),
        ((True, "x"), ["True", "x"]),
    ],
)
def test_fields_of_any_size_travel(demo_model, shipped_pairs, tmp_path, values, expected):
    pairs = [replace(pair, fields={"x": value}) for pair, value in zip(shipped_pairs, values, strict=False)]
    table = run(demo_model, pairs, Spec(experiments=("layer",), layers=(0,)), tmp_path / "run")
    assert table["field.x"].to_pylist() == expected


def test_what_cannot_be_run_is_refused_before_anything_runs(demo_model, shipped_pairs):
    with pytest.raises(SpecError, match="--layers 7: no such layer"):
        Experiment.prepare(demo_model, Spec(experiments=("layer",), layers=(7,)), shipped_pairs)
    same = Spec(experiments=("subset",), subsets=(("t0", "t1", "t2", "t3", "t4"), ("thoughts",)))
    with pytest.raises(SpecError, match=r"--sets t0\+t1\+t2\+t3\+t4,thoughts: both are the same sites"):
        Experiment.prepare(demo_model, same, shipped_pairs)
    with pytest.raises(ThoughtError, match="no site 't9' here"):
        Experiment.prepare(demo_model, Spec(experiments=("position",), sites=("t9",)), shipped_pairs)
    with pytest.raises(ThoughtError, match="no site 'bot' here"):
        Experiment.prepare(demo_model, Spec(experiments=("position",), sites=("bot",), thoughts="text"), shipped_pairs)
    with pytest.raises(ThoughtError, match="no pair is left"):
        Experiment.prepare(demo_model, Spec(experiments=("layer",)), [])


def test_answers_may_be_words(demo_model, shipped_pairs, tmp_path):
    words = [("apples", "coins"), ("books", "Mary"), ("14", "apples"), ("apples", "apples"), ("Mary", "John")]
    pairs = [
        replace(pair, clean=replace(pair.clean, answer=clean), corrupted=replace(pair.corrupted, answer=corrupted))
        for pair, (clean, corrupted) in zip(shipped_pairs, words, strict=False)
    ]
    spec = Spec(experiments=("layer",), layers=(1, 3), nulls=("same_value", "other_pair"))
    screening = screen(pairs, run_predicates(demo_model, spec, keep_same_answer=False))
    assert list(screening.kept) == [pairs[0], pairs[2]]
    assert [(each.reason, each.detail.get("sides")) for each in screening.dropped] == [
        ("unknown_answer", ["corrupted"]),
        ("same_answer", None),
        ("unknown_answer", ["clean", "corrupted"]),
    ]
    table = run(demo_model, list(screening.kept), spec, tmp_path / "run")
    assert set(column(table, "corrupted_answer")) == {"coins", "apples"}
    assert set(column(table, "outcome")) == {"other"}  # the model says a number
    assert np.isfinite(np.array(column(table, "answer_logprob_diff"), dtype=float)).all()
    # Only the second pair's corrupted answer is an answer of the first one too.
    assert set(column(table, "pair_id", donor="same_value")) == {pairs[2].pair_id}
