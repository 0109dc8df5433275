"""Thoughts that are taken away, counted and swapped: the records hold what an independent loop gives."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import independent
import pyarrow as pa
import pytest
import torch
from checkpoints import codi_state, tiny
from models_under_test import ARCHITECTURE_ALPHA, N_LATENTS, PAIRS, load_architecture
from planted import LAYERS, PREFIX, Circuit, adding_pairs, planted_model, planted_pairs

import mechpatch as mp
from mechpatch.errors import SpecError
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.layouts import pair_layouts, with_thoughts
from mechpatch.experiments.running.run import run_experiment
from mechpatch.experiments.spec import Spec, recipient
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair
from mechpatch.storage.memory import MemoryRun
from mechpatch.thoughts import Layout

EXACT = 1e-10
ADDS = Circuit(thought=1, write=1, decoy=2, adds=True)


def records(model: ThoughtModel, pairs: Sequence[Pair], kinds: Sequence[str], **settings: Any) -> pa.Table:
    """The records of a run in memory, without its summary."""
    given: dict[str, Any] = {"checks": 0, **settings}
    spec = Spec(experiments=tuple(kinds), **given)
    return run_experiment(Experiment.prepare(model, spec, pairs), MemoryRun({}), None)


@cache
def plain() -> independent.Plain:
    return independent.merge(tiny("llama"), codi_state(tiny("llama")), ARCHITECTURE_ALPHA, torch.float64)


def said(layout: Layout, writes: tuple = (), hook: str = "thought") -> list[float]:
    """Log-probability of each of two answers, by the independent loop."""
    found = []
    for tail in (0, 1):
        answer = layout.tails[tail].answer_tokens
        logits = independent.run(plain(), layout, tail, writes, hook).logits
        found.append(sum(logits.log_softmax(-1)[at, token].item() for at, token in enumerate(answer)))
    return found


def there(layout: Layout, hook: str, layer: int) -> list[torch.Tensor]:
    """What the thoughts of an unpatched run have, by the independent loop."""
    run = independent.run(plain(), layout, 0)
    return [each[0] for each in run.thoughts] if hook == "thought" else [run.resid[layer][at] for at in layout.thoughts]


def asking(pair: Pair, side: int, answer: str) -> Pair:
    """The pair with another answer in the place of the one that is not patched."""
    changed = mp.load_pairs([{
        "pair_id": pair.pair_id,
        **{name: {"question": each.question, "answer": answer if at != side else each.answer, "cot": each.cot}
           for at, (name, each) in enumerate((("clean", pair.clean), ("corrupted", pair.corrupted)))},
    }])  # fmt: skip
    return changed[0]


@pytest.mark.parametrize(
    ("hook", "direction", "engine"),
    [("thought", "denoise", "fast"), ("resid_post", "noise", "fast"), ("thought", "noise", "reference")],
)
def test_records_are_those_of_an_independent_loop(hook: str, direction: str, engine: str):
    model, side = load_architecture("llama", "float64"), recipient(direction)
    kinds = ["necessity", "count", "early", "swap"] if engine == "fast" else ["swap", "count"]
    table = records(model, PAIRS, kinds, hooks=(hook,), layers=(1,), directions=(direction,), engine=engine, checks=1)
    spec = Spec(experiments=("swap",))
    layouts = {pair.pair_id: pair_layouts(model, spec, pair)[side] for pair in PAIRS}
    donors = {pair.pair_id: pair_layouts(model, spec, pair) for pair in PAIRS}
    by_name = {pair.pair_id: pair for pair in PAIRS}
    seen = set()
    for row in table.to_pylist()[:: 5 if engine == "fast" else 7]:
        layout, pair = layouts[row["pair_id"]], by_name[row["pair_id"]]
        writes: tuple = ()
        if row["experiment"] in ("count", "early"):
            layout = with_thoughts(model, spec, pair, (layout, layout), int(row["site"][1:]))[0]
        elif row["donor"] in ("other_pair", "other_value", "same_step", "zero"):
            names = [f"t{at}" for at in range(N_LATENTS)] if row["site"] == "all" else row["site"].split("+")
            if row["donor"] == "zero":
                vectors = [torch.zeros(model.hooked.cfg.d_model, dtype=torch.float64)] * N_LATENTS
            else:
                vectors = there(donors[row["donor_pair_id"]][1 - side], hook, row["layer"])
            writes = tuple((row["layer"], layout.thoughts[int(name[1:])], vectors[int(name[1:])]) for name in names)
        else:
            continue
        seen.add((row["experiment"], row["donor"]))
        clean, corrupted = said(layout, writes, hook)
        assert row["answer_logprob_diff"] == pytest.approx(clean - corrupted, abs=EXACT), row
        if (answer := row["expected_answer"]) is not None:
            third = pair_layouts(model, spec, asking(pair, side, answer))[side]
            before, after = said(third)[1 - side], said(third, writes, hook)[1 - side]
            assert row["expected_logprob"] == pytest.approx(after, abs=EXACT)
            assert row["expected_logprob_change"] == pytest.approx(after - before, abs=EXACT)
    assert {("swap", "other_value"), ("count", "nothing")} <= seen


def test_equal_runs_have_equal_records():
    """All thoughts are the unpatched run; early is count; a thought alone is position; all at once is layer."""
    model = load_architecture("llama", "float64")
    kinds = ["necessity", "count", "early", "position", "layer"]
    effects = records(model, PAIRS, kinds, layers=(0, 2), sites=("thoughts",), nulls=("zero", "mean")).to_pandas()
    key, value = ["pair_id", "donor", "layer", "site"], "answer_logprob_diff"
    tables = {name: effects[effects.experiment == name].set_index(key)[value] for name in kinds}
    counts = effects[effects.experiment == "count"]
    assert sorted({*counts.site}) == [f"n{number}" for number in range(2 * N_LATENTS + 1)]
    whole = counts[counts.site == f"n{N_LATENTS}"]
    assert (whole[value] - whole[f"{value}_corrupted_run"]).abs().max() < EXACT
    one, two = (counts[counts.site == f"n{number}"][value].to_numpy() for number in (1, 2))
    assert abs(one - two).min() > 1e-6
    shared = tables["early"].index.intersection(tables["count"].index)
    assert len(shared) == len(tables["early"])
    assert (tables["early"][shared] - tables["count"][shared]).abs().max() < EXACT
    for name in ("position", "layer"):
        shared = tables[name].index.intersection(tables["necessity"].index)
        assert {donor for _, donor, *_ in shared} == {"zero", "mean"}
        assert (tables[name][shared] - tables["necessity"][shared]).abs().max() < EXACT


@pytest.mark.parametrize("thoughts", ["text", "placeholder"])
def test_a_chain_is_cut_after_each_step(thoughts: str):
    model = load_architecture("llama", "float64")
    effects = records(model, PAIRS[:2], ["early"], thoughts=thoughts).to_pandas()
    last = effects[effects.step == effects.step.max()]
    column = "answer_logprob_diff"
    assert (last[column] - last[f"{column}_corrupted_run"]).abs().max() < EXACT
    spec = Spec(experiments=("early",), thoughts=thoughts)
    none = with_thoughts(model, spec, PAIRS[0], pair_layouts(model, spec, PAIRS[0]), 0)[1]
    clean, corrupted = said(none)
    row = effects[(effects.step == 0) & (effects.pair_id == PAIRS[0].pair_id)]
    assert row[column].item() == pytest.approx(clean - corrupted, abs=EXACT)
    assert none.thoughts == ()
    if thoughts == "text":
        with pytest.raises(SpecError, match="a text chain has the thoughts that it has"):
            records(model, PAIRS[:2], ["count"], thoughts=thoughts)


def test_the_planted_third_answer_is_found_where_it_is_computed_on():
    """Another question's number with one's own offset: neither question's answer, at one thought of one layer."""
    effects = records(planted_model(ADDS), adding_pairs(), ["swap"], prefix=PREFIX, checks=1).to_pandas()
    told = effects[(effects.donor == "other_value") & effects.expected_answer.notna()]
    assert told.both_correct.all()
    for row in told.to_dict("records"):
        answer = {"clean": row["clean_answer"], "expected": row["expected_answer"]}.get(row["outcome"])
        planted = row["layer"] == ADDS.write and row["site"] in ("t1", "all")
        if not planted:
            assert row["outcome"] == "corrupted", row
        elif row["site"] == "t1" and row["step"] == 1:
            assert answer == row["expected_answer"], row
    third = told[(told.outcome == "expected") & (told.step == 1)]
    assert len(third) >= 2
    assert {*third.layer, *third.site} == {ADDS.write, "t1"}
    assert (told[told.site == "t1"].groupby("layer").expected_logprob_change.max() > 1).tolist() == [
        layer == ADDS.write for layer in range(LAYERS)
    ]


