import itertools
import logging
import pickle
from pathlib import Path

import pytest
import torch
from checkpoints import (
    CODI,
    D_MODEL,
    TARGETS,
    VOCAB,
    codi_state,
    edit_state,
    probe,
    tiny_llama,
    write_base,
    write_state,
)
from helpers import assert_same
from torch import nn
from torch.nn import functional as F
from transformers import LlamaForCausalLM

from mechpatch.errors import CheckpointError
from mechpatch.models import ThoughtModel, load_model

LAYER = f"{CODI}model.layers."


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"), tiny_llama())


@pytest.fixture
def codi(tmp_path) -> Path:
    """A fresh checkpoint, to be spoilt."""
    return write_state(tmp_path / "codi.safetensors", codi_state(tiny_llama()))


def merged_by_hand(model: LlamaForCausalLM, state, alpha: float) -> LlamaForCausalLM:
    """`W + alpha / r · B A`, in every layer and module, with the checkpoint's embedding rows."""
    model.resize_token_embeddings(VOCAB + 3, mean_resizing=False)
    model.model.embed_tokens.weight.copy_(state[f"{CODI}model.embed_tokens.weight"])
    if not model.config.tie_word_embeddings:
        model.lm_head.weight.copy_(state[f"{CODI}lm_head.weight"])
    for name, module in model.named_modules():
        if name.endswith(TARGETS):
            down, up = (state[f"{CODI}{name}.lora_{side}.default.weight"] for side in "AB")
            module.weight += alpha / down.shape[0] * (up @ down)
    return model


