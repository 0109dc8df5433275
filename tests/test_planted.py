"""Experiments find the site that was planted, and nothing else: not the decoy, not a neighbour."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from planted import LAYERS, PREFIX, THOUGHTS, VALUES, Circuit, code, planted_model, planted_pairs
from rewriting import rewrite

from mechpatch.experiments.running.run import Experiment, run_experiment
from mechpatch.experiments.spec import Spec, parse_experiments
from mechpatch.patching import collate, reference
from mechpatch.points import POINTS
from mechpatch.stats import summarise
from mechpatch.storage.results import open_run
from mechpatch.thoughts import latent as latent_module
from mechpatch.views.words.reading import reading

FIRST = Circuit(thought=0, write=1, decoy=2)  # the only place at which a relay can begin to find it
MIDDLE = Circuit(thought=1, write=2, decoy=0)
CHAIN = Circuit(thought=0, write=1, decoy=1, hands_on=True)
CASES = [
    *((circuit, kind) for circuit in (FIRST, MIDDLE) for kind in ("latent", "text")),
    (CHAIN, "latent"),
]
NAMES = ["first-latent", "first-text", "middle-latent", "middle-text", "chain-latent"]
EXPERIMENTS = ("layer", "position", "chained")
EXACT = 1e-6


def run(circuit: Circuit, kind: str, folder: Path, experiment: str, pairs: int = 4, **changes) -> pa.Table:
    """The records of one experiment on the model of a circuit."""
    spec = Spec(experiments=parse_experiments([experiment]), thoughts=kind, prefix=PREFIX, checks=0, **changes)
    with open_run(folder, {}) as directory:
        prepared = Experiment.prepare(planted_model(circuit), spec, planted_pairs(pairs))
        return run_experiment(prepared, directory, None)


def expected(circuit: Circuit, kind: str, row: dict) -> bool:
    """Whether a cell must move the answer all the way; otherwise it must not move it at all."""
    thoughts = [f"t{step}" for step in range(THOUGHTS)]
    layer, latent = row["layer"], kind == "latent"
    if row["experiment"] == "layer":
        return circuit.moves(layer, {*thoughts}, latent)
    if row["experiment"] == "cumulative":
        return circuit.moves(layer, {*thoughts[: row["step"] + 1]}, latent)
    here = circuit.moves(layer, {row["site"]}, latent)
    if row["experiment"] == "relay" and row["step"] > 0:
        # What is handed on is the other run's only if step 0 wrote it, and if thoughts pass it on at all.
        return here and circuit.hands_on and circuit.moves(layer, {"t0"}, latent)
    return here


def assert_found(circuit: Circuit, kind: str, records: pa.Table) -> None:
    """Every recovery is 1 where it must be and 0 everywhere else; for noise, the other way round."""
    assert len(records)
    for row in records.to_pylist():
        assert row["both_correct"]
        moved = row["recovery"] if row["direction"] == "denoise" else 1 - row["recovery"]
        name = [row[key] for key in ("experiment", "layer", "site", "step", "pair_id")]
        assert moved == pytest.approx(float(expected(circuit, kind, row)), abs=EXACT), name


@pytest.mark.parametrize("how", ["fast-denoise", "fast-noise", "reference-denoise"])  # plain hooks take their time
@pytest.mark.parametrize(("circuit", "kind"), CASES, ids=NAMES)
def test_every_experiment_finds_the_planted_site(circuit, kind, how, tmp_path):
    (engine, direction), found = how.split("-"), set()
    for experiment in EXPERIMENTS:
        records = run(circuit, kind, tmp_path / experiment, experiment, 2, engine=engine, directions=(direction,))
        assert_found(circuit, kind, records)
        found |= {row["experiment"] for row in records.to_pylist() if expected(circuit, kind, row)}
    # A relay that starts at a thought which carries nothing hands nothing on: that is no failure of the relay.
    assert found == {"layer", "position", "cumulative"} | ({"relay"} if circuit.thought == 0 else set())


@pytest.mark.parametrize("kind", ["latent", "text"])
@pytest.mark.parametrize("circuit", [FIRST, MIDDLE], ids=["first", "middle"])
def test_one_thought_of_one_layer_is_found(circuit, kind, tmp_path):
    """What `expected` says, said again by hand: of all thoughts one cell, and the answer position above it."""
    records = run(circuit, kind, tmp_path / "run", "position").to_pylist()
    moved = {(row["layer"], row["site"]) for row in records if row["recovery"] > 0.5}
    above = {(layer, "answer") for layer in range(circuit.write + 1, LAYERS)}
    assert moved == {(circuit.write, f"t{circuit.thought}")} | above


def test_a_relay_follows_a_chain_to_its_end(tmp_path):
    records = run(CHAIN, "latent", tmp_path / "run", "relay").to_pylist()
    moved = {(row["layer"], row["step"]) for row in records if row["recovery"] > 0.5}
    handed = {(layer, step) for layer in (1, 2, 3) for step in range(THOUGHTS - 1)}
    assert moved == handed | {(1, THOUGHTS - 1)}  # above, the last thought has been read already


@pytest.mark.parametrize("kind", ["latent", "text"])
def test_the_decoy_tells_the_answer_and_does_nothing(kind, tmp_path):
    """Its vectors differ, anybody could decode the answer from them, and no experiment is deceived."""
    site, layer = f"t{FIRST.decoy}", FIRST.write
    vectors: list = []
    model = planted_model(FIRST).hooked
    experiment = Experiment.prepare(
        planted_model(FIRST), Spec(experiments=("position",), thoughts=kind, prefix=PREFIX), planted_pairs(VALUES)
    )
    for side in (0, 1):
        batch = collate([layouts[side] for layouts in experiment.layouts])
        resid = reference.baseline(model, planted_model(FIRST).head, batch).resid
        vectors.append(resid[:, 0, layer, batch.sites.index(site)])
    clean, corrupted = vectors
    assert (clean - corrupted).norm(dim=-1).min() > 0.1 * clean.norm(dim=-1).max()
    assert torch.equal(clean[:, code("decoy")].argmax(-1), torch.arange(VALUES))
    rows = [row for row in run(FIRST, kind, tmp_path / "run", "position").to_pylist() if row["site"] == site]
    assert max(abs(row["recovery"]) for row in rows) < EXACT
    assert min(row["similarity_clean"] for row in rows) == pytest.approx(1)
    assert max(row["similarity_corrupted"] for row in rows if row["layer"] == layer) < 0.999


@pytest.mark.parametrize(("circuit", "kind"), CASES[:4], ids=NAMES[:4])
def test_summary_and_reading_name_the_planted_site(circuit, kind, tmp_path):
    records = run(circuit, kind, tmp_path / "run", "position", pairs=12, sites=("thoughts",), nulls=("gaussian",))
    summary = summarise(records, seed=0)
    best = summary.top[0]
    assert (best.layer, best.site) == (circuit.write, f"t{circuit.thought}")
    text = reading(summary)
    assert f"the largest at layer {circuit.write}, t{circuit.thought}: 1.00 of the gap" in text
    assert f"the mean recovery is clear in 1 of {LAYERS * THOUGHTS - _dead(kind)} cells" in text


def carries(circuit: Circuit, hook: str, head: int | None) -> set[tuple[int, str]]:
    """Where, by the definitions, a write at a hook point must bring the other run's answer."""
    thought, write, read = f"t{circuit.thought}", circuit.write, circuit.read
    writes, reads, above = (write, thought), (read, "answer"), {(layer, "answer") for layer in range(read + 1, LAYERS)}
    return {
        "resid_pre": {(read, thought), *above},
        "resid_mid": {writes, reads, *above},
        "resid_post": {writes, reads, *above},
        "attn_out": {writes, reads},
        "mlp_out": {reads},
        "post": set(),  # of its neurons see `adds_half`
        "z": {writes, reads} if head == 0 else set(),  # head 1 writes the decoy
        "k": set(),  # its keys tell thoughts apart, and not numbers
        "v": {(read, thought)} if head == 0 else set(),
        "kv": {(read, thought)},
        "thought": set(),  # what is fed back holds the decoy alone
    }[hook]


