"""A value that is not finite is traced to the layer and position it was made at, in every kind of thought."""

import re
from dataclasses import replace

import pytest
import torch
from models_under_test import make_case

from mechpatch.errors import NumericsError
from mechpatch.experiments.running.finite import Written, require_finite
from mechpatch.models.heads import LatentHead
from mechpatch.patching.patch import Patch

KINDS = ("latent", "text", "placeholder")


def search(case, given=None, where="here", written=None, model=None):
    names = [f"pair-{i}" for i in range(case.batch.size)]
    given = given or [torch.full((case.batch.size, 2), torch.nan)]
    require_finite(model or case.model, case.layouts, names, given, where, written)


def with_nan(monkeypatch, case, layer, column, value=torch.nan):
    """Make the MLP of a layer give `value` at one column, as a broken kernel would."""
    block = case.model.hooked.blocks[layer]
    plain, mlp = block.forward, block.mlp.forward
    start = 0

    def forward(resid, *args, **kwargs):
        nonlocal start
        entry = kwargs.get("past_kv_cache_entry")
        start = 0 if entry is None else entry.past_keys.shape[1]
        return plain(resid, *args, **kwargs)

    def broken(x):
        out = mlp(x)
        if start <= column < start + out.shape[1]:
            out = out.clone()
            out[:, column - start, 3] = value
        return out

    monkeypatch.setattr(block, "forward", forward)
    monkeypatch.setattr(block.mlp, "forward", broken)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_layer_and_position_are_found(monkeypatch, kind, layer, value):
    case = make_case("tiny-float32", kind, pairs=(0,))
    layout = case.layouts[0]
    for site in (layout.sites[0], "answer"):
        position = dict(zip(layout.sites, layout.positions(0), strict=True))[site]
        with monkeypatch.context() as patch:
            with_nan(patch, case, layer, position, value)
            with pytest.raises(NumericsError) as caught:
                search(case)
        message = rf"pair 'pair-0', here: NaN or infinite first at layer {layer}, at position {position} \({site}"
        assert re.match(message, str(caught.value)), caught.value


def test_the_first_bad_pair_is_named(monkeypatch):
    case = make_case("tiny-float32", "latent")
    given = torch.zeros(case.batch.size, 2)
    given[1:] = torch.nan
    with pytest.raises(NumericsError, match=r"pair 'pair-1', here: .* nowhere when it is run alone with plain hooks"):
        search(case, [torch.zeros(case.batch.size, 1), given])
    search(case, [torch.zeros(case.batch.size, 2)])  # and nothing is said of finite values


def test_a_bad_embedding_is_told_from_a_bad_layer(monkeypatch):
    case = make_case("tiny-float32", "latent", pairs=(0,))
    token = case.layouts[0].prompt[4]
    rows = case.model.hooked.embed.W_E
    kept = rows[token].clone()
    try:
        rows[token, 0] = torch.nan
        with pytest.raises(NumericsError, match=r"first in the embedding, below layer 0, at position \d+ \(token '"):
            search(case)
    finally:
        rows[token] = kept


def test_a_bad_latent_head_is_the_embedding_of_the_first_thought():
    case = make_case("tiny-float32", "latent", pairs=(0,))
    head = case.model.head
    assert isinstance(head, LatentHead)
    state = {
        f"prj.{name}": value.clone()
        for name, value in zip(
            ("1.weight", "1.bias", "3.weight", "3.bias", "ln.weight", "ln.bias"), head.parameters(), strict=True
        )
    }
    state["prj.ln.bias"][5] = torch.inf
    model = replace(case.model, head=LatentHead(state))
    with pytest.raises(
        NumericsError, match=rf"first in the embedding, .* position {len(case.layouts[0].prompt)} \(t0\)"
    ):
        search(case, model=model)


def test_the_unembedding_is_told_from_the_layers(monkeypatch):
    case = make_case("tiny-float32", "text", pairs=(0,))
    norm = case.model.hooked.ln_final
    monkeypatch.setattr(norm, "forward", lambda x: torch.full_like(x, torch.nan))
    with pytest.raises(NumericsError, match="above the last layer, 2, in the final norm or the unembedding"):
        search(case)


def test_what_is_written_is_written_in_the_search_too(monkeypatch):
    """A block that only breaks on what was written: found only if the search writes it as well."""
    case = make_case("tiny-float32", "latent", pairs=(0,))
    norm = case.model.hooked.blocks[2].ln2
    plain = norm.forward
    monkeypatch.setattr(norm, "forward", lambda x: torch.where(x > 1e30, torch.nan, plain(x)))
    vectors = torch.full_like(case.donor[:, :, 1, [2]], 1e38)
    position = case.layouts[0].positions(0)[2]
    with pytest.raises(NumericsError, match=rf"first at layer 2, at position {position} \(t1\)"):
        search(case, written=Written(Patch(1, (2,)), vectors[:, :, None]))
    with pytest.raises(NumericsError, match="in the vectors that are written at layer 1: look at the run"):
        search(case, written=Written(Patch(1, (2,)), vectors[:, :, None] * torch.inf))
    with pytest.raises(NumericsError, match="nowhere when it is run alone"):
        search(case)