@pytest.mark.parametrize("experiment", ["swap", "necessity"])
def test_what_is_planted_is_needed_and_followed(experiment: str):
    circuit = Circuit(thought=1, write=2, decoy=0)
    table = records(planted_model(circuit), planted_pairs(6), [experiment], thoughts="text", prefix=PREFIX, checks=1)
    donor = {"swap": "other_value", "necessity": "zero"}[experiment]
    rows = [row for row in table.to_pylist() if row["donor"] == donor]
    for row in rows:
        here = row["site"] == "all" or "t1" in row["site"].split("+")
        if experiment == "swap":  # a question alone decides which answer its number has
            moved = here and row["layer"] == circuit.write
            assert row["outcome"] == ("corrupted" if not moved else row["outcome"])
            if moved and row["expected_answer"] is not None:
                assert row["outcome"] in ("clean", "expected")
        else:  # without its marker a thought is not written, and not read
            assert (row["outcome"] == "corrupted") == (not here or row["layer"] > circuit.write), row
    assert {row["outcome"] for row in rows} >= {"corrupted", "expected" if experiment == "swap" else "other"}


def test_answers_that_a_file_expects_are_looked_for():
    pairs = [
        {"pair_id": pair.pair_id, "expected": {"t1": 7, "t1+t2": "6"}}
        | {
            name: {"question": side.question, "answer": side.answer, "cot": side.cot}
            for name, side in (("clean", pair.clean), ("corrupted", pair.corrupted))
        }
        for pair in adding_pairs()
    ]
    asked = {"expected": True, "prefix": PREFIX, "sites": ("thoughts",), "layers": (1,)}
    effects = records(planted_model(ADDS), mp.load_pairs(pairs), ["position"], **asked).to_pandas()
    assert effects[effects.site == "t1"].expected_answer.eq("7").all()
    assert effects[effects.site != "t1"].expected_answer.isna().all()
    seven = effects[(effects.site == "t1") & (effects.clean_answer == "7")]
    assert seven.outcome.eq("clean").all()  # the name of a pair's own answer comes first
    assert not effects.outcome.eq("expected").any()
    for field, told in (({"t9": 7}, "no site 't9'"), (["7"], "should be an object"), ({}, "no pair has a field")):
        wrong = [{**pair, "expected": field} for pair in pairs]
        with pytest.raises(SpecError, match=rf"--expected: .*{told}"):
            records(planted_model(ADDS), mp.load_pairs(wrong), ["position"], **asked)
