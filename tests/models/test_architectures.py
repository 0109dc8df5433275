"""Every architecture: the model in a CODI checkpoint is Hugging Face's, run plainly and by the engine."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import independent
import pytest
import torch
from checkpoints import (
    ARCHITECTURES,
    as_published_gpt2,
    codi_state,
    edit_json,
    probe,
    tiny,
    write_base,
    write_state,
)
from helpers import assert_same
from models_under_test import PAIRS
from torch import Tensor

from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel, load_model
from mechpatch.patching import Batch, collate, engine, reference
from mechpatch.patching.patch import Patch
from mechpatch.thoughts import Layout

KINDS, DTYPES = ("latent", "text", "placeholder"), {"float32": torch.float32, "float64": torch.float64}
ALPHA, N_LATENTS = 6.0, 3


@cache
def files(architecture: str) -> Path:
    """A base and a CODI checkpoint on disk; GPT-2's base as it is published, Qwen's and Gemma's in shards."""
    folder, model = Path(mkdtemp()), tiny(architecture)
    sharded = {"max_shard_size": "40KB"} if architecture in ("qwen2", "gemma3_text") else {}
    write_base(folder / "base", model, **sharded)
    assert len(list((folder / "base").glob("*.safetensors"))) > 2 * bool(sharded)
    if architecture == "gpt2":
        as_published_gpt2(folder / "base")
        edit_json(folder / "base" / "tokenizer.json", post_processor=None)  # it puts no token before a question
    write_state(folder / "codi" / "model.safetensors", codi_state(model))
    return folder


@cache
def loaded(architecture: str, dtype: str) -> ThoughtModel:
    folder = files(architecture)
    return load_model(
        folder / "base", codi=folder / "codi", lora_alpha=ALPHA, n_latents=N_LATENTS, dtype=dtype, device="cpu"
    )


@cache
def plain(architecture: str, dtype: str) -> independent.Plain:
    model = tiny(architecture)
    return independent.merge(model, codi_state(model), ALPHA, DTYPES[dtype])


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
    model = loaded(*pair)
    spec = Spec(experiments=("position",), thoughts=request.param, n_thoughts=N_LATENTS)
    layouts = [pair_layouts(model, spec, each) for each in PAIRS[1:]]
    clean, corrupted = (collate([sides[side] for sides in layouts]) for side in (0, 1))
    assert not corrupted.real.all()  # so that one question is padded
    return Case(model=model, plain=plain(*pair), layouts=layouts, batches=(clean, corrupted))


def test_logits_are_hugging_faces(pair: tuple[str, str]):
    model = loaded(*pair)
    assert_same(probe(model.hooked), probe(plain(*pair).hf))
    assert model.parity < 1e-4
    biased = tiny(pair[0])
    for weight in biased.parameters():
        weight *= 1 + 1e-3 * (weight.ndim == 1)
    with pytest.raises(AssertionError):  # every small tensor is felt
        assert_same(
            probe(independent.merge(biased, codi_state(biased), ALPHA, DTYPES[pair[1]]).hf), probe(model.hooked)
        )


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
