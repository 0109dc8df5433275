"""Every architecture: the model in a CODI checkpoint is Hugging Face's, run plainly and by the engine."""

import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import independent
import pytest
import torch
from checkpoints import ARCHITECTURES, codi_state, edit_json, probe, tiny, write_base, write_peft, write_state
from helpers import assert_same
from models_under_test import ARCHITECTURE_ALPHA, N_LATENTS, PAIRS, architecture_files, load_architecture
from peft import PeftModel
from torch import Tensor

from mechpatch.errors import CheckpointError, NumericsError
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.running.finite import require_finite
from mechpatch.experiments.spec import Spec
from mechpatch.inspection.traces import leaning, lens
from mechpatch.models import ThoughtModel, load_model
from mechpatch.models.hooked import to_hooked
from mechpatch.patching import Batch, collate, engine, reference
from mechpatch.patching.engine.decoder import read_decoder
from mechpatch.patching.engine.work import base_work, plain_work
from mechpatch.patching.patch import Patch
from mechpatch.points import POINTS
from mechpatch.thoughts import Layout

KINDS, DTYPES = ("latent", "text", "placeholder"), {"float32": torch.float32, "float64": torch.float64}


def merged(model: Any, dtype: str) -> independent.Plain:
    """`model` with the adapter of `architecture_files`."""
    return independent.merge(model, codi_state(model), ARCHITECTURE_ALPHA, DTYPES[dtype])


@cache
def plain(architecture: str, dtype: str) -> independent.Plain:
    """What `load_architecture` gives, made otherwise."""
    return merged(tiny(architecture), dtype)


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Clean and corrupted questions of several lengths, in one batch each."""

    model: ThoughtModel
    plain: independent.Plain
    layouts: list[tuple[Layout, Layout]]
    batches: tuple[Batch, Batch]


@pytest.fixture(scope="module", params=[(a, d) for a in ARCHITECTURES for d in DTYPES], ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """An architecture and a dtype."""
    return request.param


@pytest.fixture(scope="module", params=KINDS)
def case(pair: tuple[str, str], request: pytest.FixtureRequest) -> Case:
    model = load_architecture(*pair)
    spec = Spec(experiments=("position",), thoughts=request.param, n_thoughts=N_LATENTS)
    layouts = [pair_layouts(model, spec, each) for each in PAIRS[1:]]
    clean, corrupted = (collate([sides[side] for sides in layouts]) for side in (0, 1))
    assert not corrupted.real.all()  # so that one question is padded
    return Case(model=model, plain=plain(*pair), layouts=layouts, batches=(clean, corrupted))


def test_logits_are_hugging_faces(pair: tuple[str, str]):
    model = load_architecture(*pair)
    assert_same(probe(model.hooked), probe(plain(*pair).hf))
    assert model.parity < 1e-4
    biased = tiny(pair[0])
    for weight in biased.parameters():
        weight *= 1 + 1e-3 * (weight.ndim == 1)
    with pytest.raises(AssertionError):  # every small tensor is felt
        assert_same(probe(merged(biased, pair[1]).hf), probe(model.hooked))


def test_runs_and_patches_are_hugging_faces(case: Case):
    """Thoughts, answers and patched answers, plain hooks and engine, against the loop without cache or batch."""
    model, (clean, corrupted) = case.model, case.batches
    fed: list[Tensor] = []

    def listening(hidden: Tensor) -> Tensor:
        assert model.head is not None
        fed.append(model.head(hidden))
        return fed[-1]

    donor = reference.baseline(model.hooked, model.head, clean).resid
    own = reference.baseline(model.hooked, listening, corrupted)
    thoughts, sites = torch.stack(fed, dim=1) if fed else None, range(len(corrupted.sites))
    patches = [Patch(0, (1,)), Patch(1, (0, 2)), Patch(2, (1,)), Patch(1, tuple(sites)), Patch(0, (2,), 2)]
    swept = [outcome for _, outcome in reference.sweep(model.hooked, model.head, corrupted, donor, patches)]
    for row, layout in enumerate(sides[1] for sides in case.layouts):
        for tail in (0, 1):
            runs = [independent.run(case.plain, layout, tail)]
            for patch in patches:
                writes = [
                    (layer, layout.positions(tail)[site], donor[row, tail, layer, site])
                    for layer in patch.layers
                    for site in patch.sites
                ]
                runs.append(independent.run(case.plain, layout, tail, writes))
            for found, expected in zip([own, *swept], runs, strict=True):
                assert_same(found.logits[row, tail, : len(expected.logits)], expected.logits)
            if thoughts is not None:
                assert_same(thoughts[row], torch.cat(runs[0].thoughts))
            resid = torch.stack(runs[0].resid)[:, list(layout.positions(tail))]
            scale = resid.abs().max()  # tens
            assert_same(own.resid[row, tail] / scale, resid / scale)
    base = engine.base_run(model.hooked, model.head, corrupted)
    assert_same(base.outcome.logits, own.logits)
    for (patch, found), expected in zip(engine.sweep(base, donor, patches), swept, strict=True):
        assert_same(found.logits, expected.logits)
        scale = expected.resid.abs().max()
        assert_same(found.resid / scale, expected.resid / scale)
        if fed or patch.layer < 2:  # else it is read by nobody
            assert (expected.logits - own.logits).abs().max() > 1e-2


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3", "gemma3_text"])  # `scripts/hook_points.py` has all
def test_every_hook_point_is_where_hugging_face_has_it(architecture: str):
    """What is there, and what a write there gives: plain hooks and engine, against hooks on Hugging Face's modules."""
    model = load_architecture(architecture, "float64")
    spec = Spec(experiments=("position",), thoughts="latent", n_thoughts=N_LATENTS)
    layouts = [pair_layouts(model, spec, each) for each in PAIRS[1:]]
    clean, corrupted = (collate([sides[side] for sides in layouts]) for side in (0, 1))
    donors = reference.baseline(model.hooked, model.head, clean, [*POINTS]).vectors
    base, layout = engine.base_run(model.hooked, model.head, corrupted, [*POINTS]), layouts[0][1]
    site, positions = corrupted.sites.index("t1"), list(layout.positions(1))
    for hook, point in POINTS.items():
        patch = Patch(1 if point.hooks else 0, (site,), head=1 if point.parts else None)
        ((_, fast),) = engine.sweep(base, donors[hook], [patch], hook=hook)
        ((_, found),) = reference.sweep(model.hooked, model.head, corrupted, donors[hook], [patch], hook)
        vector = donors[hook][(0, 1, patch.layer, site, *(() if patch.head is None else (patch.head,)))]
        write = (patch.layer, positions[site], vector)
        expected = independent.run(plain(architecture, "float64"), layout, 1, [write], hook, patch.head)
        shape = expected.logits.shape[0]
        assert_same(found.logits[0, 1, :shape], expected.logits)
        assert_same(fast.logits, found.logits)
        assert_same(fast.vectors[hook], found.vectors[hook])
        assert (found.logits - base.logits)[0].abs().max() > 1e-3
        for name in point.hooks and {"kv": ("k", "v")}.get(hook, (hook,)):
            there = expected.given[name, patch.layer][positions].unflatten(1, (-1, vector.shape[-1]))
            part = found.vectors[hook][0, 1, 0]
            part = part if name == hook else part[:, ("k", "v").index(name)]
            assert_same(part.reshape(there.shape) / there.abs().max(), there / there.abs().max())


