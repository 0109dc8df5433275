"""Every fault that `verify` must catch is planted here: which laws then fail, and that the message names the fault.

An alpha with which the model was not trained is in `test_verify_command.py`: it takes a trained model.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import CODI, TARGETS, codi_state, tiny_llama, write_base, write_peft, write_state
from helpers import WithoutFloat64
from models_under_test import PAIRS
from rewriting import rewrite, wrap
from torch import Tensor, nn

from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel, load_model, merged
from mechpatch.patching import batch as batch_module
from mechpatch.patching import hooks as hooks_module
from mechpatch.patching import segment as segment_module
from mechpatch.patching.engine import block as block_module
from mechpatch.patching.engine import runs as runs_module
from mechpatch.patching.rounding import tolerance
from mechpatch.source import ModelSource
from mechpatch.thoughts import latent as latent_module
from mechpatch.verify import LAWS, Findings, causes, make_context, parity, read_source, verify

ROLLOUT = sys.modules["mechpatch.patching.rollout"]  # the package names the function alike
ALPHA, N_LATENTS = 6.0, 2
# Whole runs are tried by the tests that need them; the others take most of the time.
SLOW = {"baselines", "resumed", "chains", "handed-on", "alpha"}
SOME = [law for law in LAWS if law.key not in SLOW]
# All hook points take half of what is left: they are tried where the fault is one of theirs, or of the engine alone.
QUICK = [law for law in SOME if law.key != "hook-points"]
OF_FILES = [law for law in SOME if law.number == 7]
FILES = {"weights", "logits", "latents", "sites", "patched"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    """A tiny base and a CODI checkpoint of it."""
    folder = tmp_path_factory.mktemp("files")
    base = write_base(folder / "base", tiny_llama())
    codi = write_state(folder / "codi.safetensors", codi_state(tiny_llama()))
    return ModelSource(base=base, codi=codi, lora_alpha=ALPHA)


def loaded(source: ModelSource, dtype: str = "float64") -> ThoughtModel:
    options = {} if source.adapter else {"codi": source.codi, "lora_alpha": source.lora_alpha, "n_latents": N_LATENTS}
    return load_model(source.base, source.adapter, dtype=dtype, device="cpu", **options)


def tried(model: ThoughtModel, source: ModelSource, thoughts: str = "latent", laws=SOME, pairs=PAIRS) -> Findings:
    """The laws on a model that is said to come from `source`."""
    count = None if thoughts == "text" else N_LATENTS
    spec = Spec(experiments=("position",), thoughts=thoughts, n_thoughts=count, layers=(1, 2))
    checkpoint = read_source(source, model.hooked.cfg.dtype, model.device)
    return verify(make_context(model, spec, pairs, checkpoint, cells=4), laws=laws)


def failed(findings: Findings) -> set[str]:
    return {verdict.key for verdict in findings.failed}


def verdicts(findings: Findings) -> dict[str, str]:
    return {verdict.key: verdict.verdict for verdict in findings.verdicts}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_sound_model_keeps_every_law(source: ModelSource, dtype: str):
    findings = tried(loaded(source, dtype), source, laws=LAWS)
    assert not findings.failed
    assert not findings.causes
    silent = {key for key, verdict in verdicts(findings).items() if verdict == "not applicable"}
    assert silent == {"last-layer"}
    assert {relation["name"] for relation in findings.relations} > {"kl_sum_of_positions_over_all_positions"}


def test_a_deep_model_keeps_every_law_though_rounding_grows(tmp_path: Path):
    """Six layers and six latents in float32, where a fixed tolerance said not to rely on numbers from this model."""
    hf = tiny_llama(num_hidden_layers=6)
    codi = write_state(tmp_path / "codi.safetensors", codi_state(hf))
    source = ModelSource(base=write_base(tmp_path / "base", hf), codi=codi, lora_alpha=ALPHA)
    model = load_model(source.base, codi=codi, lora_alpha=ALPHA, n_latents=6, device="cpu")
    context = make_context(
        model, Spec(experiments=("position",)), PAIRS, read_source(source, torch.float32, model.device), cells=4
    )
    findings = verify(
        context, laws=[law for law in SOME if law.key in {"engine", "batch", "logits", "sites", "latents"}]
    )
    assert not findings.failed
    fixed = tolerance(torch.float32, context.unpatched.logits.abs().max().item(), 0.0)
    deviations = {verdict.key: verdict.deviation or 0.0 for verdict in findings.verdicts}
    assert all(deviation > fixed for deviation in deviations.values())
    assert findings.floors is not None
    assert findings.as_json()["noise_floor"]["logits"] == findings.floors.logits > fixed
    assert findings.rounding.startswith("Two plain float32 computations of this model differ by ")


@pytest.mark.parametrize("thoughts", ["text", "placeholder"])
def test_a_sound_model_keeps_every_law_without_feedback(source: ModelSource, thoughts: str):
    findings = tried(loaded(source), source, thoughts)
    assert not findings.failed
    silent = {key for key, verdict in verdicts(findings).items() if verdict == "not applicable"}
    assert silent == {"latents"}


@pytest.mark.parametrize(
    ("settings", "silent"),
    [
        ({}, {"latents"}),
        ({"use_rslora": True, "alpha_pattern": {"v_proj": 30}}, {"latents"}),
        ({"use_dora": True}, {"latents", "weights", "base"}),
    ],
    ids=["plain", "rank-stabilised", "weight-decomposed"],
)
def test_a_peft_adapter_keeps_every_law(source: ModelSource, tmp_path: Path, settings: dict, silent: set[str]):
    peft = ModelSource(base=source.base, adapter=write_peft(tmp_path / "adapter", tiny_llama(), **settings))
    findings = tried(loaded(peft), peft, "text", laws=OF_FILES)
    assert not findings.failed
    assert {key for key, verdict in verdicts(findings).items() if verdict == "not applicable"} == silent


def test_an_adapter_that_is_merged_twice(source: ModelSource, monkeypatch: pytest.MonkeyPatch):
    wrap(monkeypatch, merged, "merge_lora", lambda merge, hf, *rest: merge(merge(hf, *rest), *rest))
    findings = tried(loaded(source), source, laws=OF_FILES)
    assert failed(findings) == FILES
    (cause,) = findings.causes
    assert "the adapter is merged twice" in cause


def test_an_adapter_that_is_not_merged(source: ModelSource, monkeypatch: pytest.MonkeyPatch):
    wrap(monkeypatch, merged, "merge_lora", lambda merge, hf, *rest: hf)
    findings = tried(loaded(source), source, laws=OF_FILES)
    assert failed(findings) == FILES
    assert "the adapter is not merged" in findings.causes[0]


def test_a_base_that_holds_the_adapter_already(source: ModelSource, tmp_path: Path):
    merged, state = tiny_llama(), codi_state(tiny_llama())
    for name, module in merged.named_modules():
        if name.endswith(TARGETS) and isinstance(module, nn.Linear):
            down, up = (state[f"{CODI}{name}.lora_{side}.default.weight"] for side in "AB")
            module.weight += ALPHA / len(down) * up @ down
    twice = dataclasses.replace(source, base=write_base(tmp_path / "merged", merged))
    findings = tried(loaded(twice), twice, laws=OF_FILES)
    assert failed(findings) == {"base"}
    assert "merged twice: the base weights hold 1.0" in findings.causes[0]


def test_another_alpha_than_the_one_that_was_asked_for(source: ModelSource, monkeypatch: pytest.MonkeyPatch):
    wrap(monkeypatch, merged, "lora_config", lambda make, rank, alpha, targets: make(rank, 0.5 * alpha, targets))
    findings = tried(loaded(source), source, laws=OF_FILES)
    assert failed(findings) == FILES
    assert "wrong alpha: the adapter is merged as if alpha were 3, but files and options say 6" in findings.causes[0]


def test_latents_that_are_read_before_the_final_norm(source: ModelSource, monkeypatch: pytest.MonkeyPatch):
    old, new = "head(model.ln_final(hidden[:, -1:])[:, 0])", "head(hidden[:, -1])"
    rewrite(monkeypatch, ROLLOUT, "rollout_latent", old, new)
    findings = tried(loaded(source), source, laws=QUICK)
    assert failed(findings) == {"latents", "logits", "sites", "patched", "engine"}
    (cause,) = findings.causes
    assert cause.startswith("latents are read before the final norm")


def test_a_site_that_is_shifted_by_one_step(source: ModelSource, monkeypatch: pytest.MonkeyPatch):
    rewrite(
        monkeypatch,
        latent_module,
        "latent_layout",
        "range(len(prompt), len(prompt)",
        "range(len(prompt) + 1, len(prompt) + 1",
    )
    monkeypatch.setattr("mechpatch.models.thought_model.latent_layout", latent_module.latent_layout)
    findings = tried(loaded(source), source, laws=QUICK)
    assert failed(findings) == {"sites", "patched"}  # eot is no thought
    (cause,) = findings.causes
    assert cause.startswith("sites are shifted by +1 step")


def test_a_batch_that_counts_one_column_too_few(source: ModelSource, monkeypatch: pytest.MonkeyPatch):
    rewrite(monkeypatch, batch_module, "collate", "[position + shift for", "[position + shift - 1 for")
    monkeypatch.setattr("mechpatch.verify.context.collate", batch_module.collate)
    findings = tried(loaded(source), source, laws=QUICK)
    assert failed(findings) >= {"sites", "patched"}
    assert any(cause.startswith("sites are shifted by -1 step") for cause in findings.causes)


def test_a_write_that_lands_one_step_late(source: ModelSource, monkeypatch: pytest.MonkeyPatch):
    old = "write.columns[:, inside] - start, write"
    segment = rewrite(monkeypatch, segment_module, "segment", old, old.replace("start", "start - 1"))
    monkeypatch.setattr(ROLLOUT, "segment", segment)
    findings = tried(loaded(source), source, "placeholder")
    assert failed(findings) >= {"self-patch", "engine", "patched", "clean-everywhere"}
    assert not failed(findings) & {"sites", "logits", "weights"}
    (cause,) = findings.causes
    assert cause.startswith("sites are shifted by -1 step: a write lands beside")


def test_a_value_that_is_written_over_a_key(source: ModelSource, monkeypatch: pytest.MonkeyPatch):
    """Only who patches `v` or `kv` with the fast engine ever sees it."""
    old = 'tap("attn.hook_v", v, None)'
    broken = rewrite(monkeypatch, block_module, "run_block", old, old.replace(", v,", ", k,"))
    monkeypatch.setattr(runs_module, "run_block", broken)
    findings = tried(loaded(source), source)
    assert failed(findings) == {"hook-points"}
    assert any(verdict.note.startswith(("v, ", "kv, ")) for verdict in findings.failed)


def test_left_padding_without_mask(source: ModelSource, monkeypatch: pytest.MonkeyPatch):
    old, new = "F.pad(real, (0, end", "F.pad(torch.ones_like(real), (0, end"
    monkeypatch.setattr(ROLLOUT, "segment", rewrite(monkeypatch, segment_module, "segment", old, new))
    findings = tried(loaded(source), source)
    assert failed(findings) == {"batch", "engine", "hook-points"}
    (cause,) = findings.causes
    assert cause.startswith("left padding without mask: padded questions (pair ")


def folded(model: ThoughtModel) -> None:
    model.hooked.process_weights_(fold_ln=True, center_writing_weights=False, center_unembed=False)


def centred(model: ThoughtModel) -> None:
    model.hooked.process_weights_(fold_ln=False, center_writing_weights=False, center_unembed=True)


@pytest.mark.parametrize(
    ("process", "laws", "named"),
    [(folded, {"weights", "latents"}, "fold_ln moved"), (centred, {"weights", "logits"}, "center_unembed took")],
)
def test_weight_processing(source: ModelSource, process: Callable[[ThoughtModel], None], laws: set[str], named: str):
    model = loaded(source)
    process(model)
    findings = tried(model, source, laws=QUICK)
    assert failed(findings) >= laws
    assert findings.causes[0].startswith("weight processing is switched on")
    assert named in findings.causes[0]


def test_hooks_that_write_in_place(source: ModelSource, monkeypatch: pytest.MonkeyPatch):
    rewrite(monkeypatch, hooks_module, "_written", "patched = activation.clone()", "patched = activation")
    findings = tried(loaded(source), source, laws=QUICK)
    assert failed(findings) == {"hooks"}
    assert findings.causes[0].startswith("a hook writes in place")


def test_a_hook_that_was_left_behind(source: ModelSource):
    model = loaded(source)
    model.hooked.add_hook("blocks.1.hook_resid_post", lambda tensor, hook: 1.1 * tensor)
    findings = tried(model, source, laws=QUICK)
    assert failed(findings) >= {"hooks", "logits", "engine"}
    assert findings.causes[0].startswith("hooks were left on blocks.1.hook_resid_post")


def test_a_model_from_other_files(source: ModelSource, tmp_path: Path):
    """A difference that no known cause fits is still a failure, and nothing is made up."""
    other = write_state(tmp_path / "other.safetensors", codi_state(tiny_llama(), seed=5))
    findings = tried(loaded(source), dataclasses.replace(source, codi=other), laws=OF_FILES)
    assert failed(findings) >= {"weights", "logits", "latents"}
    assert not any("alpha" in cause or "twice" in cause for cause in findings.causes)


def test_a_model_whose_files_are_not_known(source: ModelSource):
    spec = Spec(experiments=("position",), n_thoughts=N_LATENTS)
    findings = verify(make_context(loaded(source), spec, PAIRS), laws=QUICK)
    assert not findings.failed
    notes = {verdict.note for verdict in findings.verdicts if verdict.number == 7}
    assert notes == {"the files that the model came from are not known"}


def test_weights_are_compared_on_a_device_without_float64(source: ModelSource, monkeypatch: pytest.MonkeyPatch):
    checkpoint = read_source(source, torch.float64, torch.device("cpu"))
    context = make_context(loaded(source), Spec(experiments=("position",)), PAIRS, checkpoint)

    def narrow(weight: Tensor) -> Tensor:
        return weight.float().as_subclass(WithoutFloat64)

    weights = [
        dataclasses.replace(each, found=narrow(each.found), expected=narrow(each.expected))
        for each in parity.hooked_weights(context)
    ]
    wrap(monkeypatch, parity, "hooked_weights", lambda real, context: weights)
    assert parity.weights(context).deviation == 0
    assert not causes.adapter(context)
    assert not causes.processing(context)
