"""A model that changed after it was loaded, or that has hooks of somebody, is refused before anything is run."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from models_under_test import PAIRS, model_under_test
from torch import nn

from mechpatch import workflow
from mechpatch.errors import CheckpointError
from mechpatch.experiments.running.intact import require_intact
from mechpatch.experiments.spec import ENGINE_NAMES, Spec
from mechpatch.inspection.inspect import inspect_pairs
from mechpatch.models.memory import weight_digests
from mechpatch.pairs.load import to_prepared
from mechpatch.patching.rounding import moved_input
from mechpatch.stats.typical_pairs import Choice


@pytest.fixture(scope="module")
def model():
    found = model_under_test("tiny-float32")
    return replace(found, weights=weight_digests(found.hooked, found.head))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.json"
    path.write_text(json.dumps(to_prepared(PAIRS[:1])))
    return str(path)


@pytest.fixture
def refused(tmp_path, model, pairs) -> Callable[[str], None]:
    """Holds runs with either engine, and an inspection, to a message; nothing is left of them."""

    def refused(message):
        for engine in ENGINE_NAMES:
            spec = Spec(experiments=("layer",), engine=engine)
            file = workflow.read_pairs(pairs, model, spec)
            with pytest.raises(CheckpointError, match=message):
                workflow.run_to_directory(model, spec, file, tmp_path / engine, cache=None)
        with pytest.raises(CheckpointError, match=message):
            inspect_pairs(model, Spec(experiments=("layer",)), PAIRS, [Choice(0)], tmp_path)
        assert not list(tmp_path.iterdir())

    return refused


def zeroed(hooked, head):
    hooked.blocks[1].mlp.W_out.data.zero_()
    return r"^blocks\.1\.mlp\.W_out changed in memory since the model tiny-float32 was loaded"


def heads_exchanged(hooked, head):
    weight = hooked.blocks[0].attn.W_Q
    weight.data[:2] = weight.data[:2].flip(0).clone()
    return r"^blocks\.0\.attn\.W_Q changed"


def neurons_exchanged(hooked, head):
    weight = hooked.blocks[2].mlp.W_in
    weight.data[:, :2] = weight.data[:, :2].flip(1).clone()
    return r"^blocks\.2\.mlp\.W_in changed"


def embedding_scaled(hooked, head):
    hooked.embed.W_E.data.mul_(2)  # it is tied
    return r"^embed\.W_E, unembed\.W_U changed"


def head_changed(hooked, head):
    next(head.parameters()).data[0, 0] += 1
    return r"^head\.\S+ changed"


@pytest.mark.parametrize("change", [zeroed, heads_exchanged, neurons_exchanged, embedding_scaled, head_changed])
def test_weights_that_changed_in_memory_are_refused_by_name(model, refused, change):
    named = [*model.hooked.named_parameters(), *model.head.named_parameters()]
    before = [weight.data.clone() for _, weight in named]
    try:
        refused(change(model.hooked, model.head))
    finally:
        for (_, weight), values in zip(named, before, strict=True):
            weight.data.copy_(values)
    require_intact(model)


def test_a_weight_in_the_place_of_another_is_refused(model, refused, monkeypatch):
    old = model.hooked.blocks[0].ln1.w
    monkeypatch.setitem(model.hooked.blocks[0].ln1._parameters, "w", nn.Parameter(old.data + 1))
    refused(r"^blocks\.0\.ln1\.w changed")


def test_standing_hooks_are_refused_by_name(model, refused):
    """Those of transformer-lens, that stay through `reset_hooks` too, and those of torch on any module."""
    hooked = model.hooked

    def same(value, hook):
        return value

    try:
        hooked.add_hook("blocks.1.hook_resid_post", same)
        refused(r"^hooks were left on blocks\.1\.hook_resid_post: they would change every plain run")
        hooked.reset_hooks()
        hooked.add_perma_hook("blocks.0.attn.hook_z", same)
        refused(r"^hooks were left on blocks\.0\.attn\.hook_z:")
    finally:
        hooked.reset_hooks(including_permanent=True)
    for register in (hooked.blocks[2].register_forward_pre_hook, hooked.register_forward_hook):
        handle = register(lambda *given: None)
        refused(r"^hooks were left on (blocks\.2|the model itself):")
        handle.remove()


def test_what_runs_do_themselves_leaves_a_model_intact(demo_model):
    assert len(demo_model.weights) > 50
    tokens = torch.tensor([[1, 2, 3]])
    with moved_input(demo_model.hooked, 0):
        demo_model.hooked.run_with_hooks(tokens, fwd_hooks=[("blocks.0.hook_resid_post", lambda value, hook: value)])
    require_intact(demo_model)
