"""What a patched run says is what plain hooks say, token by token, whatever was written where."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from models_under_test import KINDS, PAIRS, Case, load_architecture, make_case

from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.spec import Spec
from mechpatch.patching import Batch, collate, engine, reference
from mechpatch.patching.engine import saying
from mechpatch.patching.patch import Patch
from mechpatch.patching.say import Say

COUNT = 5
Said = dict[Patch, list[list[int]]]


def asked(model: Any) -> Say:
    """A seventh of the words ends what is said, so that runs of one wave end at different tokens; none where there is a
    window, which is shorter than what is said."""
    window = model.hooked.cfg.window_size
    words = torch.arange(model.hooked.cfg.d_vocab)
    return Say(COUNT, words % 7 == 0) if window is None else Say(window + 2, words < 0)


def said_by_engine(model: Any, batch: Batch, donor: Any, patches: Sequence[Patch], hook: str, **options: Any) -> Said:
    base = engine.base_run(model.hooked, model.head, batch, [hook])
    swept = engine.sweep(engine.speaking(base, asked(model)), donor, patches, hook=hook, **options)
    return {patch: outcome.said.tolist() for patch, outcome in swept if outcome.said is not None}


def said_by_hooks(model: Any, batch: Batch, donor: Any, patches: Sequence[Patch], hook: str) -> Said:
    swept = reference.sweep(model.hooked, model.head, batch, donor, patches, hook, asked(model))
    return {patch: outcome.said.tolist() for patch, outcome in swept if outcome.said is not None}


def case_of(architecture: str) -> tuple[Any, Batch, Any]:
    """A model of another family, a batch, and donor vectors at `z`."""
    model = load_architecture(architecture, "float64")
    layouts = [pair_layouts(model, Spec(experiments=("position",)), pair) for pair in PAIRS]
    batch, other = (collate([pair[side] for pair in layouts]) for side in (1, 0))
    return model, batch, reference.baseline(model.hooked, model.head, other, ("z",)).vectors["z"]


def patches_of(case: Case) -> list[Patch]:
    """Each site and all of them in each layer, and two layers at once."""
    sites, layers = range(len(case.batch.sites)), range(case.model.n_layers)
    each = [Patch(layer, (site,)) for layer in layers for site in sites]
    return [*each, *(Patch(layer, (*sites,)) for layer in layers), Patch(0, (1,), width=2)]


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_engine_says_what_plain_hooks_say(kind: str, direction: str):
    case = make_case("tiny-float64", kind, direction)
    patches = patches_of(case)
    found = said_by_engine(case.model, case.batch, case.donor, patches, "resid_post")
    some = patches[:: 2 if direction == "denoise" else 5]
    expected = said_by_hooks(case.model, case.batch, case.donor, some, "resid_post")
    assert {patch: found[patch] for patch in some} == expected
    ended = {tuple(row).index(-1) if -1 in row else COUNT for rows in found.values() for row in rows}
    assert {1, COUNT} < ended  # runs end after one token, after some, and not at all
    assert len({str(rows) for rows in found.values()}) > 3  # patches move what is said
    one = engine.bytes_of_rows(engine.base_run(case.model.hooked, case.model.head, case.batch), say=COUNT)
    memory = 3 * one  # several chunks
    assert said_by_engine(case.model, case.batch, case.donor, patches, "resid_post", memory=memory) == found


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_a_relay_says_what_plain_hooks_say(direction: str):
    case = make_case("tiny-float64", "latent", direction)
    model, layers = case.model, range(case.model.n_layers)
    base = engine.speaking(engine.base_run(model.hooked, model.head, case.batch), asked(model))
    found = {
        (patch.layer, *patch.sites): step.said.tolist()
        for patch, step in engine.relay(base, case.donor, layers, case.thoughts)
        if step.said is not None
    }
    for layer in (0, 2):
        steps = reference.relay(
            model.hooked, model.head, case.batch, case.donor, layer, case.thoughts, say=asked(model)
        )
        for site, step in zip(case.thoughts, steps, strict=True):
            assert step.said is not None
            assert found.pop((layer, site)) == step.said.tolist()
    assert {layer for layer, _ in found} == {1}


@pytest.mark.parametrize("architecture", ["gpt2", "mistral"])
def test_heads_of_other_families_say_what_plain_hooks_say(architecture: str):
    """With learned positions, and with blocks that see no further back than a window."""
    model, batch, donor = case_of(architecture)
    patches = [Patch(layer, (2, 4), head=head) for layer in range(model.n_layers) for head in (0, 1, None)]
    found = said_by_engine(model, batch, donor, patches, "z")
    assert found == said_by_hooks(model, batch, donor, patches, "z")
    assert len({str(rows) for rows in found.values()}) > 1


def test_a_run_that_is_the_base_run_says_what_that_says():
    case = make_case("tiny-float64", "latent")
    base = engine.speaking(engine.base_run(case.model.hooked, case.model.head, case.batch), asked(case.model))
    assert base.voice is not None
    own = base.outcome.resid
    for _, outcome in engine.sweep(base, own, patches_of(case)):
        assert outcome.said is not None
        assert torch.equal(outcome.said, base.voice.said)
    plain = reference.says(case.model.hooked, case.model.head, case.batch, asked(case.model))
    assert torch.equal(plain, base.voice.said)


def test_nothing_is_said_where_nobody_asks():
    case = make_case("tiny-float64", "latent")
    base = engine.base_run(case.model.hooked, case.model.head, case.batch)
    assert [outcome.said for _, outcome in engine.sweep(base, case.donor, [Patch(0, (1,))])] == [None]
    assert saying.own_cache(base, 1).shape[5] == base.stream.shape[2]
