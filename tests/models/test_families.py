"""Every family, in the forms in which its files are published, against a loop on the plain Hugging Face model."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import independent
import pytest
import torch
from checkpoints import CODI, VOCAB, codi_state, edit_state, tiny, tiny_llama, write_base, write_peft, write_state
from families import FORMS, coconut_state, sim_cot_state, write_coconut
from helpers import assert_same
from models_under_test import PAIRS
from torch import Tensor

from mechpatch.errors import CheckpointError, SpecError
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel, load_model, load_source
from mechpatch.patching import collate, engine, reference
from mechpatch.patching.patch import Patch
from mechpatch.source import ModelSource

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@cache
def written(form: str) -> dict[str, Any]:
    return FORMS[form].write(Path(mkdtemp()))


def loaded(form: str, **settings: Any) -> ThoughtModel:
    return load_model(**{"device": "cpu", **written(form), **settings})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_a_published_form_is_the_plain_model(form, dtype):
    """Family, layout, thoughts, answers and patched answers: plain hooks and engine against the loop."""
    expected, model = FORMS[form], loaded(form, dtype=dtype)
    about = model.about
    assert (model.family.name, model.bot, model.n_latents) == (expected.family, expected.bot, expected.n_latents)
    assert tuple(sorted(about.get("left_out", {}))) == expected.left_out
    spec = Spec(experiments=("position",), n_thoughts=3)
    layouts = [pair_layouts(model, spec, each) for each in PAIRS[1:]]
    question = model.tokenizer.encode(expected.asked.format(PAIRS[1].corrupted.question))
    layout = layouts[0][1]
    assert list(layout.prompt) == question + ([] if model.bot is None else [model.bot])
    tail = model.tokenizer.encode(f"{expected.prefix} 148", add_special_tokens=False)
    assert list(layout.tails[0].tokens) == ([] if model.eot is None else [model.eot]) + tail
    clean, corrupted = (collate([sides[side] for sides in layouts]) for side in (0, 1))
    donor = reference.baseline(model.hooked, model.head, clean).resid
    plain, sites = expected.plain(DTYPES[dtype]), corrupted.sites
    patches = [Patch(0, (0,)), Patch(1, (sites.index("t1"),)), Patch(2, (0, len(sites) - 1))]
    base, fed = engine.base_run(model.hooked, model.head, corrupted), []

    def listening(hidden: Tensor) -> Tensor:
        assert model.head is not None
        fed.append(model.head(hidden))
        return fed[-1]

    runs = [reference.baseline(model.hooked, listening, corrupted)]
    runs += [outcome for _, outcome in reference.sweep(model.hooked, model.head, corrupted, donor, patches)]
    fast = [base.outcome, *(outcome for _, outcome in engine.sweep(base, donor, patches))]
    for found, by_engine, patch in zip(runs, fast, [None, *patches], strict=True):
        assert_same(by_engine.logits, found.logits)
        for row, layout in enumerate(sides[1] for sides in layouts):
            places = layout.positions(0)
            writes = (
                [(patch.layer, places[site], donor[row, 0, patch.layer, site]) for site in patch.sites] if patch else []
            )
            own = independent.run(plain, layout, 0, writes)
            assert_same(found.logits[row, 0, : len(own.logits)], own.logits)
            if not patch:
                assert_same(torch.stack(fed, dim=1)[row], torch.cat(own.thoughts))
    assert (runs[1].logits - runs[0].logits).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("form", "token"), [("coconut", VOCAB + 2), ("sim-cot-sharded", VOCAB), ("sim-cot-bin", VOCAB)]
)
def test_without_recurrence_a_run_is_one_forward_pass(form, token, dtype):
    """`pause`: the family's layout with the latent token, or pad, in place of every thought."""
    model = loaded(form, family="pause", dtype=dtype)
    assert model.head is None
    with pytest.raises(SpecError, match="latent thoughts need a model that feeds them back"):
        pair_layouts(model, Spec(experiments=("position",)), PAIRS[0])
    (layout, _) = pair_layouts(model, Spec(experiments=("position",), thoughts="placeholder", n_thoughts=4), PAIRS[0])
    assert list(layout.prompt[-5:]) == [model.bot, *[token] * 4]
    batch, hf = collate([layout]), FORMS[form].plain(DTYPES[dtype]).hf
    expected = hf(torch.tensor([[*layout.prompt, *layout.tails[0].tokens]])).logits
    expected = expected[0, len(layout.prompt) + layout.tails[0].answer - 1 :]
    for run in (reference.baseline(model.hooked, None, batch), engine.base_run(model.hooked, None, batch).outcome):
        assert_same(run.logits[0, 0, : len(expected)], expected)
    latent = pair_layouts(loaded(form), Spec(experiments=("position",), n_thoughts=4), PAIRS[0])[0]
    assert (latent.prompt, latent.tails) == (layout.prompt[:-4], layout.tails)


