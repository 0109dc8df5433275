"""The preset of the seed's procedure against a loop that is written from its definition, on a plain Hugging Face model.

Questions have no bos; five pad tokens stand between bot and eot; every number is read from the logits at eot.
"""

import json
from dataclasses import replace
from math import sqrt

import pytest
import torch
from checkpoints import codi_state, tiny_llama, write_base, write_state
from independent import merge
from typer.testing import CliRunner

from mechpatch.cli import app
from mechpatch.data import pair_path
from mechpatch.errors import SpecError
from mechpatch.models.load import load_tokenizer
from mechpatch.pairs import Pair, load_pairs, to_prepared
from mechpatch.storage.results import read_effects

# Clean and corrupted side: of different shipped pairs, so that lengths differ and a write is felt.
PAIRS = (("demo-007", "demo-001"), ("demo-001", "demo-066"), ("demo-055", "demo-007"))
LAYERS, THOUGHTS, ALPHA = (0, 1, 2), 5, 6.0
COLUMNS = ("kl_divergence", "rms_logit_difference", "prediction_change_rate", "answer_logit_diff")


@pytest.fixture
def plain(tmp_path):
    """A random model, written to `tmp_path`, whose predictions are broad enough for a write to be felt."""
    model = tiny_llama()
    write_base(tmp_path / "base", model)
    write_state(tmp_path / "codi" / "model.safetensors", codi_state(model))
    return merge(model, codi_state(model), ALPHA, torch.float64)


def logits_at_eot(plain, tokens, writes=(), kept=None):
    """Run `tokens`; `writes` are (layer, position, vector), `kept` takes every layer's output."""

    def hook_of(layer):
        def hook(module, inputs, output):
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            for at, position, vector in writes:
                if at == layer:
                    hidden[0, position] = vector
            if kept is not None:
                kept[layer] = hidden[0]
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return hook

    handles = [block.register_forward_hook(hook_of(layer)) for layer, block in enumerate(plain.layers)]
    try:
        return plain.hf(torch.tensor([tokens])).logits[0, -1]
    finally:
        for handle in handles:
            handle.remove()


def numbers(patched, baseline, clean, corrupted):
    """The four numbers of the seed, in the order of `COLUMNS`."""
    p, log_p, log_q = patched.softmax(-1), patched.log_softmax(-1), baseline.log_softmax(-1)
    rms = sqrt(sum((a - b) ** 2 for a, b in zip(patched.tolist(), baseline.tolist(), strict=True)) / len(patched))
    changed = float(int(patched.argmax()) != int(baseline.argmax()))
    scores = [sum(patched[token].item() for token in answer) / len(answer) for answer in (clean, corrupted)]
    return (p * (log_p - log_q)).sum().item(), rms, changed, scores[0] - scores[1]


@pytest.fixture
def pairs():
    shipped = {pair.pair_id: pair for pair in load_pairs(pair_path("demo"))}
    sides = [(shipped[clean].clean, shipped[corrupted].corrupted) for clean, corrupted in PAIRS]
    return [Pair(f"{at}", clean, corrupted, {}) for at, (clean, corrupted) in enumerate(sides)]


def test_the_preset_is_the_procedure_of_the_seed(plain, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("mechpatch.workflow.plot_run", lambda *_, **__: [])  # pictures take longer than the rest
    (tmp_path / "pairs.json").write_text(json.dumps(to_prepared(pairs)))
    arguments = ["run", "position", "layer", "cumulative", "--preset", "seed-placeholder", "--dtype", "float64"]
    arguments += ["--model", str(tmp_path / "base"), "--codi", str(tmp_path / "codi"), "--lora-alpha", str(ALPHA)]
    arguments += ["--sites", "thoughts", "--check", "0"]
    arguments += ["--pairs", str(tmp_path / "pairs.json")]
    found = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")])
    assert found.exit_code == 0, (found.output, found.exception)
    records = {
        (row["pair_id"], row["experiment"], row["layer"], row["site"]): [row[name] for name in COLUMNS]
        for row in read_effects(tmp_path / "run").to_pylist()
    }
    tokenizer, pad = load_tokenizer("demo"), len(load_tokenizer("demo"))  # pad, bot and eot follow the vocabulary
    lengths, compared = set(), 0
    for pair in pairs:
        questions = [tokenizer.encode(side.question, add_special_tokens=False) for side in (pair.clean, pair.corrupted)]
        clean, corrupted = ([*ids, pad + 1, *[pad] * THOUGHTS, pad + 2] for ids in questions)
        answers = [tokenizer.encode(side.answer, add_special_tokens=False) for side in (pair.clean, pair.corrupted)]
        lengths |= {*map(len, answers)}
        kept: dict[int, torch.Tensor] = {}
        logits_at_eot(plain, clean, kept=kept)
        baseline = logits_at_eot(plain, corrupted)

        first = [len(ids) + 1 for ids in questions]
        for layer in LAYERS:
            cells = {("position", f"t{t}"): [t] for t in range(THOUGHTS)}
            cells |= {("cumulative", f"t{t}"): [*range(t + 1)] for t in range(THOUGHTS)}
            cells["layer", "all"] = [*range(THOUGHTS)]
            for (experiment, site), thoughts in cells.items():
                writes = [(layer, first[1] + t, kept[layer][first[0] + t]) for t in thoughts]
                patched = logits_at_eot(plain, corrupted, writes)
                expected = numbers(patched, baseline, *answers)
                assert records.pop((pair.pair_id, experiment, layer, site)) == pytest.approx(expected, abs=1e-9, rel=0)
                compared += expected[0] > 1e-2
    assert not records
    assert lengths == {1, 2}  # of two tokens too, whose second one the seed never reads
    assert compared > 15  # effects that are felt


def test_an_option_that_is_given_wins_over_the_preset(monkeypatch):
    asked = []

    def plan_run(model, spec, *_):
        asked.append((model.family.bos, spec))
        raise SpecError("enough")

    monkeypatch.setattr("mechpatch.workflow.plan_run", plan_run)
    call = ["plan", "position", "--preset", "seed-placeholder", "--limit", "1"]
    for more in ([], ["--latents", "2", "--answer-prefix", "So:"]):
        assert str(CliRunner().invoke(app, [*call, *more]).exception) == "enough"
    (bos, spec), (_, changed) = asked
    assert (bos, spec.thoughts, spec.n_thoughts, spec.prefix, spec.distances) == (False, "placeholder", 5, "", "first")
    assert changed == replace(spec, n_thoughts=2, prefix="So:")
    unknown = CliRunner().invoke(app, ["plan", "position", "--preset", "seed-placeholders"])
    assert str(unknown.exception).startswith("--preset: 'seed-placeholders' is not known; did you mean seed-placehold")
