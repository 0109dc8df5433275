"""The models that are shipped are what their cards say, and every command takes them by name."""

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from commands import mechpatch
from safetensors.torch import load_file

from mechpatch.data import HERE, SHIPPED
from mechpatch.experiments.described import portable
from mechpatch.experiments.running.answering import answer
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel, load_model, load_source
from mechpatch.pairs import Pair, Side, load_pairs
from mechpatch.pairs.answered import NEEDS_THOUGHTS, SIDES, Answers, right_sides
from mechpatch.pairs.demo import problems as word_problems
from mechpatch.pairs.handovers import problems as handover_problems
from mechpatch.source import ModelSource
from mechpatch.storage.results import read_effects

WORLDS: dict[str, Any] = {
    "demo-coconut": word_problems,
    "demo-pause": word_problems,
    "demo-names": handover_problems,
}
GATED = ("demo-coconut", "demo-names")  # whatever demo-pause reaches is told
GATE = 0.9
N_PAIRS = 25


@pytest.fixture(scope="module", params=WORLDS)
def shipped(request: pytest.FixtureRequest) -> tuple[str, ThoughtModel]:
    return request.param, load_model(request.param, device="cpu")


def said(model: ThoughtModel, pairs: list[Pair]) -> Answers:
    spec = Spec(experiments=("position",), thoughts="placeholder" if model.head is None else "latent")
    return answer(model, spec, pairs, (NEEDS_THOUGHTS,), None, lambda done: None)


def told(name: str, condition: str) -> float:
    """What the card says."""
    card = (SHIPPED[name].folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| {condition} \| ([\d.]+) \|$", card, re.MULTILINE)
    assert found
    return float(found[1])


def test_a_model_is_as_good_as_its_card_says(shipped):
    name, model = shipped
    sides = [
        Side(each.question(), str(each.answer()), None, {}) for each in islice(WORLDS[name](77, True), 2 * N_PAIRS)
    ]
    pairs = [Pair(str(n), sides[2 * n], sides[2 * n + 1], {}) for n in range(N_PAIRS)]
    answers = said(model, pairs)
    share = right_sides(answers) / (2 * N_PAIRS)
    assert told(name, "thoughts") >= GATE or name not in GATED
    assert share == pytest.approx(told(name, "thoughts"), abs=0.15)
    both = [each for found in answers.values() if tuple(one.outcome for one in found) == SIDES for each in found]
    without = sum(each.without == side for each, side in zip(both, SIDES * len(both), strict=False)) / (2 * N_PAIRS)
    assert without == pytest.approx(told(name, "no thoughts"), abs=0.15)


def test_the_pairs_of_a_model_are_answered_rightly_on_both_sides(shipped):
    name, model = shipped
    pairs = load_pairs(SHIPPED[name].pairs)
    assert all(pair.clean.value != pair.corrupted.value for pair in pairs)
    right = sum(tuple(one.outcome for one in found) == SIDES for found in said(model, pairs[::6]).values())
    assert right == len(pairs[::6]) or name not in GATED


def test_a_model_is_found_again_by_what_a_run_says_of_it(shipped):
    _, model = shipped
    again = load_source(ModelSource.recorded(portable(model.about)), device="cpu")
    assert again.fingerprint == model.fingerprint


def test_the_twins_have_the_same_pairs():
    assert SHIPPED["demo-pause"].pairs.read_bytes() == SHIPPED["demo-coconut"].pairs.read_bytes()


def test_a_card_counts_the_parameters_of_the_files(shipped):
    name, _ = shipped
    state = load_file(SHIPPED[name].checkpoint / "model.safetensors")
    copies = {"embedding.weight", "base_causallm.lm_head.weight"}
    count = sum(tensor.numel() for key, tensor in state.items() if key not in copies)
    assert f"its {count:,} parameters" in (SHIPPED[name].folder / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_three_are_small():
    files = [file for name in WORLDS for file in SHIPPED[name].folder.rglob("*") if file.is_file()]
    assert 1e6 < sum(file.stat().st_size for file in files) < 8e6


def test_answers_in_words_run_to_a_report_and_are_opened_again(tmp_path: Path):
    run = tmp_path / "run"
    done = mechpatch(
        "run", "position", "--model", "demo-names", "--limit", 6, "--layers", "1", "--sites", "t0,answer",
        "--nulls", "other-pair", "--report", "--out", run, "--cache", tmp_path / "cache", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pairs = json.loads(SHIPPED["demo-names"].pairs.read_text(encoding="utf-8"))
    effects = read_effects(run).to_pylist()
    assert {row["clean_answer"] for row in effects} == {pair["clean"]["answer"] for pair in pairs[:6]}
    at_answer = [row["outcome"] for row in effects if (row["site"], row["donor"]) == ("answer", "paired")]
    # The position before the answer carries one token of it: a name of several pieces does not switch whole.
    assert {*at_answer} == {"clean", "other"}
    assert "answer" in (run / "report.html").read_text(encoding="utf-8")
    described = (run / "spec.json").read_text(encoding="utf-8")
    assert json.loads(described)["environment"]["model"]["base"] == "demo-names"
    assert json.loads(described)["environment"]["pairs"] == "demo-names"
    assert str(HERE) not in described
    looked = mechpatch("inspect", run, "--pair", pairs[0]["pair_id"], "--device", "cpu")
    assert looked.returncode == 0, looked.stderr


@pytest.mark.parametrize("command", ["check demo-coconut", "plan position --model demo-pause", "pairs demo-names"])
def test_every_command_takes_their_names(command: str):
    done = mechpatch(*command.split())
    assert done.returncode == 0, done.stderr


def test_the_laws_hold_on_the_coconut_model():
    done = mechpatch("verify", "--model", "demo-coconut", "--layers", "2", "--dtype", "float64", "--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "asked", [("run", "layer", "--out", "never", "--model", "demo-cocnut"), ("pairs", "demo-cocnut")]
)
def test_a_name_that_is_nearly_right_is_told(asked: tuple[str, ...]):
    done = mechpatch(*asked)
    assert done.returncode == 1
    assert "Did you mean demo-coconut?" in done.stderr