def adds_half(circuit: Circuit, row: Mapping[str, Any]) -> bool:
    """Whether a neuron is that of one of the two numbers, where it is looked up: one of the two that must change."""
    numbers = {(int(row[name]) - 3) % VALUES for name in ("clean_answer", "corrupted_answer")}
    return row["hook"] == "post" and (row["layer"], row["site"]) == (circuit.read, "answer") and row["head"] in numbers


@pytest.mark.parametrize(
    ("circuit", "kind", "engine"),
    [*((*case, "fast") for case in CASES[:4]), (MIDDLE, "text", "reference")],
    ids=[*NAMES[:4], "middle-text-reference"],
)
def test_every_hook_point_finds_what_one_head_writes_at_one_thought(circuit, kind, engine, tmp_path):
    hooks = tuple(hook for hook, point in POINTS.items() if point.hooks or kind == "latent")
    layers = (circuit.write, circuit.read) if engine == "reference" else ()
    records = run(circuit, kind, tmp_path / "run", "position", 2, engine=engine, hooks=hooks, layers=layers).to_pylist()
    assert {row["hook"] for row in records} == {*hooks}
    for row in records:
        must = (row["layer"], row["site"]) in carries(circuit, row["hook"], row["head"])
        name = [row[key] for key in ("hook", "head", "layer", "site", "pair_id")]
        assert row["recovery"] == pytest.approx(float(must) + adds_half(circuit, row) / 2, abs=EXACT), name
        assert not (must and row["structural"]), name


