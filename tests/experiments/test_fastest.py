"""Which library multiplies matrices: they agree up to rounding, a clear winner is taken, and a run keeps its own."""

import json

import pytest
import torch
from models_under_test import model_under_test

import mechpatch as mp
from mechpatch.errors import SpecError
from mechpatch.experiments import fastest
from mechpatch.experiments.fastest import library_for
from mechpatch.names import ONEDNN, TORCH
from mechpatch.patching.engine import product

needs_onednn = pytest.mark.skipif(not product.available(), reason="this build of torch has no oneDNN")


@pytest.fixture(autouse=True)
def unchanged():
    """The process has torch's own library again."""
    yield
    product.use(TORCH)


@needs_onednn
@pytest.mark.parametrize("rows", [0, 1, 7])
@pytest.mark.parametrize("bias", [False, True])
def test_both_libraries_give_the_same_product(monkeypatch, rows: int, bias: bool):
    monkeypatch.setattr(product, "LEAST", 1)
    generator = torch.Generator().manual_seed(0)
    x, weight, more = (torch.randn(*shape, generator=generator) for shape in ((rows, 48), (32, 48), (32,)))
    exact = x.double() @ weight.double().T + (more.double() if bias else 0)
    for name in (TORCH, ONEDNN):
        product.use(name)
        found = product.linear(x, weight, more if bias else None)
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    assert not product.takes(weight.T)  # as it does not lie
    assert product.linear(x, weight.T.contiguous().T, None).shape == (rows, 32)


def test_only_a_clear_winner_is_taken():
    assert product.faster({TORCH: 2.0, ONEDNN: 1.0}) == ONEDNN
    assert product.faster({TORCH: 1.0, ONEDNN: 0.95}) == product.faster({TORCH: 1.0, ONEDNN: 2.0}) == TORCH


@needs_onednn
def test_a_measurement_is_kept_and_one_that_is_damaged_is_made_anew(monkeypatch, tmp_path):
    model, made = model_under_test("tiny-float32"), []

    def quick(weight):
        made.append(weight)
        return {TORCH: 2.0, ONEDNN: 1.0}

    monkeypatch.setattr(fastest, "measured", quick)
    assert library_for(model, "fast", "auto", tmp_path) == TORCH  # too small to matter
    monkeypatch.setattr(product, "LEAST", 1)
    assert library_for(model, "reference", "auto", tmp_path) == TORCH
    assert not made
    assert [library_for(model, "fast", "auto", tmp_path) for _ in range(2)] == [ONEDNN] * 2
    assert len(made) == 1
    path = tmp_path / fastest.FILE
    (key,) = json.loads(path.read_text())
    assert str(torch.get_num_threads()) in key
    path.write_text("{")
    assert library_for(model, "fast", "auto", tmp_path) == library_for(model, "fast", "auto", None) == ONEDNN
    assert len(made) == 3
    assert library_for(model, "fast", "torch", tmp_path) == TORCH
    with pytest.raises(SpecError, match="did you mean onednn"):
        library_for(model, "fast", "onedn", tmp_path)


@needs_onednn
def test_a_run_keeps_the_library_that_it_was_begun_with(monkeypatch, demo_model, shipped_pairs, tmp_path):
    """And its numbers are those of the other one, up to rounding."""
    monkeypatch.setattr(product, "LEAST", 1)
    products, real = [], torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda *given: (products.append(0), real(*given))[1])

    def run(name: str, **given):
        found = mp.run(demo_model, shipped_pairs[:3], "position", layers=(1, 2), product=name, checks=1, **given)
        used = len(products) > 0
        products.clear()
        return found.effects, (product.current(), used)

    (other, had), (plain, has) = run("onednn"), run("torch")
    assert (had, has) == ((ONEDNN, True), (TORCH, False))
    torch.testing.assert_close(*(torch.tensor(each.kl_divergence) for each in (other, plain)), rtol=1e-3, atol=1e-5)
    _, begun = run("onednn", limit=2, out=tmp_path / "run")
    effects, goes_on = run("torch", out=tmp_path / "run")
    assert (begun, goes_on) == ((ONEDNN, True), (ONEDNN, True))
    assert effects.pair_id.nunique() == 3
    machine = json.loads((tmp_path / "run" / "spec.json").read_text())["machine"]
    assert machine["product"] == ONEDNN


def test_what_is_not_there_cannot_be_taken(monkeypatch):
    monkeypatch.setattr(product, "available", lambda: False)
    with pytest.raises(SpecError, match="has no oneDNN; take torch"):
        product.use(ONEDNN)
    with pytest.raises(SpecError, match="expected torch or onednn"):
        product.use("other")
