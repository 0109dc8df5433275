"""`verify` on other architectures: a sound model keeps the laws of its files, and a fault is named."""

from collections.abc import Callable

import pytest
import torch
from models_under_test import ARCHITECTURE_ALPHA, N_LATENTS, PAIRS, architecture_files, load_architecture
from rewriting import wrap

from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel, load
from mechpatch.verify import LAWS, Report, Source, make_context, read_source, verify

OF_FILES = [law for law in LAWS if law.number == 7 and law.key != "alpha"]


def tried(architecture: str, model: ThoughtModel) -> Report:
    """The laws that hold a model to its files, in float64."""
    folder = architecture_files(architecture)
    source = Source(base=folder / "base", codi=folder / "codi", alpha=ARCHITECTURE_ALPHA)
    checkpoint = read_source(source, torch.float64, model.device)
    spec = Spec(experiments=("position",), n_thoughts=N_LATENTS, layers=(1, 2))
    return verify(make_context(model, spec, PAIRS[1:], checkpoint, cells=2), laws=OF_FILES)


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2"])
def test_a_sound_model_keeps_the_laws_of_its_files(architecture: str):
    report = tried(architecture, load_architecture(architecture, "float64"))
    assert not report.failed
    assert {verdict.verdict for verdict in report.verdicts} == {"holds"}


def merged_twice(monkeypatch: pytest.MonkeyPatch) -> ThoughtModel:
    wrap(monkeypatch, load, "merge_lora", lambda merge, hf, *rest: merge(merge(hf, *rest), *rest))
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
    report = tried("gpt2", spoil(monkeypatch))
    assert "weights" in {verdict.key for verdict in report.failed}
    assert named in report.causes[0]
