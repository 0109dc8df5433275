"""An inspection holds what the runs have, at the places that it names, and agrees with the records."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from inspections import spec_of, tiny_inspection
from models_under_test import KINDS, PAIRS, make_case, model_under_test

from mechpatch.errors import NumericsError, SpecError
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.running.run import Experiment, run_experiment
from mechpatch.inspection.inspect import RUNS, inspect_pair, inspect_pairs
from mechpatch.inspection.strongest import At, strongest
from mechpatch.inspection.token_texts import running_texts, sequence_texts
from mechpatch.models import ThoughtModel
from mechpatch.models.heads import LatentHead
from mechpatch.pairs import Pair
from mechpatch.stats.typical_pairs import Choice
from mechpatch.storage.inspections import read_inspection
from mechpatch.storage.results import open_run

NAME = "tiny-float64"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", range(len(PAIRS)))
def test_every_array_has_its_shape_and_every_number_is_one(kind: str, pair: int):
    about, arrays = tiny_inspection(kind, pair).about, tiny_inspection(kind, pair).arrays
    model, sites = model_under_test(NAME), len(about["sites"])
    assert arrays["effect"].shape == arrays["structural"].shape == (model.n_layers, sites)
    for name, side in RUNS.items():
        run = about["runs"][name]
        length = len(run["tokens"])
        assert arrays[f"{name}.attention"].shape == (model.n_layers, 4, length, length)
        np.testing.assert_allclose(arrays[f"{name}.attention"].astype(np.float64).sum(-1), 1, atol=5e-3)
        assert arrays[f"{name}.resid"].shape == (model.n_layers, length, len(arrays["coordinates"]))
        assert arrays[f"{name}.lens_ids"].shape == (model.n_layers, sites, 10)
        for own in ("clean", "corrupted"):
            texts = run["continuations"][own]
            assert arrays[f"{name}.{own}_logprob"].shape == (len(texts),)
            answer = PAIRS[pair].clean.answer if own == "clean" else PAIRS[pair].corrupted.answer
            assert "".join(texts[run["answer"] :]).replace("##", "").strip() == answer
        assert run["positions"] == list(pair_layouts(model, spec_of(kind), PAIRS[pair])[side].positions(side))
    # One of the answers of the second pair is the start of the other.
    assert ("clean.leaning" in arrays) == (pair != 1)
    for name, array in arrays.items():
        assert np.isfinite(array).all() or name == "clean.moved", name
    used = {int(token) for name, array in arrays.items() if name.endswith("_ids") for token in array.flat}
    assert set(about["vocabulary"]) == set(map(str, used))


@pytest.mark.parametrize("kind", KINDS)
def test_effects_are_those_of_the_records(kind: str, tmp_path: Path):
    inspection = tiny_inspection(kind)
    experiment = Experiment.prepare(model_under_test(NAME), spec_of(kind), PAIRS[:1])
    with open_run(tmp_path, {}) as directory:
        rows = run_experiment(experiment, directory, None).to_pylist()
    for row in rows:
        place = row["layer"], inspection.about["sites"].index(row["site"])
        change = row["answer_logprob_diff"] - row["answer_logprob_diff_corrupted_run"]
        assert inspection.arrays["effect"][place] == pytest.approx(change, abs=1e-5)
        assert inspection.arrays["structural"][place] == row["structural"]
    assert len(rows) == inspection.arrays["effect"].size
    differences = inspection.about["answer_logprob_diff"]
    for name in ("clean", "corrupted"):
        assert differences[name] == pytest.approx(rows[0][f"answer_logprob_diff_{name}_run"])
    cell = inspection.about["patched"]
    (row,) = (row for row in rows if (row["layer"], row["site"]) == (cell["layer"], cell["site"]))
    assert differences["patched"] == pytest.approx(row["answer_logprob_diff"])
    assert cell["strongest"]


def test_both_engines_give_the_same_effects():
    found = inspect_pair(model_under_test(NAME), spec_of("latent", "reference"), PAIRS[0]).arrays["effect"]
    np.testing.assert_allclose(found, tiny_inspection("latent").arrays["effect"], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_answers_and_their_tokens_agree(kind: str):
    inspection = tiny_inspection(kind)
    for name in RUNS:
        start = inspection.about["runs"][name]["answer"]
        totals = [float(inspection.arrays[f"{name}.{own}_logprob"][start:].sum()) for own in ("clean", "corrupted")]
        assert totals[0] - totals[1] == pytest.approx(inspection.about["answer_logprob_diff"][name], abs=1e-4)
        for own in ("clean", "corrupted"):
            ranks, chosen = (inspection.arrays[f"{name}.{own}_{what}"] for what in ("rank", "logprob"))
            guesses = inspection.arrays[f"{name}.{own}_logprobs"]
            for rank, value, likely in zip(ranks, chosen, guesses, strict=True):
                assert rank >= 10 or likely[rank] == value


def test_the_patch_is_in_the_patched_run_and_moves_nothing_before_it():
    inspection = tiny_inspection("latent")
    cell, run = inspection.about["patched"], inspection.about["runs"]["patched"]
    at = run["positions"][inspection.about["sites"].index(cell["site"])]
    moved = inspection.arrays["patched.moved"]
    assert (moved[:, :at] == 0).all()
    assert (moved[: cell["layer"], at] == 0).all()
    assert moved[cell["layer"], at] > 0.1
    assert moved[cell["layer"], at] == pytest.approx(inspection.arrays["clean.moved"][cell["layer"], at])
    assert (moved[:, at + 1 :] > 0).any()
    assert (inspection.arrays["corrupted.moved"] == 0).all()


def test_distances_are_left_out_where_no_token_stands_for_another():
    same_length, unequal = (tiny_inspection("latent", pair).arrays["clean.moved"] for pair in (0, 1))
    assert np.isnan(same_length[:, :-1]).sum() == 0
    assert np.isnan(unequal).any()


def test_coordinates_hold_most_of_the_difference():
    case = make_case(NAME, "latent", pairs=(0,))
    difference = (case.donor[0, 0] - case.unpatched.resid[0, 0]).square().flatten(0, 1)
    difference = difference[difference.sum(-1) > 0]
    shares = (difference / difference.sum(-1, keepdim=True)).mean(0)
    found = tiny_inspection("latent").arrays
    expected = shares.sort(descending=True)
    assert found["coordinates"].tolist() == expected.indices[: len(found["coordinates"])].tolist()
    np.testing.assert_allclose(found["coordinate_shares"], expected.values[: len(found["coordinates"])], atol=1e-6)


def test_a_named_cell_is_the_one_that_is_patched():
    pair = PAIRS[0]
    inspection = inspect_pair(model_under_test(NAME), spec_of("latent"), pair, At(0, "bot"))
    assert inspection.about["patched"] == {"layer": 0, "site": "bot", "strongest": False}
    difference = inspection.about["answer_logprob_diff"]
    assert difference["patched"] - difference["corrupted"] == pytest.approx(inspection.arrays["effect"][0, 0], abs=1e-5)
    for wrong in (At(3, "bot"), At(-1, "bot"), At(0, "t9")):
        with pytest.raises(SpecError, match=r"has no cell at layer .* layers 0 to 2 and the sites bot, t0"):
            inspect_pair(model_under_test(NAME), spec_of("latent"), pair, wrong)


def test_the_strongest_cell_is_among_the_thoughts_and_not_structural():
    effect = torch.tensor([[9.0, 1.0, -3.0, 8.0], [9.0, 5.0, 2.0, 8.0]])
    structural = torch.zeros(2, 4, dtype=torch.bool)
    sites = ("bot", "t0", "t1", "answer")
    assert strongest(effect, structural, sites) == At(1, "t0")
    structural[1, 1] = True
    assert strongest(effect, structural, sites) == At(0, "t1")


def test_texts_read_like_the_question():
    model = model_under_test(NAME)
    for kind in KINDS:
        layout, _ = pair_layouts(model, spec_of(kind), PAIRS[0])
        texts = sequence_texts(model.tokenizer, layout, 0)
        assert len(texts) == len(layout.prompt) + layout.n_latents + len(layout.tails[0].tokens)
        assert "".join(texts).startswith("<s> Sam has 3 boxes of 5 pens. Sam finds 28 more.")
        assert "".join(texts).endswith("The answer is: 43")
        named = ["[bot] [t0] [t1] [t2] [eot]"] if kind != "text" else ["15+28=43"]
        assert all(each in "".join(texts) for each in named)
    assert running_texts(model.tokenizer, model.tokenizer.encode("148", add_special_tokens=False)) == ["14", "8"]


def test_inspections_are_kept_by_the_index_of_the_pair(tmp_path: Path):
    evil = dataclasses.replace(PAIRS[0], pair_id="../../../evil")
    pairs: list[Pair] = [PAIRS[1], PAIRS[2], evil]
    (path,) = inspect_pairs(model_under_test(NAME), spec_of("latent"), pairs, [Choice(2, "the last")], tmp_path / "run")
    assert path == tmp_path / "run" / "inspect" / "000002.json"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["run"]
    found = read_inspection(tmp_path / "run", 2)
    assert found.about == {
        **tiny_inspection("latent").about,
        "pair_id": evil.pair_id,
        "pair_index": 2,
        "why": "the last",
    }
    for name, array in tiny_inspection("latent").arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


def test_damaged_weights_are_named():
    model = model_under_test(NAME)

    class Broken(LatentHead):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return hidden * math.nan

    values = {field.name: getattr(model, field.name) for field in dataclasses.fields(ThoughtModel)}
    with pytest.raises(NumericsError, match="pair 'equal-length', the clean run: a logit is NaN"):
        inspect_pair(ThoughtModel(**{**values, "head": Broken({})}), spec_of("latent"), PAIRS[0])
