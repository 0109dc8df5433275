"""A tuned lens is nearer to the final distribution than the logit lens on questions that it has not seen."""

import pytest
import torch
from commands import mechpatch
from models_under_test import model_under_test
from safetensors.torch import save_file

import mechpatch as mp
from mechpatch.errors import SpecError, StorageError
from mechpatch.reading import fit_lens
from mechpatch.readings import TunedLens, load_lens


@pytest.fixture(scope="module")
def lens(demo_model, shipped_pairs) -> TunedLens:
    return fit_lens(demo_model, shipped_pairs[:10], share=0.6, steps=60)


def test_it_is_nearer_on_questions_that_it_has_not_seen(lens, demo_model, shipped_pairs):
    names = {pair.pair_id for pair in shipped_pairs[:10]}
    train, held = {*lens.about["pairs"]}, {*lens.about["held_out"]}
    assert (len(train), len(held), train | held) == (6, 4, names)
    logit, tuned = lens.about["kl_logit_lens"], lens.about["kl_tuned_lens"]
    assert len(logit) == len(tuned) == demo_model.n_layers - 1
    assert all(after < 0.9 * before for before, after in zip(logit, tuned, strict=True))
    assert f"is {sum(tuned) / 3:.2f} nats, and {sum(logit) / 3:.2f} with the logit lens" in lens.words
    # By hand, at the layer below the last one: KL(final || lens) over the sites of the questions held out.
    found, hooked = [], demo_model.hooked
    for pair in (each for each in shipped_pairs[:10] if each.pair_id in held):
        for side, layout in zip(("clean", "corrupted"), demo_model.lay_out(pair), strict=True):
            _, cache = demo_model.run_with_cache(pair, side=side)
            for at in layout.positions(1):
                below, last = (cache[f"blocks.{layer}.hook_resid_post"][0, at] for layer in (2, 3))
                read, final = (
                    (hooked.ln_final(each[None, None])[0, 0] @ hooked.W_U).log_softmax(-1)
                    for each in (lens(2, below[None])[0], last)
                )
                found.append((final.exp() * (final - read)).sum().item())
    assert sum(found) / len(found) == pytest.approx(tuned[2], rel=1e-3)


def test_the_last_layer_is_read_as_it_is_and_zero_is_the_logit_lens(lens, demo_model, shipped_pairs):
    vectors = torch.randn(3, demo_model.hooked.cfg.d_model)
    assert torch.equal(lens(demo_model.n_layers - 1, vectors), vectors)
    zero = TunedLens(weight=0 * lens.weight, bias=0 * lens.bias, about=lens.about)
    plain = mp.read(demo_model, shipped_pairs[:10]).records.to_pandas()
    read = mp.read(demo_model, shipped_pairs[:10], tuned=zero).records.to_pandas()
    # The same but for the pairs that it was trained on, which are not read; controls are drawn from all.
    assert {*read.pair_id} == {*lens.about["held_out"]}
    columns = ["pair_id", "side", "hook", "layer", "site", "target", "rank", "rank_other_question"]
    expected = plain[plain.pair_id.isin({*read.pair_id})].reset_index(drop=True)
    assert read[columns].equals(expected[columns])
    tuned = mp.read(demo_model, shipped_pairs[:10], tuned=lens)
    assert "Read a tuned lens at" in tuned.words
    assert "Read the logit lens at" in mp.read(demo_model, shipped_pairs[:2]).words
    assert not tuned.records.to_pandas()["rank"].equals(expected["rank"])


def test_it_is_kept_whole_and_refused_for_another_model(lens, demo_model, shipped_pairs, tmp_path):
    lens.save(tmp_path / "lens.safetensors")
    again = load_lens(tmp_path / "lens.safetensors")
    assert torch.equal(again.weight, lens.weight)
    assert torch.equal(again.bias, lens.bias)
    assert again.about == lens.about
    with pytest.raises(
        SpecError, match=f"the tuned lens is of the model {demo_model.fingerprint}, and this one is tiny"
    ):
        lens.require(model_under_test("tiny-float64"))
    with pytest.raises(SpecError, match="probe has no tuned lens"):
        mp.read(demo_model, shipped_pairs[:10], "probe", tuned=lens)
    trained = [pair for pair in shipped_pairs if pair.pair_id in lens.about["pairs"]]
    with pytest.raises(SpecError, match="was trained on all 6 pairs"):
        mp.read(demo_model, trained, tuned=lens)
    with pytest.raises(SpecError, match=r"a share of 0\.9 of 4 pairs gives 4 and 0"):
        fit_lens(demo_model, shipped_pairs[:4], share=0.9)


def test_other_files_are_no_lens(lens, tmp_path):
    path = tmp_path / "lens.safetensors"
    with pytest.raises(StorageError, match="cannot be read"):
        load_lens(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(StorageError, match="is no tuned lens of format 1; train it again"):
        load_lens(path)
    lens.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StorageError, match="damaged"):
        load_lens(path)


def test_the_command_trains_it_on_half_of_a_run_and_reads_the_other(demo_model, shipped_pairs, tmp_path, monkeypatch):
    mp.run(demo_model, shipped_pairs[:6], out=tmp_path / "run", layers=(0,), sites=("t0",), checks=0)
    file = tmp_path / "lens.safetensors"
    assert "say with --out where" in mechpatch("read", "tune", tmp_path / "run").stderr
    found = mechpatch("read", "tune", tmp_path / "run", "--out", file)
    assert found.returncode == 0, found.stderr
    assert "Trained on 3 pairs; on 3 others the mean KL divergence" in found.stdout
    read = mechpatch("read", "lens", tmp_path / "run", "--tuned", file)
    assert "Read a tuned lens at 4 layers" in read.stdout
    assert "both questions of 3 pairs" in read.stdout
