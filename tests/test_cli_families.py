"""The commands on models of other families: looked at, run, refused, inspected."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import codi_state, edit_json, edit_state, tiny_llama, write_base, write_state
from families import FORMS
from models_under_test import PAIRS

from mechpatch import cli
from mechpatch.experiments.running.footprint import bytes_of_weights
from mechpatch.experiments.running.notes import wrong_base
from mechpatch.models import files, load_model
from mechpatch.pairs import to_prepared

Call = Callable[..., str]


@pytest.fixture
def mechpatch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """A command in this process; what it says on stdout, or its error."""

    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["mechpatch", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        else:
            code = 0
        found = capsys.readouterr()
        return found.out + found.err[found.err.find("error:") :] if code else found.out

    return call


@pytest.fixture
def weightless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a weight fails."""
    monkeypatch.setattr(files, "read_tensors", None)


@pytest.mark.usefixtures("weightless")
@pytest.mark.parametrize("form", ["sim-cot-sharded", "sim-cot-bin", "coconut", "latenttts"])
def test_check_tells_what_a_load_will_make(form: str, mechpatch: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = FORMS[form].write(tmp_path)
    path = given.get("codi") or given.get("coconut")
    asked = [path, "--model", given["base"]] if path else [given["base"]]
    found = json.loads(mechpatch("check", *asked, "--json"))
    assert found["n_latents"] == FORMS[form].n_latents
    assert tuple(sorted(found["left_out"])) == FORMS[form].left_out
    assert found["special"]["bot"] == FORMS[form].bot
    said = mechpatch("check", *asked)
    assert found["title"] in said
    assert "missing  nothing" in said
    monkeypatch.undo()
    model = load_model(**given, device="cpu")
    # transformer-lens adds biases of zeros
    assert found["weights"] == pytest.approx(bytes_of_weights(model), rel=0.05)
    assert found["architecture"] == model.hooked.cfg.original_architecture


def test_check_names_what_is_missing_and_what_must_be_given(mechpatch: Call, tmp_path: Path):
    base, codi = write_base(tmp_path / "base", tiny_llama()), tmp_path / "codi.safetensors"
    write_state(codi, codi_state(tiny_llama()))
    alone = mechpatch("check", codi)
    assert "alpha  32, as published: give --lora-alpha" in alone
    assert "a LoRA of rank 4" in alone
    assert "missing  not known: give its base as --model" in alone
    with_base = mechpatch("check", codi, "--model", base)
    assert "ids  pad 160, bot 161, eot 162" in with_base
    assert "trained on the Instruct model" in with_base
    edit_state(codi, lambda state: state.pop(next(key for key in state if "lora_B" in key)))
    spoilt = mechpatch("check", codi, "--model", base)
    assert "given as --codi" in spoilt
    assert "missing: base_model.model.model.layers.0" in spoilt
    assert "leave out --model" in mechpatch("check", base, "--model", base)


def test_another_base_is_named_where_answers_are_wrong(tmp_path: Path):
    base = write_base(tmp_path / "base", tiny_llama())
    state = {with_base: codi_state(tiny_llama(), with_base=with_base) for with_base in (False, True)}
    beside, whole = (write_state(tmp_path / f"{name}.safetensors", each) for name, each in state.items())
    doubt = load_model(base, codi=beside, device="cpu").doubt
    assert "checkpoints of CODI for llama were trained on the Instruct model" in doubt
    assert load_model(base, codi=whole, device="cpu").doubt == ""  # the base is in the checkpoint
    assert wrong_base(doubt, 1, 4).startswith("The base may be the wrong one: 1 of 4 pairs are answered right")
    assert wrong_base(doubt, 2, 4) == wrong_base("", 0, 4) == ""
    edit_json(base / "tokenizer_config.json", chat_template="{{ messages }}")
    assert load_model(base, codi=beside, device="cpu").doubt == ""


def test_a_coconut_model_from_plan_to_inspection(mechpatch: Call, tmp_path: Path):
    given = FORMS["sim-cot-coconut"].write(tmp_path)
    (tmp_path / "pairs.json").write_text(json.dumps(to_prepared(PAIRS[:1])), encoding="utf-8")
    asked = ["position", "--model", given["base"], "--coconut", given["coconut"], "--pairs", tmp_path / "pairs.json"]
    asked += ["--layers", "1", "--latents", "2", "--include-incorrect"]
    out = ["--out", tmp_path / "run", "--cache", tmp_path / "cache"]
    assert "1 pairs × 5 cells" in mechpatch("plan", *asked[:-1])
    assert "SIM-CoT" not in mechpatch("run", *asked, *out)
    record = json.loads((tmp_path / "run" / "spec.json").read_text(encoding="utf-8"))
    about = record["environment"]["model"]
    assert (about["family"], record["spec"]["prefix"]) == ("sim-cot-coconut", "###")
    assert about["left_out"]["expainable_llm.*"]["keys"] > 30
    refused = mechpatch("run", *asked, *out, "--question-format", "{question}")
    assert "--question-format: the run has (not given), asked for {question}" in refused
    refused = mechpatch("run", *asked, *out, "--family", "pause")
    assert "--family: the run has sim-cot-coconut, asked for pause" in refused
    assert "equal-length" in mechpatch("inspect", tmp_path / "run")
