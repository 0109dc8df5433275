"""A lens reads what Hugging Face's own model has there, and what it finds is told apart from what matters."""

from dataclasses import replace
from typing import Any

import independent
import pyarrow.compute as pc
import pytest
import torch
from checkpoints import codi_state, tiny
from models_under_test import ARCHITECTURE_ALPHA, PAIRS, load_architecture, model_under_test, random_head, tiny_llama
from planted import LAYERS, PREFIX, Circuit, planted_model, planted_pairs
from torch import Tensor

import mechpatch as mp
from mechpatch.errors import SpecError
from mechpatch.pairs import Pair, Side
from mechpatch.readings.lens import logits_of
from mechpatch.readings.targets import targets_of
from mechpatch.stats.lens import beside

KINDS = ("latent", "text")
SIDES = ("clean", "corrupted")


def model_and_plain(name: str) -> tuple[mp.ThoughtModel, independent.Plain]:
    """A model, and the same one for the loop on Hugging Face; float64."""
    if name == "tiny":
        plain = independent.whole(tiny_llama(torch.float64), {}, torch.float64)
        return model_under_test("tiny-float64"), replace(plain, mixed=random_head(32, torch.float64))
    plain = independent.merge(tiny(name), codi_state(tiny(name)), ARCHITECTURE_ALPHA, torch.float64)
    return load_architecture(name, "float64"), plain


def expected(plain: independent.Plain, layout, side: int) -> dict[tuple[str, int, str], Tensor]:
    """Log-probabilities at every place: Hugging Face's final norm and unembedding on its own hidden states."""
    found = independent.run(plain, layout, side)
    norm = plain.hf.base_model.ln_f if hasattr(plain.hf.base_model, "ln_f") else plain.hf.base_model.norm
    sites = zip(layout.sites, layout.positions(side), strict=True)
    told = {
        ("resid_post", layer, site): plain.hf.lm_head(norm(resid[position]))
        for site, position in sites
        for layer, resid in enumerate(found.resid)
    }
    told |= {("thought", 0, f"t{step}"): plain.hf.lm_head(thought[0]) for step, thought in enumerate(found.thoughts)}
    return {place: logits.log_softmax(-1) for place, logits in told.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["tiny", "gpt2"])
def test_the_lens_is_that_of_a_loop_over_hugging_faces_hidden_states(name, kind):
    model, plain = model_and_plain(name)
    found = mp.read(model, PAIRS, thoughts=kind, include_incorrect=True).records.to_pylist()
    for pair in PAIRS:
        for side, layout in enumerate(model.lay_out(pair, kind=kind)):
            told = expected(plain, layout, side)
            rows = [row for row in found if (row["pair_id"], row["side"]) == (pair.pair_id, SIDES[side])]
            assert {(row["hook"], row["layer"], row["site"]) for row in rows} == {*told}
            for row in rows:
                logprobs = told[row["hook"], row["layer"], row["site"]]
                assert row["logprob"] == pytest.approx(float(logprobs[row["token"]]), abs=1e-10)
                assert row["rank"] == int((logprobs >= logprobs[row["token"]] - 1e-10).sum())
                assert len(row["top"]) == 5
            above = float(told["resid_post", 1, rows[0]["site"]][rows[0]["token"]])
            assert rows[0]["logprob"] != pytest.approx(above, abs=1e-10)  # the next layer would be noticed
    assert {row["hook"] for row in found} == {"resid_post", *(["thought"] if kind == "latent" else [])}


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_read_and_what_matters_are_both_found_and_not_confused(kind):
    """The number can be read at the decoy's thought, which nothing uses; it matters where the circuit put it, and no
    lens sees it there."""
    circuit = Circuit(thought=0, write=1, decoy=2, shows=True)
    model, pairs = planted_model(circuit), planted_pairs(12)
    reading = mp.read(model, pairs, thoughts=kind, prefix=PREFIX)
    run = mp.run(model, pairs, "position", nulls=("other_pair",), thoughts=kind, prefix=PREFIX, checks=0)
    readable = {(cell.target, cell.place) for cell in reading.summary.of("clean") if cell.clear}
    thoughts = {each for each in readable if each[1][2] != "answer"}
    assert thoughts == {("step1", ("resid_post", layer, "t2")) for layer in range(circuit.write, LAYERS)}
    assert ("clean_answer", ("resid_post", LAYERS - 1, "answer")) in readable
    found = beside(reading.summary, run.summary)
    assert found is not None
    assert {*found.readable} == {place for _, place in thoughts}
    assert {*found.moving} == {("resid_post", circuit.write, f"t{circuit.thought}")}
    assert found.both == ()
    hidden = mp.read(planted_model(replace(circuit, shows=False)), pairs, thoughts=kind, prefix=PREFIX)
    assert not [cell for cell in hidden.summary.cells if cell.clear and cell.site != "answer"]


