"""`verify` on other architectures and families: a sound model keeps the laws of its files, and a fault is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FORMS
from models_under_test import ARCHITECTURE_ALPHA, N_LATENTS, PAIRS, architecture_files, load_architecture
from rewriting import wrap

from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel, load_source, merged
from mechpatch.source import ModelSource
from mechpatch.verify import LAWS, Findings, make_context, read_source, verify

OF_FILES = [law for law in LAWS if law.number == 7 and law.key != "alpha"]


def tried(architecture: str, model: ThoughtModel) -> Findings:
    """The laws that hold a model to its files, in float64."""
    folder = architecture_files(architecture)
    return held_to(ModelSource(base=folder / "base", codi=folder / "codi", lora_alpha=ARCHITECTURE_ALPHA), model)


def held_to(source: ModelSource, model: ThoughtModel, thoughts: str = "latent") -> Findings:
    """All with an answer prefix that the tokenizer gives back: it does not know Coconut's."""
    checkpoint = read_source(source, torch.float64, model.device)
    settings = {"thoughts": thoughts, "n_thoughts": N_LATENTS, "prefix": "The answer is:"}
    spec = Spec(experiments=("position",), layers=(1, 2), **settings)
    return verify(make_context(model, spec, PAIRS[1:], checkpoint, cells=2), laws=OF_FILES)


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2"])
def test_a_sound_model_keeps_the_laws_of_its_files(architecture: str):
    findings = tried(architecture, load_architecture(architecture, "float64"))
    assert not findings.failed
    assert {verdict.verdict for verdict in findings.verdicts} == {"holds"}


@pytest.mark.parametrize(
    ("form", "control"),
    [("sim-cot-bin", False), ("coconut", False), ("latenttts", False), ("soft-gemma2", False), ("coconut", True)],
)
def test_a_sound_model_of_any_family_keeps_them(form: str, control: bool, tmp_path: Path):
    changed: dict[str, Any] = {"family": "pause"} if control else {}
    source = ModelSource(**FORMS[form].write(tmp_path), **changed)
    model = load_source(source, dtype="float64", device="cpu")
    findings = held_to(source, model, "placeholder" if control else "latent")
    assert not findings.failed
    assert {"logits", "sites", "patched"} <= {
        verdict.key for verdict in findings.verdicts if verdict.verdict == "holds"
    }


def merged_twice(monkeypatch: pytest.MonkeyPatch) -> ThoughtModel:
    wrap(monkeypatch, merged, "merge_lora", lambda merge, hf, *rest: merge(merge(hf, *rest), *rest))
    return load_architecture.__wrapped__("gpt2", "float64")


def folded(monkeypatch: pytest.MonkeyPatch) -> ThoughtModel:
    model = load_architecture.__wrapped__("gpt2", "float64")
    model.hooked.process_weights_(fold_ln=True, center_writing_weights=False, center_unembed=False)
    return model


@pytest.mark.parametrize(
    ("spoil", "named"), [(merged_twice, "the adapter is merged twice"), (folded, "fold_ln moved the norms' gains")]
)
def test_a_fault_is_named(
    spoil: Callable[[pytest.MonkeyPatch], ThoughtModel], named: str, monkeypatch: pytest.MonkeyPatch
):
    """GPT-2's queries, keys and values are one weight, which transformer-lens has in three parts."""
    findings = tried("gpt2", spoil(monkeypatch))
    assert "weights" in {verdict.key for verdict in findings.failed}
    assert named in findings.causes[0]