@pytest.mark.parametrize("with_base", [False, True], ids=["without-base", "with-base"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("alpha", [None, 5.5])
def test_merged_equals_the_sum_written_by_hand(tmp_path, with_base, tied, alpha):
    model = tiny_llama(tie_word_embeddings=tied)
    base = write_base(tmp_path / "base", model)
    state = codi_state(model, with_base=with_base)
    codi = write_state(tmp_path / "codi" / "model.safetensors", state)
    if with_base:
        (base / "model.safetensors").unlink()  # not needed then, as long as config.json and tokenizer are there
    loaded = load_model(base, codi=codi.parent, lora_alpha=alpha, device="cpu")
    found = probe(loaded.hooked)
    assert_same(found, probe(merged_by_hand(tiny_llama(tie_word_embeddings=tied), state, alpha or 32)))
    assert loaded.about["lora_rank"] == 4
    with pytest.raises(AssertionError):
        assert_same(found, probe(merged_by_hand(tiny_llama(tie_word_embeddings=tied), state, 16)))


@pytest.mark.parametrize("kind", ["ln", "plain", "none"])
def test_head_is_the_published_one(base, tmp_path, kind):
    state = codi_state(tiny_llama(), head=kind)
    head = load_model(base, codi=write_state(tmp_path / "codi.safetensors", state), device="cpu").head
    hidden = torch.randn(5, D_MODEL, generator=torch.Generator().manual_seed(0))
    expected = hidden
    if kind != "none":
        inner = F.linear(hidden, state["prj.1.weight"], state["prj.1.bias"])
        inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
        expected = F.linear(inner, state["prj.3.weight"], state["prj.3.bias"])
    if kind == "ln":
        centred = expected - expected.mean(-1, keepdim=True)
        normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        expected = normed * state["prj.ln.weight"] + state["prj.ln.bias"]
    assert head is not None
    assert_same(head(hidden), expected)


def names(model: ThoughtModel, *ids: int | None) -> list[str]:
    return [str(model.tokenizer.convert_ids_to_tokens(each)) for each in ids if each is not None]


def test_special_tokens_follow_the_vocabulary(base, codi):
    model = load_model(base, codi=codi, device="cpu")
    assert (model.pad, model.bot, model.eot, model.n_latents) == (VOCAB, VOCAB + 1, VOCAB + 2, 6)
    named = names(model, model.pad, model.bot, model.eot)
    assert named == ["<|pad|>", "<|bot|>", "<|eot|>"]
    assert model.tokenizer.convert_tokens_to_ids("<|eot|>") == model.eot
    assert model.tokenizer.encode("Sam<|bot|><|eot|>", add_special_tokens=False)[1:] == [model.bot, model.eot]
    question = "Sam has 3 boxes of 5 pens."
    assert model.tokenizer.encode(question) == load_model(base, device="cpu").tokenizer.encode(question)


def test_vocabulary_with_room_after_the_tokenizer(tmp_path):
    roomy = tiny_llama(vocab_size=VOCAB + 7)
    base = write_base(tmp_path / "base", roomy)
    model = load_model(base, codi=write_state(tmp_path / "codi.bin", codi_state(roomy)), device="cpu")
    assert model.bot == VOCAB + 8
    assert names(model, model.bot, model.eot) == ["<|bot|>", "<|eot|>"]


def test_tokenizer_that_names_the_special_tokens_itself(base, codi, tmp_path):
    own = write_base(tmp_path / "base", tiny_llama())
    tokenizer = load_model(base, device="cpu").tokenizer
    tokenizer.add_tokens(["[PAD]", "<start>", "<end>"])
    tokenizer.save_pretrained(own)
    model = load_model(own, codi=codi, device="cpu")
    assert names(model, model.pad, model.bot, model.eot) == ["[PAD]", "<start>", "<end>"]
    tokenizer.add_tokens(["one too many"])
    tokenizer.save_pretrained(own)
    with pytest.raises(CheckpointError, match=f"has {VOCAB + 4} tokens, expected {VOCAB + 3}"):
        load_model(own, codi=codi, device="cpu")


def test_every_file_format_gives_the_same_model(base, tmp_path):
    state = codi_state(tiny_llama(), with_base=True)
    files = [write_state(tmp_path / name, state) for name in ("a.safetensors", "b.bin", "c.pt")]
    files.append(tmp_path / "old.bin")
    torch.save(state, files[-1], _use_new_zipfile_serialization=False)
    assert len({load_model(base, codi=file, device="cpu").fingerprint for file in files}) == 1


def test_base_weights_inside_and_outside_are_the_same_model(base, tmp_path):
    names = {
        load_model(
            base, codi=write_state(tmp_path / f"{inside}.bin", codi_state(tiny_llama(), with_base=inside)), device="cpu"
        ).fingerprint
        for inside in (False, True)
    }
    assert len(names) == 1


def test_alpha_is_logged(base, codi, caplog):
    with caplog.at_level(logging.INFO, "mechpatch"):
        load_model(base, codi=codi, device="cpu")
    assert "rank 4, alpha 32" in caplog.text


def test_fewer_targets(base, tmp_path):
    state = {k: v for k, v in codi_state(tiny_llama()).items() if ".lora_" not in k or "q_proj" in k or "v_proj" in k}
    codi = write_state(tmp_path / "codi.safetensors", state)
    assert load_model(base, codi=codi, lora_targets=["q_proj", "v_proj"], device="cpu").about["lora_targets"] == [
        "q_proj",
        "v_proj",
    ]
    with pytest.raises(CheckpointError, match=r"(?s)30 tensors .*missing: .*mlp.down_proj.lora_A"):
        load_model(base, codi=codi, device="cpu")


def drop(*parts):
    def edit(state):
        for name in [name for name in state if any(part in name for part in parts)]:
            del state[name]

    return edit


def put(name, *shape):
    return lambda state: state.update({name: torch.ones(shape)})


def rename(old, new):
    def edit(state):
        for name in list(state):
            state[name.replace(old, new)] = state.pop(name)

    return edit


def both_names(state):
    state[f"{LAYER}0.mlp.up_proj.weight"] = torch.ones(48, D_MODEL)
    state[f"{LAYER}0.mlp.up_proj.base_layer.weight"] = torch.ones(48, D_MODEL)


PEFT = "base_model.model.model.layers."


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop("lora_A"), r"no codi.base_model.model.….lora_A.default.weight is there"),
        (drop("lora_B"), rf"(?s)21 tensors .*missing: {PEFT}0.mlp.down_proj.lora_B.weight 32×4"),
        (drop(".layers.2."), rf"(?s)14 tensors .*missing: {PEFT}2."),
        (drop("o_proj.lora"), rf"(?s)6 tensors .*missing: {PEFT}0.self_attn.o_proj.lora_A"),
        (drop("embed_tokens"), "embed_tokens.weight is missing; the special tokens pad, bot, eot live in it"),
        (put(f"{CODI}model.embed_tokens.weight", VOCAB, D_MODEL), rf"\({VOCAB}, 32\), expected {VOCAB + 3} rows"),
        (put(f"{CODI}model.embed_tokens.weight", VOCAB + 5, D_MODEL), rf"\({VOCAB + 5}, 32\), expected {VOCAB + 3}"),
        (put(f"{CODI}model.embed_tokens.weight"), rf"\(\), expected {VOCAB + 3} rows"),
        (put(f"{CODI}model.embed_tokens.weight", VOCAB + 3, 31), "(?s)wrong shape: model.embed_tokens.weight"),
        (put(f"{CODI}lm_head.weight", VOCAB + 3, D_MODEL), "differ, but config.json ties them"),
        (
            put(f"{LAYER}1.mlp.up_proj.lora_A.default.weight", 3, D_MODEL),
            rf"(?s)1 tensors.*{PEFT}1.mlp.up_proj.*is 3×32",
        ),
        (put(f"{LAYER}1.mlp.up_proj.lora_A.default.weight"), rf"(?s)1 tensors.*{PEFT}1.mlp.up_proj.*is scalar"),
        (put(f"{LAYER}0.mlp.gate.lora_A.default.weight", 4, D_MODEL), rf"unexpected: {PEFT}0.mlp.gate.lora_A"),
        (put(f"{LAYER}0.input_layernorm.weight", D_MODEL), "(?s)27 tensors .*missing: model.layers.0.mlp.down_proj"),
        (put("teacher.weight", 3), r"1 keys are not those of a CODI checkpoint: teacher.weight\."),
        (rename("codi.", ""), r"43 keys are not .*: base_model.model.model.embed_tokens.weight, "),
        (rename("codi.base_model.", "codi.base."), r"43 keys are not .*Expected codi.base_model.model.…"),
        (rename(".default.", "."), r"42 keys are not .*layers.0.mlp.down_proj.lora_A.weight"),
        (both_names, "1 keys are not .*0.mlp.up_proj"),
        (drop("prj.1.bias"), "missing: prj.1.bias 48"),
        (drop("prj.1.", "prj.ln."), r"(?s)missing: prj.1.bias .*missing: prj.1.weight"),
        (drop("prj.ln.bias"), "missing: prj.ln.bias 32"),
        (put("prj.3.weight", 48, D_MODEL), "wrong shape: prj.3.weight is 48×32, expected 32×48"),
        (put("prj.5.weight", 4), "unexpected: prj.5.weight 4"),
        (dict.clear, "no codi"),
    ],
)
def test_tensors_that_do_not_fit_are_named(base, codi, edit, message):
    edit_state(codi, edit)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(base, codi=codi, device="cpu")
    assert str(codi) in str(caught.value) or str(base) in str(caught.value)