@pytest.mark.parametrize(
    ("form", "control"), [("coconut", False), ("latenttts", False), ("soft-gpt2", False), ("coconut", True)]
)
def test_a_record_names_the_model_it_was_made_of(form, control):
    model = loaded(form, **({"family": "pause"} if control else {}))
    again = load_source(ModelSource.recorded(json.loads(json.dumps(model.about))), device="cpu")
    assert again.fingerprint == model.fingerprint
    assert (model.fingerprint != loaded(form).fingerprint) == control


def test_bytes_that_are_left_out_are_said():
    assert loaded("sim-cot-coconut").about["left_out"] == {
        "expainable_llm.*": {
            "keys": len(tiny("gpt2").state_dict()),
            "bytes": sum(each.nbytes for each in tiny("gpt2").state_dict().values()),
        }
    }


@pytest.fixture
def files(tmp_path) -> dict[str, Any]:
    """A Llama base and a fresh CODI checkpoint, to be spoilt."""
    state = write_state(tmp_path / "codi.safetensors", codi_state(tiny_llama()))
    return {"base": write_base(tmp_path / "base", tiny_llama()), "codi": state, "device": "cpu"}


def rows(more: int):
    name = f"{CODI}model.embed_tokens.weight"
    return lambda state: state.update({name: torch.ones(VOCAB + 3 + more, 32)})


def two_embeddings(state):
    state[f"{CODI}lm_head.weight"] = state[f"{CODI}model.embed_tokens.weight"] + 1