def test_the_ranking_and_the_words_name_the_head(tmp_path):
    records = run(MIDDLE, "latent", tmp_path / "run", "position", 12, sites=("thoughts",), hooks=("z", "attn_out"))
    summary = summarise(records, seed=0)
    best = {cell.hook: (cell.head, cell.layer, cell.site) for cell in summary.top[::-1]}
    assert best == {"z": (0, MIDDLE.write, "t1"), "attn_out": (None, MIDDLE.write, "t1")}
    told = reading(summary)
    assert f"layer {MIDDLE.write}, t1, head 0 of z" in told
    assert f"layer {MIDDLE.write}, t1, attn_out" in told
    neurons = run(MIDDLE, "latent", tmp_path / "neurons", "position", 12, sites=("answer",), hooks=("post.3", "post.5"))
    told = reading(summarise(neurons, seed=0))
    assert f"layer {MIDDLE.read}, answer, neuron " in told
    assert f"{LAYERS} layers × 1 position × 2 neurons, " in told


def _dead(kind: str) -> int:
    """Cells of thoughts that are zero by construction: in the last layer, those that are not fed back."""
    return 1 if kind == "latent" else THOUGHTS


@pytest.mark.parametrize(
    ("other", "experiments"),
    [
        (Circuit(thought=1, write=1, decoy=2), ("position", "chained")),  # all thoughts at once do not tell thoughts
        (Circuit(thought=0, write=2, decoy=2), EXPERIMENTS),
    ],
    ids=["another-thought", "another-layer"],
)
def test_a_circuit_at_another_place_is_noticed(other, experiments, tmp_path):
    for experiment in experiments:
        records = run(other, "latent", tmp_path / experiment, experiment)
        assert_found(other, "latent", records)
        with pytest.raises(AssertionError):
            assert_found(FIRST, "latent", records)


def test_a_site_that_is_shifted_by_one_step_is_noticed(tmp_path, monkeypatch):
    old, new = "range(len(prompt), len(prompt)", "range(len(prompt) + 1, len(prompt) + 1"
    broken = rewrite(monkeypatch, latent_module, "latent_layout", old, new)
    monkeypatch.setattr("mechpatch.models.thought_model.latent_layout", broken)
    with pytest.raises(AssertionError):
        assert_found(MIDDLE, "latent", run(MIDDLE, "latent", tmp_path / "run", "position"))