def test_part_of_the_base_is_refused(base, tmp_path):
    state = codi_state(tiny_llama(), with_base=True)
    del state[f"{LAYER}1.self_attn.k_proj.base_layer.weight"]
    codi = write_state(tmp_path / "codi.safetensors", state)
    with pytest.raises(CheckpointError, match=r"(?s)1 tensors .*missing: model.layers.1.self_attn.k_proj.weight 16×32"):
        load_model(base, codi=codi, device="cpu")


class Payload:
    """Unpickled carelessly, it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("save", ["pickle", "torch", "torch-legacy"])
def test_code_in_a_pickle_is_never_run(base, tmp_path, save):
    target, file = tmp_path / "created", tmp_path / "codi.bin"
    state = codi_state(tiny_llama()) | {"prj.ln.extra": Payload(target)}
    if save == "pickle":
        file.write_bytes(pickle.dumps(state))
    else:
        torch.save(state, file, _use_new_zipfile_serialization=save == "torch")
    with pytest.raises(CheckpointError, match=r"codi.bin: cannot be read as a plain state dict"):
        load_model(base, codi=file, device="cpu")
    assert not target.exists()
    torch.load(file, weights_only=False) if save != "pickle" else pickle.loads(file.read_bytes())
    assert target.exists(), "the payload is no payload"


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 64, b"PK\x03\x04 not a zip", b"not a checkpoint at all", b"\x80\x02"]
)
@pytest.mark.parametrize("name", ["codi.safetensors", "codi.bin"])
def test_damaged_files_are_refused(base, tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}: cannot be read as"):
        load_model(base, codi=tmp_path / name, device="cpu")


@pytest.mark.parametrize("name", ["codi.safetensors", "codi.bin"])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_truncated_files_are_refused(base, tmp_path, name, share):
    file = write_state(tmp_path / name, codi_state(tiny_llama()))
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=f"{name}: cannot be read as"):
        load_model(base, codi=file, device="cpu")


@pytest.mark.parametrize("value", [[torch.ones(2)], {"x": 1}, {"x": [torch.ones(2)]}, torch.ones(2)])
def test_pickles_of_something_else_are_refused(base, tmp_path, value):
    torch.save(value, tmp_path / "codi.bin")
    with pytest.raises(CheckpointError, match="something other than named tensors"):
        load_model(base, codi=tmp_path / "codi.bin", device="cpu")


def test_nothing_there(base, tmp_path):
    with pytest.raises(CheckpointError, match="nowhere: no such file or directory; expected a CODI checkpoint"):
        load_model(base, codi=tmp_path / "nowhere", device="cpu")
    with pytest.raises(CheckpointError, match=r"none of model.safetensors, .* is there"):
        load_model(base, codi=tmp_path, device="cpu")


@pytest.mark.parametrize("shape", [{"num_hidden_layers": 4}, {"num_hidden_layers": 2}, {"intermediate_size": 40}])
def test_checkpoint_of_another_base(tmp_path, codi, shape):
    other = write_base(tmp_path / "other", tiny_llama(**shape))
    with pytest.raises(CheckpointError, match=r"codi.safetensors: (?s:.*)Check that it was trained on this base"):
        load_model(other, codi=codi, device="cpu")


def test_latents_equal_those_of_a_hugging_face_loop(base, codi):
    loaded = load_model(base, codi=codi, lora_alpha=8.0, device="cpu")
    state = codi_state(tiny_llama())
    hf = merged_by_hand(tiny_llama(), state, 8)
    assert loaded.head is not None
    ids = torch.tensor([[5, 9, 17, 33, loaded.bot]])
    embeds = hf.model.embed_tokens(ids)
    ours = embeds.clone()
    for _ in range(4):
        thought = loaded.head(hf.model(inputs_embeds=embeds, use_cache=False).last_hidden_state[:, -1])
        embeds = torch.cat([embeds, thought[:, None]], dim=1)
        resid = loaded.hooked(ours, start_at_layer=0, stop_at_layer=loaded.n_layers)
        ours = torch.cat([ours, loaded.head(loaded.hooked.ln_final(resid)[:, -1])[:, None]], dim=1)
        assert_same(ours, embeds)
    assert all(not nn.functional.cosine_similarity(a, b, dim=0).gt(0.999) for a, b in itertools.pairwise(ours[0, -4:]))
