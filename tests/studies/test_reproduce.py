"""`mechpatch reproduce` whole, on a stand-in of each published format: its weights are random, its files are real."""

import json
from pathlib import Path
from typing import Any

import pytest
from commands import mechpatch
from families import ALPHA, FORMS
from models_under_test import PAIRS

from mechpatch.pairs import to_prepared
from mechpatch.storage.sealed import read_sealed

NAMES = {"base": "--model", "codi": "--codi", "coconut": "--coconut", "family": "--family"}
# Which study each form stands in for.
STUDIES = {
    "codi-old-bin": "pointer-chase",
    "sim-cot-sharded": "sim-cot-1b",
    "sim-cot-bin": "cot-exploration-ablation",
    "sim-cot-coconut": "sim-cot-gpt2-coconut",
    "coconut": "coconut-and-pause",
    "latenttts": "causal-latent-cot",
    "soft-llama": "two-and-three-hops",
}
PROBLEMS = [
    ("Tom has 48 pens. He sells 5 bags of 6. How many pens are left?", "<<5*6=30>>30 <<48-30=18>>18\n#### 18"),
    ("Ann has 23 pens. She finds 4 boxes of 9. How many pens has she?", "<<4*9=36>>36 <<23+36=59>>59\n#### 59"),
    ("Ida has 70 pens. She sells 3 bags of 8. How many pens are left?", "<<3*8=24>>24 <<70-24=46>>46\n#### 46"),
]


def asked(form: str, folder: Path) -> list[Any]:
    """The options that name a stand-in."""
    given = FORMS[form].write(folder)
    more = ["--lora-alpha", given["lora_alpha"]] if "lora_alpha" in given else []
    more += ["--latents", given["n_latents"]] if "n_latents" in given else []
    more += ["--soft-top-k", 4, "--soft-temperature", 0.8] if given.get("family") == "soft" else []
    return [word for name, option in NAMES.items() if name in given for word in (option, given[name])] + more


@pytest.fixture
def files(tmp_path: Path) -> list[object]:
    questions, pairs = tmp_path / "test.jsonl", tmp_path / "given pairs.json"
    lines = [json.dumps({"question": question, "answer": answer}) for question, answer in PROBLEMS]
    questions.write_text("\n".join(lines), encoding="utf-8")
    pairs.write_text(json.dumps(to_prepared(PAIRS[:2])), encoding="utf-8")
    return ["--questions", questions, "--pairs", pairs]


@pytest.mark.parametrize(("form", "study"), STUDIES.items())
def test_a_stand_in_of_each_format_is_measured(form: str, study: str, files: list[object], tmp_path: Path):
    model, out = tmp_path / "model", tmp_path / "results here"
    model.mkdir()
    found = mechpatch("reproduce", study, *asked(form, model), *files, "--out", out, "--json")
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert result == read_sealed(out / "reproduction.json", "")
    assert all(command in found.stderr for command in result["commands"])
    for figure in result["figures"]:
        assert figure["published"]
        if figure["figure"] == "questions answered rightly":
            assert figure["ours"]["n"] == len(PROBLEMS)


def test_the_demo_is_measured_and_the_same_command_goes_on(tmp_path: Path):
    pairs = ["--pairs", "demo", "--limit", 6]
    command = ["reproduce", "causal-latent-cot", "--model", "demo", *pairs, "--out", tmp_path / "out"]
    first = mechpatch(*command)
    assert first.returncode == 0, first.stderr
    again = mechpatch(*command, "--json")
    result = json.loads(again.stdout)
    ours = {figure["figure"]: figure["ours"]["count"] for figure in result["figures"]}
    assert ours["pairs still right with no thought (answer asked for at once)"] <= 1  # the demo needs its thoughts
    assert ours["pairs that switch by what t0 hands to t1, at the best layer"] >= 2
    assert "see the paper" in first.stdout
    assert f"with the fingerprint {result['model']}" in first.stdout.replace("\n", " ")


def test_what_is_missing_is_named_before_anything_is_loaded(tmp_path: Path):
    nothing: dict[str, Any] = {
        "needs --questions (GSM8K, test: 1,319 questions)": ["codi-gpt2", "--model", "demo", "--out", tmp_path],
        "say with --out where": ["codi-gpt2", "--model", "demo", "--questions", "q.jsonl"],
        "did you mean codi-gpt2": ["codi-gpt"],
    }
    for said, arguments in nothing.items():
        found = mechpatch("reproduce", *arguments)
        assert found.returncode == 1
        assert said in found.stderr
    told = mechpatch("reproduce", "codi-gpt2")
    assert "43.7 %" in told.stdout
    assert "zen-E/CODI-gpt2" in told.stdout
    assert "codi-llama-1b" in mechpatch("reproduce", "--list").stdout
    assert ALPHA != 32.0  # the stand-ins say their own
