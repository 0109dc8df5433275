"""What patched runs say, in the records: it is what plain hooks say, and it agrees with the outcome."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from models_under_test import PAIRS, load_architecture
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from mechpatch.errors import SpecError
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.layouts import pair_layouts, run_predicates
from mechpatch.experiments.running.answering import OTHER, answer
from mechpatch.experiments.running.run import run_experiment
from mechpatch.experiments.running.saying import Speech
from mechpatch.experiments.spec import Spec
from mechpatch.pairs import screen
from mechpatch.storage.memory import MemoryRun

KINDS = ("position", "relay", "cumulative", "count", "early", "swap")


def effects(model: Any, pairs: Any, kinds: tuple[str, ...], **settings: Any) -> Any:
    given: dict[str, Any] = {"checks": 0, **settings}
    spec = Spec(experiments=kinds, **given)
    return run_experiment(Experiment.prepare(model, spec, pairs), MemoryRun({}), None).to_pandas()


def test_what_is_said_is_what_the_outcome_names(demo_model, shipped_pairs):
    """Teacher-forced top-1s and the text agree in every kind: the answer is the first word of what is said.

    With another number of thoughts than it was trained with, the model may say it twice or three times.
    """
    found = effects(demo_model, shipped_pairs[:6], KINDS, say=4, layers=(1,))
    first = found.said.str.split().str[0]
    answers = {name: found[f"{name}_answer"] for name in ("clean", "corrupted", "expected")}
    for name, its in answers.items():
        of_it = found.outcome == name
        assert of_it.sum() > 9, name
        assert (first[of_it] == its[of_it]).all()
    other = found[found.outcome == OTHER]
    assert len(other) > 100
    for its in answers.values():
        assert (first[other.index] != its[other.index]).all()
    assert (found.said.str.split().str.len() == 1).mean() > 0.9
    unpatched = found[(found.experiment == "count") & (found.site == f"n{demo_model.n_latents}")]
    assert (unpatched.said == unpatched.corrupted_answer)[unpatched.both_correct].all()


def test_both_engines_say_the_same():
    model = load_architecture("llama", "float64")
    kinds = ("position", "relay", "early")
    asked: dict[str, Any] = {"say": 3, "layers": (1,), "directions": ("denoise", "noise"), "sites": ("t1", "eot")}
    fast, plain = (effects(model, PAIRS, kinds, engine=engine, **asked) for engine in ("fast", "reference"))
    assert len({*fast.said}) > 10
    assert (fast.said == plain.said).all()
    numbers = [name for name in fast.columns if fast[name].dtype == float]
    assert np.allclose(fast[numbers], plain[numbers], atol=1e-9, equal_nan=True)
    silent = effects(model, PAIRS, kinds, **{**asked, "say": None})
    assert silent.said.isna().all()
    assert np.allclose(fast[numbers], silent[numbers], atol=1e-12, equal_nan=True)


def test_a_run_that_changes_nothing_says_what_the_unpatched_one_says():
    model = load_architecture("llama", "float64")
    found = effects(model, PAIRS, ("layer",), say=8, nulls=("self",), layers=(0,)).set_index(["donor", "pair_id"])
    told = answer(model, Spec(experiments=("layer",)), PAIRS, (), None, lambda _: None)
    for pair in PAIRS:
        text = told[pair.pair_id][1].text
        assert len(text) > 1
        assert found.said["self", pair.pair_id].startswith(text)
    assert (found.said["self"] != found.said["paired"]).any()


def test_a_text_ends_at_a_line_break_or_a_special_token(demo_model):
    words = {"1": 0, "2": 1, "Ġ": 2, "Ċ": 3, ".Ċ": 4, "<eos>": 5, "ĊĠ2": 6}
    tokens = Tokenizer(BPE(words, []))
    tokens.decoder = ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<eos>")
    speech = Speech(replace(demo_model, tokenizer=tokenizer, bot=8), 4)
    assert speech.say.count == 4
    special = {5, 8, demo_model.pad, demo_model.eot}
    assert {*speech.say.ends.nonzero()[:, 0].tolist()} == {3, 4, 6} | special
    said = [[0, 1, 5, -1], [2, 0, 4, -1], [0, 6, -1, -1], [3, -1, -1, -1], [1, 2, 0, 2], [8, -1, -1, -1]]
    assert speech.texts(torch.tensor(said)) == ["12", "1.", "1", "", "2 1", ""]


def test_a_model_must_have_positions_for_all_that_may_be_said(demo_model, shipped_pairs):
    pairs = shipped_pairs[:4]

    def dropped(say: int) -> list[str]:
        spec = Spec(experiments=("layer",), say=say)
        return [each.reason for each in screen(pairs, run_predicates(demo_model, spec, False)).dropped]

    layouts = [each for pair in pairs for each in pair_layouts(demo_model, Spec(experiments=("layer",)), pair)]
    room = demo_model.n_ctx - max(len(each.prompt) + each.n_latents + len(each.opening) for each in layouts)
    assert dropped(room) == []
    assert dropped(room + 1) == ["too_long"]
    found = effects(demo_model, pairs, ("layer",), say=room, layers=(0,))
    assert found.said.notna().all()
    with pytest.raises(SpecError, match="--say is 0, expected at least 1 token"):
        Spec(experiments=("layer",), say=0)