def tensors_in(piece: object) -> Iterator[Tensor]:
    """All tensors that a decoder holds."""
    if isinstance(piece, Tensor):
        yield piece
    elif isinstance(piece, tuple):
        for each in piece:
            yield from tensors_in(each)
    elif is_dataclass(piece):
        for each in fields(piece):
            yield from tensors_in(getattr(piece, each.name))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_matrix_is_copied(architecture: str):
    """But an embedding that is scaled; and what engine and plain hooks read is the same memory."""
    hf = tiny(architecture)
    hooked = to_hooked(hf, 64)
    own = [(each.data_ptr(), each.data_ptr() + each.nbytes) for each in hf.parameters()]
    tables = {each.data_ptr() for each in hooked.buffers()}
    copied = [
        each
        for each in tensors_in(read_decoder(hooked))
        if each.data_ptr() not in tables and not any(start <= each.data_ptr() < end for start, end in own)
    ]
    scaled = architecture.startswith("gemma")
    assert sum(each.ndim == 2 for each in copied) == scaled
    assert sum(each.numel() for each in copied if each.ndim == 2) == scaled * hooked.W_E.numel()
    assert {each.data_ptr() for each in copied} <= {each.data_ptr() for each in hooked.parameters()}
    assert bool(copied) == scaled


@pytest.mark.parametrize("architecture", ["gpt2", "qwen2"])
def test_a_checkpoint_with_its_base_is_the_same_model(architecture: str, tmp_path: Path):
    state = codi_state(tiny(architecture), with_base=True)
    model = load_model(
        architecture_files(architecture) / "base",
        codi=write_state(tmp_path / "codi.safetensors", state),
        lora_alpha=ARCHITECTURE_ALPHA,
        n_latents=N_LATENTS,
        device="cpu",
    )
    assert model.fingerprint == load_architecture(architecture, "float32").fingerprint


