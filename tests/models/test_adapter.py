import warnings
from pathlib import Path

import pytest
import torch
from checkpoints import CODI, VOCAB, edit_json, edit_state, probe, tiny_llama, write_base, write_peft, write_state
from helpers import assert_same
from peft import PeftModel
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from mechpatch.errors import CheckpointError
from mechpatch.models import load_model

LORA = "base_model.model.model.layers."
KINDS = {
    "all-modules": {},
    "two-modules": {"target_modules": ["q_proj", "v_proj"]},
    "rank-pattern": {"rank_pattern": {"q_proj": 7, "layers.1.mlp.up_proj": 2}, "alpha_pattern": {"v_proj": 30}},
    "rank-stabilised": {"use_rslora": True},
    "weight-decomposed": {"use_dora": True},
    "some-layers": {"layers_to_transform": [0, 2]},
    "norm-trained-whole": {"modules_to_save": ["norm"]},
    "more-tokens": {"vocab": VOCAB + 5},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"), tiny_llama())


@pytest.fixture
def adapter(tmp_path) -> Path:
    """A fresh adapter, to be spoilt."""
    return write_peft(tmp_path / "adapter", tiny_llama())


def unmerged(model: LlamaForCausalLM, adapter: Path, vocab: int | None = None) -> torch.Tensor:
    """Logits that PEFT computes beside the base weights, without merging; leaves `model` changed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if vocab is not None:
            model.resize_token_embeddings(vocab, mean_resizing=False)
        return probe(PeftModel.from_pretrained(model, str(adapter)))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_merged_gives_the_unmerged_logits(tmp_path, kind, tied):
    base = write_base(tmp_path / "base", tiny_llama(tie_word_embeddings=tied))
    adapter = write_peft(tmp_path / "adapter", tiny_llama(tie_word_embeddings=tied), **kind)
    found = probe(load_model(base, adapter, device="cpu").hooked)
    assert_same(found, unmerged(tiny_llama(tie_word_embeddings=tied), adapter, kind.get("vocab")))
    with pytest.raises(AssertionError):  # an adapter that did nothing would pass every one of these tests
        assert_same(found[..., :VOCAB], probe(tiny_llama(tie_word_embeddings=tied)))


@pytest.mark.parametrize(
    "kind",
    [
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"modules_to_save": ["embed_tokens", "lm_head"], "vocab": VOCAB + 5},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens", "lm_head"], "vocab": VOCAB + 5},
    ],
    ids=["whole", "whole-and-resized", "output-only", "adapted", "adapted-and-resized"],
)
def test_trained_embeddings(tmp_path, kind):
    base = write_base(tmp_path / "base", tiny_llama(tie_word_embeddings=False))
    adapter = write_peft(tmp_path / "adapter", tiny_llama(tie_word_embeddings=False), **kind)
    found = probe(load_model(base, adapter, device="cpu").hooked)
    assert_same(found, unmerged(tiny_llama(tie_word_embeddings=False), adapter, kind.get("vocab")))


def test_adapted_embeddings_that_are_tied_are_refused(base, tmp_path):
    adapter = write_peft(tmp_path / "adapter", tiny_llama(), target_modules=["q_proj", "embed_tokens"])
    with pytest.raises(CheckpointError, match=r"adapts an embedding, but config.json ties input and output"):
        load_model(base, adapter, device="cpu")


def test_embeddings_that_differ_against_the_tie_are_refused(base, tmp_path):
    adapter = write_peft(tmp_path / "adapter", tiny_llama(), modules_to_save=["lm_head"])
    with pytest.raises(CheckpointError, match=r"embed_tokens.weight and lm_head.weight differ, but config.json ties"):
        load_model(base, adapter, device="cpu")


def test_pickled_adapter_is_the_same(base, adapter):
    as_safetensors = load_model(base, adapter, device="cpu")
    file = adapter / "adapter_model.safetensors"
    write_state(adapter / "adapter_model.bin", load_file(file))
    file.unlink()
    assert load_model(base, adapter, device="cpu").fingerprint == as_safetensors.fingerprint


def test_tokenizer_of_the_adapter_is_preferred(base, adapter):
    plain = load_model(base, adapter, device="cpu").tokenizer
    extended = load_model(base, device="cpu").tokenizer
    extended.add_tokens(["widget"])
    extended.save_pretrained(adapter)
    found = load_model(base, adapter, device="cpu").tokenizer
    assert found.encode("widget") == extended.encode("widget") != plain.encode("widget")


def drop_half(state):
    for name in [name for name in state if "lora_A" in name]:
        del state[name]


def drop_layer(state):
    for name in [name for name in state if ".layers.1." in name]:
        del state[name]


def rename_prefix(state):
    for name in list(state):
        state[name.replace("base_model.model.model.", "base_model.model.")] = state.pop(name)


def wrong_rank(state):
    state[f"{LORA}1.mlp.up_proj.lora_A.weight"] = torch.ones(5, 32)


def foreign_module(state):
    state[f"{LORA}0.mlp.gate.lora_A.weight"] = torch.ones(4, 32)


def scalar_embedding(state):
    state["base_model.model.lm_head.weight"] = torch.tensor(1.0)


def quantised(state):
    name = f"{LORA}0.mlp.up_proj.lora_A.weight"
    state[name] = state[name].to(torch.int8)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop_half, rf"21 tensors .*missing: {LORA}0.mlp.down_proj.lora_A.weight 4×48"),
        (drop_layer, rf"14 tensors .*missing: {LORA}1.self_attn.v_proj.lora_B.weight 16×4"),
        (rename_prefix, r"84 tensors .*missing: .*and 64 more"),
        (wrong_rank, rf"1 tensors .*wrong shape: {LORA}1.mlp.up_proj.lora_A.weight is 5×32, expected 4×32"),
        (foreign_module, rf"1 tensors .*unexpected: {LORA}0.mlp.gate.lora_A.weight 4×32"),
        (scalar_embedding, r"1 tensors .*unexpected: base_model.model.lm_head.weight scalar"),
        (quantised, rf"1 tensors .*quantised: {LORA}0.mlp.up_proj.lora_A.weight is torch.int8"),
        (dict.clear, r"42 tensors .*missing"),
    ],
)
def test_tensors_that_do_not_fit_are_named(base, adapter, edit, message):
    file = adapter / "adapter_model.safetensors"
    edit_state(file, edit)
    with pytest.raises(CheckpointError, match=rf"(?s){file}: {message}"):
        load_model(base, adapter, device="cpu")


def configured(**entries):
    return lambda folder: edit_json(folder / "adapter_config.json", **entries)


def emptied(name, content=b""):
    return lambda folder: (folder / name).write_bytes(content)


def truncated(folder):
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (configured(target_modules=["q_proj", "v_proj"]), r"(?s)30 tensors .*unexpected: .*mlp.down_proj.lora_A"),
        (configured(r=8), r"(?s)42 tensors .*expected 8×32"),
        (configured(r=0), "its configuration does not fit this base"),
        (configured(r="four"), "its configuration does not fit this base"),
        (configured(target_modules=["c_attn"]), "its configuration does not fit this base: .*c_attn"),
        (configured(peft_type="IA3"), "adapter_config.json: peft_type is 'IA3', expected 'LORA'"),
        (configured(peft_type=None), "adapter_config.json: peft_type is None, expected 'LORA'"),
        (emptied("adapter_config.json"), "adapter_config.json: not a JSON object"),
        (emptied("adapter_config.json", b"{'r': 4"), "adapter_config.json: not a JSON object"),
        (emptied("adapter_config.json", b"[]"), "adapter_config.json: not a JSON object.* found list"),
        (emptied("adapter_config.json", b"\xff\xfe"), "adapter_config.json: not a JSON object"),
        (emptied("adapter_model.safetensors"), "adapter_model.safetensors: cannot be read as safetensors"),
        (truncated, "adapter_model.safetensors: cannot be read as safetensors"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "none of adapter_model.safetensors"),
        (lambda folder: (folder / "adapter_config.json").unlink(), "none of adapter_config.json is there"),
    ],
)
def test_spoilt_directories_are_refused(base, adapter, spoil, message):
    spoil(adapter)
    with pytest.raises(CheckpointError, match=message):
        load_model(base, adapter, device="cpu")


def test_no_directory(base, tmp_path):
    with pytest.raises(CheckpointError, match="nowhere: no such directory; expected a PEFT adapter"):
        load_model(base, tmp_path / "nowhere", device="cpu")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"num_hidden_layers": 4}, rf"missing: {LORA}3.mlp"),
        ({"num_hidden_layers": 2}, rf"unexpected: {LORA}2.mlp"),
        ({"hidden_size": 40, "head_dim": 8}, "wrong shape: .*is 4×32, expected 4×40"),
    ],
)
def test_adapter_of_another_base(tmp_path, adapter, shape, message):
    other = write_base(tmp_path / "other", tiny_llama(**shape))
    with pytest.raises(CheckpointError, match=rf"(?s)adapter_model.safetensors: .*{message}.*trained on this base"):
        load_model(other, adapter, device="cpu")


def test_codi_tensors_in_a_peft_directory(base, adapter):
    edit_state(adapter / "adapter_model.safetensors", lambda state: state.update({f"{CODI}x": torch.ones(1)}))
    with pytest.raises(CheckpointError, match=f"unexpected: {CODI}x"):
        load_model(base, adapter, device="cpu")