@pytest.mark.parametrize(
    ("edit", "settings", "message"),
    [
        (rows(2), {}, "It has 2 more: before training, tokens were added .* --special-ids PAD,BOT,EOT"),
        (rows(-3), {}, "saved before special tokens were added"),
        (rows(0), {"special_ids": [1, 2]}, "--special-ids 1,2: expected 3 different ids for CODI: pad, bot, eot"),
        (rows(0), {"special_ids": [1, 2, VOCAB + 3]}, f"special ids {VOCAB + 3} lie outside the embedding of"),
        (two_embeddings, {}, r"differ, but config.json ties them: official code .* --tie first \(input\)"),
        (rows(0), {"tie": "third"}, "--tie: 'third' is not known"),
        (rows(0), {"family": "codo"}, "--family: 'codo' is not known; did you mean codi"),
        (rows(0), {"family": "coconut"}, "it is a checkpoint of Coconut; give it as --coconut"),
        (rows(0), {"family": "soft"}, "--family soft needs no checkpoint"),
        (rows(0), {"soft_top_k": 3}, "--soft-top-k and --soft-temperature belong to --family soft"),
        (rows(0), {"question_format": "Q"}, "--question-format 'Q' has no {question} in it"),
        (rows(0), {"coconut": "x"}, "--codi and --coconut were both given"),
        (lambda state: state.update({"value.w": torch.ones(2)}), {}, "keys are not those.*with --ignore-keys PREFIX"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(files, edit, settings, message):
    edit_state(files["codi"], edit)
    with pytest.raises(CheckpointError, match=message):
        load_model(**files, **settings)


def test_the_ways_out(files):
    plain = load_model(**files)
    edit_state(files["codi"], lambda state: state.update({"value.w": torch.ones(2)}))
    ignored = load_model(**files, ignore_keys=["value.", "nowhere.", "decoder."])
    assert ignored.fingerprint == plain.fingerprint
    assert ignored.about["left_out"] == {"value.*": {"keys": 1, "bytes": 8}}
    adapter = write_peft(files["base"].parent / "peft", tiny_llama())
    adapted = load_model(files["base"], adapter, device="cpu")
    edit_state(adapter / "adapter_model.safetensors", lambda state: state.update({"value.w": torch.ones(2)}))
    again = load_model(files["base"], adapter, device="cpu", ignore_keys=["value."])
    assert (again.fingerprint, again.about["left_out"]) == (adapted.fingerprint, {"value.*": {"keys": 1, "bytes": 8}})
    edit_state(files["codi"], two_embeddings)
    first, second = (load_model(**files, ignore_keys=["value."], tie=tie) for tie in ("first", "second"))
    assert first.fingerprint == plain.fingerprint != second.fingerprint
    assert_same(second.hooked.W_E, plain.hooked.W_E + 1)
    edit_state(files["codi"], rows(2))
    model = load_model(**files, ignore_keys=["value.", f"{CODI}lm_head."], special_ids=[3, VOCAB + 3, VOCAB + 4])
    assert (model.pad, model.bot, model.eot) == (3, VOCAB + 3, VOCAB + 4)
    assert model.tokenizer.convert_ids_to_tokens(VOCAB + 3) == "<|bot|>"


def test_a_checkpoint_that_is_given_as_a_model_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    write_state(tmp_path / "model.safetensors", sim_cot_state("llama"))
    with pytest.raises(CheckpointError, match="a checkpoint of SIM-CoT in CODI's form; give it as --codi, and"):
        load_model(tmp_path)


def test_an_alias_that_is_none_is_refused(tmp_path):
    source = write_coconut(tmp_path)
    state = coconut_state() | {"embedding.weight": torch.ones(VOCAB + 3, 32)}
    torch.save(state, source["coconut"] / "checkpoint_28")
    with pytest.raises(CheckpointError, match=r"embedding.weight differs from transformer.wte.weight, of"):
        load_model(**source)
    assert load_model(**source, ignore_keys=["embedding.weight"]).fingerprint == loaded("coconut").fingerprint
    torch.save(state, source["coconut"] / "checkpoint_3")
    with pytest.raises(CheckpointError, match=r"2 files are checkpoint_\* .*name the one that is meant"):
        load_model(**source)


def test_soft_thinking_takes_tokens_around_its_thoughts():
    model = loaded("soft-gpt2", special_ids=[7, 9])
    layout = pair_layouts(model, Spec(experiments=("position",)), PAIRS[0])[0]
    assert (model.bot, model.eot) == (layout.prompt[-1], layout.tails[0].tokens[0]) == (7, 9)
    assert layout.sites[0] == "bot"
    with pytest.raises(CheckpointError, match=f"--soft-top-k is {VOCAB + 1}, expected 1 to {VOCAB} tokens"):
        loaded("soft-gpt2", soft_top_k=VOCAB + 1)


def test_bos_and_question_format(files):
    own = load_model(**files)
    other = load_model(**files, bos=False, question_format="Q: {question} A:")
    spec = Spec(experiments=("position",))
    first, second = (pair_layouts(each, spec, PAIRS[0])[0] for each in (own, other))
    assert (first.question, second.question) == (1, 0)
    text = f"Q: {PAIRS[0].clean.question} A:"
    assert list(second.prompt[:-1]) == own.tokenizer.encode(text)[1:]
    assert other.fingerprint != own.fingerprint
    assert json.loads(json.dumps(other.about))["question_format"] == "Q: {question} A:"