@pytest.mark.parametrize(("architecture", "vocab"), [("gpt2", None), ("qwen3", 200)])
def test_a_peft_adapter_is_merged(architecture: str, vocab: int | None, tmp_path: Path):
    model = tiny(architecture)
    base = write_base(tmp_path / "base", model)
    adapter = write_peft(tmp_path / "adapter", model, vocab)
    if vocab:
        model.resize_token_embeddings(vocab, mean_resizing=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PEFT advises to trainers
        beside = PeftModel.from_pretrained(model, str(adapter))
    assert_same(probe(load_model(base, adapter, device="cpu").hooked), probe(beside))
    with pytest.raises(AssertionError):
        assert_same(probe(load_model(base, device="cpu").hooked), probe(beside))


def test_a_published_gpt2_is_said_to_hold_masks(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        load_model(architecture_files("gpt2") / "base", device="cpu")
    assert f"left out 6 buffers (h.0.attn.bias, …), {3 * (4 * 128**2 + 4)} bytes" in caplog.text


@pytest.mark.parametrize(
    ("architecture", "entry", "value"),
    [
        ("gpt2", "scale_attn_by_inverse_layer_idx", False),
        ("gpt2", "activation_function", "gelu"),
        ("gpt2", "layer_norm_epsilon", 1e-3),
        ("qwen2", "max_window_layers", 2),
        ("mistral", "sliding_window", None),
        ("gemma2", "attn_logit_softcapping", 4.0),
        ("gemma3_text", "final_logit_softcapping", None),
        ("gemma3_text", "query_pre_attn_scalar", 16),
        ("gemma3_text", "layer_types", ["full_attention"] * 3),
    ],
)
def test_what_decides_numbers_is_in_the_fingerprint(architecture: str, entry: str, value: object, tmp_path: Path):
    base = write_base(tmp_path, tiny(architecture))
    before = load_model(base, device="cpu")
    settings = json.loads((base / "config.json").read_text(encoding="utf-8"))
    if entry == "max_window_layers":
        settings.pop("layer_types")  # which would win
    (base / "config.json").write_text(json.dumps({**settings, entry: value}), encoding="utf-8")
    after = load_model(base, device="cpu")
    assert after.fingerprint != before.fingerprint
    with pytest.raises(AssertionError):
        assert_same(probe(after.hooked), probe(before.hooked))


OTHERS = {
    "phi": "PhiForCausalLM",
    "opt": "OPTForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma3": "Gemma3ForConditionalGeneration",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_architecture_is_refused_by_name(kind: str, tmp_path: Path):
    """Before the weights are looked for: there are none."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, "architectures": [OTHERS[kind]]}))
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path, device="cpu")
    assert f"config.json: model_type is {kind!r} ({OTHERS[kind]}), which cannot be run; expected one of" in str(
        caught.value
    )
    for each in ARCHITECTURES:
        assert f"{each} (" in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "entries", "message"),
    [
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention is True; only False"),
        ("gpt2", {"activation_function": "relu"}, "activation_function is 'relu'; only 'gelu_new' or"),
        ("qwen3", {"attention_bias": True}, "attention_bias is True; only False"),
        ("mistral", {"hidden_act": "gelu"}, "hidden_act is 'gelu'; only 'silu'"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention is True; only None or False"),
        (
            "gemma3_text",
            {
                "rope_parameters": {
                    "full_attention": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
                }
            },
            "rope_type of full_attention is 'dynamic'; only",
        ),
    ],
)
def test_what_cannot_be_run_exactly_is_refused(
    architecture: str, entries: dict[str, Any], message: str, tmp_path: Path
):
    base = write_base(tmp_path, tiny(architecture))
    (base / "model.safetensors").unlink()
    edit_json(base / "config.json", **entries)
    with pytest.raises(CheckpointError, match=message):
        load_model(base, device="cpu")


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2"])
def test_the_lens_of_the_last_layer_is_the_prediction(architecture: str):
    model, tokens = load_architecture(architecture, "float64").hooked, torch.arange(20, 30)[None]
    resid = model(tokens, stop_at_layer=model.cfg.n_layers)
    logits = plain(architecture, "float64").hf(tokens).logits
    assert_same(lens(model, resid), logits.log_softmax(-1))
    assert_same(leaning(model, resid, (7, 4)), logits[..., 7] - logits[..., 4])


def test_a_learned_position_that_is_not_finite_is_the_embedding():
    model = to_hooked(plain("gpt2", "float32").hf, 64)
    model.pos_embed.W_pos.data = model.pos_embed.W_pos.clone()
    model.pos_embed.W_pos[4, 0] = torch.nan
    case = replace(load_architecture("gpt2", "float32"), hooked=model)
    layout = pair_layouts(case, Spec(experiments=("position",), n_thoughts=N_LATENTS), PAIRS[2])[0]
    with pytest.raises(NumericsError, match="first in the embedding, below layer 0, at position 4"):
        require_finite(case, [layout], ["a"], [torch.tensor([[torch.nan]])], "here")


def test_work_knows_windows():
    model = load_architecture("mistral", "float32")
    layouts = pair_layouts(model, Spec(experiments=("position",), n_thoughts=N_LATENTS), PAIRS[0])
    base = engine.empty_base(model.hooked, model.head, collate(layouts))
    free = replace(base, model=replace(base.model, window=10**6))
    lengths = [len(layout.prompt) + N_LATENTS + len(layout.tails[0].tokens) for layout in layouts]
    assert base_work(base).token_layers == base_work(free).token_layers
    assert base_work(base).flops < base_work(free).flops

    def plainly(window: int) -> int:
        hooked = to_hooked(tiny("mistral"), 64)
        hooked.cfg.window_size = window
        return plain_work(hooked, replace(collate(layouts), n_latents=0)).flops

    hidden = [max(0, position - 7) for length in lengths for position in range(1, length + 1 - N_LATENTS)]
    assert plainly(10**6) - plainly(7) == 2 * sum(hidden) * 4 * 4 * 12 * 3