def test_a_twin_takes_away_what_it_shows_too():
    circuit, pairs = Circuit(thought=0, write=1, decoy=2, shows=True), planted_pairs(12)
    twin = mp.read(planted_model(circuit), pairs, prefix=PREFIX)
    other = mp.read(planted_model(replace(circuit, shows=False)), pairs, prefix=PREFIX)
    own = mp.read(planted_model(circuit), pairs, prefix=PREFIX, twin=twin).summary
    assert own.controls == ["other_question", "shuffled_values", "twin"]
    assert not [cell for cell in own.cells if cell.clear]
    beyond = mp.read(planted_model(circuit), pairs, prefix=PREFIX, twin=other).summary
    assert {cell.site for cell in beyond.of("clean") if cell.clear} == {"t2"}


def test_controls_are_drawn_by_name(demo_model, shipped_pairs):
    whole = mp.read(demo_model, shipped_pairs[:6]).records
    part = mp.read(demo_model, shipped_pairs[:6], limit=2).records
    turned = mp.read(demo_model, shipped_pairs[:6][::-1]).records
    first = pc.field("pair_id").isin(part["pair_id"].unique())
    columns = [name for name in whole.column_names if name not in ("pair_index", "logprob")]
    assert whole.filter(first).select(columns).equals(part.select(columns))
    order = [("pair_id", "ascending"), ("side", "ascending"), ("hook", "ascending"), ("layer", "ascending")]
    order += [("site_index", "ascending"), ("target", "ascending")]
    assert whole.sort_by(order).select(columns).equals(turned.sort_by(order).select(columns))
    other = mp.read(demo_model, shipped_pairs[:6], seed=1).records
    assert not other["other_question"].equals(whole["other_question"])


def test_a_control_has_not_what_it_is_a_control_of(demo_model, shipped_pairs):
    pairs = shipped_pairs[:8]
    values = {
        (pair.pair_id, name): {each.value for each in targets_of(demo_model.tokenizer, pair, side, "The:")}
        for pair in pairs
        for side, name in enumerate(SIDES)
    }
    for row in mp.read(demo_model, pairs).records.to_pylist():
        assert row["pair_id"] != row["other_question"]
        assert row["value"] not in values[row["other_question"], row["side"]]
        assert row["shuffled_value"] not in values[row["pair_id"], row["side"]]


def pair_of(values: list[str], answer: str, other: str) -> Pair:
    sides = [Side("q", text, None, {"values": values}) for text in (answer, other)]
    return Pair("one", clean=sides[0], corrupted=sides[1], fields={})


def test_a_value_is_known_by_the_first_token_of_its_own(demo_model):
    found = targets_of(demo_model.tokenizer, pair_of(["15", "150", "7", "9"], "9", "15"), 0, "The answer is:")
    texts = {each.name: (demo_model.tokenizer.convert_ids_to_tokens(each.token), each.tokens) for each in found}
    assert texts["step1"] == ("15", 1)
    assert texts["step2"][1] > 1
    assert texts["clean_answer"] == ("9", 1)
    assert [each.name for each in found] == ["step1", "step2", "step3", "clean_answer", "corrupted_answer"]
    shared = {each.name: each.shared for each in found}
    assert shared["step1"] == ("step2", "corrupted_answer")  # 150 begins with 15
    assert shared["step3"] == shared["clean_answer"] == ()
    kept = targets_of(demo_model.tokenizer, pair_of(["15", "7"], "9", "15"), 0, "The answer is:")
    assert [each.name for each in kept] == ["step1", "step2", "clean_answer", "corrupted_answer"]  # 7 is not the answer


def test_a_tie_is_no_hit():
    model = planted_model(Circuit(thought=0, write=1, decoy=2))
    rows = mp.read(model, planted_pairs(4), prefix=PREFIX).records.to_pylist()
    silent = [row["rank"] for row in rows if (row["hook"], row["layer"], row["site"]) == ("resid_post", 0, "t1")]
    assert min(silent) >= 8  # nothing is read there: all eight numbers are equally likely
    assert logits_of(model, torch.zeros(1, 64, dtype=torch.float64)).unique().numel() == 1


def test_what_cannot_be_read_is_refused(demo_model, shipped_pairs):
    with pytest.raises(SpecError, match="'lenz' is not known; did you mean lens"):
        mp.read(demo_model, shipped_pairs[:2], "lenz")
    misspelt: Any = {"colour": 3}
    with pytest.raises(SpecError, match=r"read\(\): 'colour' is not known; expected top, "):
        mp.read(demo_model, shipped_pairs[:2], **misspelt)
