"""What must hold whatever the weights: the laws by which the definitions check one another.

Every test also breaks its law on purpose, to show that it would notice.
"""

import copy
import dataclasses
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
import torch
from helpers import assert_same
from models_under_test import (
    EQUAL_LENGTH,
    KINDS,
    MODELS,
    N_LATENTS,
    PAIRS,
    Case,
    load_architecture,
    make_case,
    model_under_test,
    tiny_llama,
)
from torch import Tensor, nn
from torch.nn import functional as F
from transformer_lens import HookedTransformer
from transformer_lens.hook_points import HookPoint
from transformers import DynamicCache, LlamaForCausalLM

from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.running.run import run_experiment
from mechpatch.experiments.spec import Spec
from mechpatch.kinds.cells import Cell
from mechpatch.models import ThoughtModel
from mechpatch.patching import Batch, Outcome, Read, Write, collate, engine, rollout
from mechpatch.patching.reference import Patch, RelayStep, baseline, sweep, write_at
from mechpatch.points import POINTS
from mechpatch.storage.results import open_run
from mechpatch.thoughts import Layout

CASES = [
    *(("tiny-float64", kind, "denoise") for kind in KINDS),
    *(("tiny-float32", kind, "noise") for kind in KINDS),
    ("demo-float64", "latent", "denoise"),
]


@pytest.fixture(params=CASES, ids="-".join, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return make_case(*request.param)


def run(case: Case, *writes: Write, read: Read | None = None) -> Outcome:
    return rollout(case.model.hooked, case.model.head, case.batch, writes, read)


def write(case: Case, layer: int, site: int, source: Tensor) -> Write:
    return Write(layer, case.batch.columns[:, :, [site]], source[:, :, None])


def effect(outcome: Outcome | RelayStep, case: Case) -> Tensor:
    """Largest change of an answer logit, for each pair."""
    return (outcome.logits - case.unpatched.logits).abs().flatten(1).amax(1)


def test_self_patch_changes_exactly_nothing(case: Case):
    patches = [case.patch(cell) for name in ("layer", "position") for cell in case.cells(name)]
    assert all(
        torch.equal(outcome.logits, case.unpatched.logits) for outcome in case.sweep(case.unpatched.resid, patches)
    )
    next_site = case.unpatched.resid.roll(-1, dims=3)
    assert effect(case.sweep(next_site, patches)[0], case).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_clean_vectors_everywhere_give_the_clean_run(name: str, kind: str):
    corrupted, clean = (make_case(name, kind, direction, EQUAL_LENGTH) for direction in ("denoise", "noise"))
    end = corrupted.batch.tail_start + corrupted.batch.tails.shape[2]
    columns = torch.arange(corrupted.layouts[0].question, end).expand(1, 2, -1)
    layers = tuple(range(corrupted.model.n_layers))
    vectors = run(clean, read=Read(layers, columns)).resid
    assert effect(clean.unpatched, corrupted).all()
    for layer in layers:
        assert_same(run(corrupted, Write(layer, columns, vectors[:, :, layer])).logits, clean.unpatched.logits)
        with pytest.raises(AssertionError):  # each vector one token too late
            assert_same(
                run(corrupted, Write(layer, columns, vectors[:, :, layer].roll(1, 2))).logits, clean.unpatched.logits
            )


def test_chains_begin_and_end_as_the_other_experiments(case: Case):
    first, last = case.thoughts[0], case.thoughts[-1]
    for layer in case.frame.layers:
        alone, wrong, together = case.sweep(
            case.donor, [Patch(layer, (first,)), Patch(layer, (last,)), Patch(layer, tuple(case.thoughts))]
        )
        cumulative = [case.patch(cell) for cell in case.cells("cumulative") if cell.layer == layer]
        assert cumulative == [Patch(layer, tuple(case.thoughts[: i + 1])) for i in range(len(case.thoughts))]
        one_by_one = run(case, *(write(case, layer, site, case.donor[:, :, layer, site]) for site in case.thoughts))
        assert torch.equal(one_by_one.logits, together.logits)
        assert torch.equal(case.relay(layer)[0].logits, alone.logits)
        if layer < case.model.n_layers - 1:
            assert not torch.equal(case.relay(layer)[0].logits, wrong.logits)


def test_what_a_relay_handed_on_can_be_written_back(case: Case):
    for layer in case.frame.layers:
        steps = case.relay(layer)
        for step, (here, there) in enumerate(zip(case.thoughts, case.thoughts[1:], strict=False)):
            earlier = write(case, layer, here, steps[step].written)
            handed_on = run(case, earlier, write(case, layer, there, steps[step + 1].written))
            assert torch.equal(handed_on.logits, steps[step].logits)
            other = run(case, earlier, write(case, layer, there, steps[step].written))
            if layer < case.model.n_layers - 1:
                assert not torch.equal(other.logits, steps[step].logits)


@dataclasses.dataclass(frozen=True, eq=False)
class Points:
    """One question, and what there is at every hook point of its unpatched run and of a donor's."""

    model: ThoughtModel
    batch: Batch
    unpatched: Outcome
    donor: Outcome
    base: engine.BaseRun

    def swept(self, hook: str, vectors: Tensor, *patches: Patch) -> list[Tensor]:
        """Logits of patches by the engine."""
        return [outcome.logits for _, outcome in engine.sweep(self.base, vectors, patches, hook=hook)]

    def written(self, layer: int, sites: tuple[int, ...], *hooks: str) -> Tensor:
        """Logits where the donor's vectors of several hook points are written at once, by plain hooks."""
        writes = [write_at(self.batch, self.donor.vectors[hook], layer, sites, hook) for hook in hooks]
        return rollout(self.model.hooked, self.model.head, self.batch, writes).logits


@cache
def points_of(name: str, kind: str = "latent") -> Points:
    """On the smallest model, or on one of an architecture."""
    model = model_under_test(name) if name in MODELS else load_architecture(name, "float64")
    spec = Spec(experiments=("position",), thoughts=kind, n_thoughts=N_LATENTS)
    other, batch = (collate([layout]) for layout in pair_layouts(model, spec, PAIRS[0]))
    hooks = [hook for hook, point in POINTS.items() if point.hooks or batch.n_latents]
    unpatched, donor = (baseline(model.hooked, model.head, each, hooks) for each in (batch, other))
    return Points(model, batch, unpatched, donor, engine.base_run(model.hooked, model.head, batch, hooks))


@pytest.fixture(params=["latent", "text"], scope="module")
def points(request: pytest.FixtureRequest) -> Points:
    return points_of("tiny-float64", request.param)


SITES = (1, 2)


def test_the_output_of_all_heads_is_what_attention_adds(points: Points):
    """The output's bias is in both."""
    z, added = (points.donor.vectors[hook] for hook in ("z", "attn_out"))
    for layer in range(points.model.n_layers):
        patch = Patch(layer, SITES)
        (together,) = points.swept("z", z, patch)
        assert_same(together, points.swept("attn_out", added, patch)[0])
        assert_same(together, points.written(layer, SITES, "attn_out"))
        heads = points.swept("z", z, *[dataclasses.replace(patch, head=head) for head in range(z.shape[4])])
        assert torch.equal(together, points.base.logits) or not any(torch.equal(each, together) for each in heads)


def test_all_neurons_at_once_are_what_the_mlp_adds(points: Points):
    """What one neuron adds is its activation times its row of the down projection."""
    post, added = (points.donor.vectors[hook] for hook in ("post", "mlp_out"))
    for layer in range(points.model.n_layers):
        patch = Patch(layer, SITES)
        (together,) = points.swept("post", post, patch)
        assert_same(together, points.swept("mlp_out", added, patch)[0])
        assert_same(together, points.written(layer, SITES, "post"))
        (alone,) = points.swept("post", post, dataclasses.replace(patch, head=7))
        assert torch.equal(together, points.base.logits) or not torch.equal(alone, together)
    patch, own = Patch(1, SITES[:1], head=7), points.unpatched.vectors
    more = (post - own["post"])[:, :, :, :, 7] * points.model.hooked.blocks[1].mlp.W_out[7]
    (alone,) = points.swept("post", post, patch)
    assert_same(alone, points.swept("mlp_out", own["mlp_out"] + more, dataclasses.replace(patch, head=None))[0])
    assert (alone - points.base.logits).abs().max() > 1e-6


def test_keys_and_values_are_the_entry_in_the_cache(points: Points):
    for layer in range(points.model.n_layers):
        entry = points.written(layer, SITES, "kv")
        assert torch.equal(entry, points.written(layer, SITES, "k", "v"))
        assert torch.equal(entry, points.written(layer, SITES, "v", "k"))
        assert_same(points.swept("kv", points.donor.vectors["kv"], Patch(layer, SITES))[0], entry)
        if layer == 1:
            assert not torch.equal(entry, points.written(layer, SITES, "v"))
            assert not torch.equal(entry, points.written(layer, SITES, "k"))


def test_what_enters_a_block_is_what_the_block_below_gave(points: Points):
    before, after = (points.donor.vectors[hook] for hook in ("resid_pre", "resid_post"))
    assert torch.equal(before[:, :, 1:], after[:, :, :-1])
    for layer in range(1, points.model.n_layers):
        (above,) = points.swept("resid_pre", before, Patch(layer, SITES))
        assert_same(above, points.swept("resid_post", after, Patch(layer - 1, SITES))[0])
        assert not torch.equal(above, points.swept("resid_post", after, Patch(layer, SITES))[0])


def test_the_stream_after_attention_is_what_was_there_and_what_attention_adds(points: Points):
    """So is that after the block, with what the MLP adds."""
    there, donor = points.unpatched.vectors, points.donor.vectors
    assert_same(there["resid_pre"] + there["attn_out"], there["resid_mid"])
    assert_same(there["resid_mid"] + there["mlp_out"], there["resid_post"])
    for part, before, whole in (("attn_out", "resid_pre", "resid_mid"), ("mlp_out", "resid_mid", "resid_post")):
        for layer in range(points.model.n_layers):
            patch = Patch(layer, SITES[:1])  # what is there at a later site is no longer the run's own
            (found,) = points.swept(part, donor[part], patch)
            assert_same(found, points.swept(whole, there[before] + donor[part], patch)[0])


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_thought_and_its_learned_position_are_what_enters_the_first_block(architecture: str):
    points = points_of(architecture)
    hooked, sites = points.model.hooked, tuple(range(1, 1 + N_LATENTS))
    places = points.batch.columns[..., None, list(sites)]  # one question has no padding
    learned = hooked.W_pos[places] if architecture == "gpt2" else 0
    thoughts, enters = (points.donor.vectors[hook] for hook in ("thought", "resid_pre"))
    assert_same(thoughts[:, :, :, list(sites)] + learned, enters[:, :, :1, list(sites)])
    assert not thoughts[:, :, :, [0, -1]].any()  # no thought is fed back there
    for chosen in (sites, sites[1:2]):
        (found,) = points.swept("thought", thoughts, Patch(0, chosen))
        assert_same(found, points.swept("resid_pre", enters, Patch(0, chosen))[0])
        assert_same(found, points.written(0, chosen, "thought"))
        assert not torch.equal(found, points.base.logits)


@pytest.mark.parametrize("hook", POINTS)
def test_what_a_run_has_after_a_write_can_be_written_back(hook: str):
    """At the sites that follow: g_i of a relay, at any hook point."""
    points = points_of("tiny-float64")
    model, layer, thoughts = points.model, 0 if hook == "thought" else 1, (1, 2, 3)
    donor = points.donor.vectors[hook]
    patches = [Patch(layer, thoughts[:1])]
    ((_, first),) = sweep(model.hooked, model.head, points.batch, donor, patches, hook)
    given = donor.clone()
    given[:, :, layer] = first.vectors[hook][:, :, 0]
    assert torch.equal(given[:, :, layer, 1], donor[:, :, layer, 1])
    for vectors, alike in ((given, True), (donor, False)):
        ((_, again),) = sweep(model.hooked, model.head, points.batch, vectors, [Patch(layer, thoughts)], hook)
        assert torch.equal(again.logits, first.logits) == alike


@pytest.mark.parametrize("kind", ["latent", "placeholder"])
def test_exactly_the_structural_cells_are_zero_where_eot_predicts_the_answer(kind: str):
    case = make_case("tiny-float64", kind, prefix="")
    cells = case.cells("position")
    assert_zero_where_structural(cells, case.sweep(case.donor, [case.patch(cell) for cell in cells]), case)


def test_exactly_the_structural_cells_are_zero(case: Case):
    for name in ("layer", "position", "cumulative", "leave_one_out", "pairwise", "window"):
        cells = case.cells(name)
        outcomes = case.sweep(case.donor, [case.patch(cell) for cell in cells])
        assert_zero_where_structural(cells, outcomes, case)
    cells = case.cells("relay")
    assert_zero_where_structural(cells, [step for layer in case.frame.layers for step in case.relay(layer)], case)


def assert_zero_where_structural(cells: list[Cell], outcomes: Sequence[Outcome | RelayStep], case: Case) -> None:
    for cell, outcome in zip(cells, outcomes, strict=True):
        moved = effect(outcome, case)
        assert not moved.any() if cell.structural else moved.all(), cell


def test_without_feedback_a_relay_hands_on_the_corrupted_vector(case: Case):
    for layer in case.frame.layers:
        for step, (site, ran) in enumerate(zip(case.thoughts, case.relay(layer), strict=True)):
            unchanged = torch.equal(ran.written, case.unpatched.resid[:, :, layer, site])
            assert unchanged == (step > 0 and not case.frame.feedback)
            if unchanged:
                assert torch.equal(ran.logits, case.unpatched.logits)


def alone(case: Case, index: int, patches: list[Patch]) -> list[Outcome]:
    """Unpatched and patched runs of one question in a batch of its own."""
    model, batch = case.model, collate([case.layouts[index]])
    swept = sweep(model.hooked, model.head, batch, case.donor[[index]], patches)
    return [baseline(model.hooked, model.head, batch), *(outcome for _, outcome in swept)]


def test_a_batch_gives_what_each_question_gives_alone(case: Case):
    patches = [case.patch(cell) for name in ("layer", "position") for cell in case.cells(name) if cell.layer != 1]
    together = [case.unpatched, *case.sweep(case.donor, patches)]
    for index in range(case.batch.size):
        for found, expected in zip(together, alone(case, index, patches), strict=True):
            assert_same(found.logits[[index], :, : expected.logits.shape[2]], expected.logits)
            assert_same(found.resid[[index]], expected.resid)
    unmasked = dataclasses.replace(case.batch, real=torch.ones_like(case.batch.real))
    found = baseline(case.model.hooked, case.model.head, unmasked)
    with pytest.raises(AssertionError):
        assert_same(found.resid, case.unpatched.resid)


@torch.no_grad()
def hugging_face(hf: LlamaForCausalLM, head: nn.Module, layout: Layout) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The same rollout by Hugging Face alone.

    Returns:
        latents [thought, d_model], hidden states of all layers but the last [layer, thought, d_model], answer logits.
    """
    cache, latents, hidden, logits = DynamicCache(config=hf.config), [], [], []
    given = {"input_ids": torch.tensor([layout.prompt])}
    for _ in range(layout.n_latents):
        found = hf.model(**given, past_key_values=cache, use_cache=True, output_hidden_states=True)
        latents.append(head(found.last_hidden_state[:, -1]))
        given = {"inputs_embeds": latents[-1][:, None]}
        hidden.append(torch.stack([state[0, -1] for state in found.hidden_states[1:-1]]))
    found = hf.model(**given, past_key_values=cache, use_cache=True, output_hidden_states=True)
    hidden.append(torch.stack([state[0, -1] for state in found.hidden_states[1:-1]]))
    for tail in layout.tails:
        after = hf(torch.tensor([tail.tokens]), past_key_values=copy.deepcopy(cache), use_cache=True).logits
        logits.append(after[0, tail.answer - 1 :])
    return torch.cat(latents), torch.stack(hidden[1:], dim=1), logits


def test_latents_are_those_of_a_hugging_face_loop(monkeypatch: pytest.MonkeyPatch):
    case, hf, seen = make_case("tiny-float32", "latent"), copy.deepcopy(tiny_llama(torch.float32)), []
    head = case.model.head
    assert head is not None

    def listening(hidden: Tensor) -> Tensor:
        seen.append(head(hidden))
        return seen[-1]

    layers = tuple(range(case.model.n_layers - 1))
    read = Read(layers, case.batch.columns[:, :, case.thoughts])
    outcome = rollout(case.model.hooked, listening, case.batch, read=read)
    for row, layout in enumerate(case.layouts):
        latents, hidden, logits = hugging_face(hf, head, layout)
        assert_same(torch.stack(seen, dim=1)[row], latents)
        assert_same(outcome.resid[row, 0], hidden)
        for answer, expected in enumerate(logits):
            assert_same(outcome.logits[row, answer, : len(expected)], expected)
    monkeypatch.setattr(hf.model, "norm", torch.nn.Identity())  # latents from before the final norm must be noticed
    latents, *_ = hugging_face(hf, head, case.layouts[0])
    with pytest.raises(AssertionError):
        assert_same(torch.stack(seen, dim=1)[0], latents)


def published(model: HookedTransformer, tokens: list[int], sources: list[int], layer: int, site: int, answer: int):
    """The procedure that was published for placeholder thoughts: one forward pass, one position written, no more.

    Args:
        tokens, sources: patched and donor sequence, of equal length.
        site: position to write.
        answer: position of the first answer token.

    Returns:
        KL(patched ‖ baseline) in nats and RMS logit difference, means over the answer positions.
    """
    name = f"blocks.{layer}.hook_resid_post"
    _, cache = model.run_with_cache(torch.tensor([sources]))

    def overwrite(resid: Tensor, hook: HookPoint) -> Tensor:
        resid = resid.clone()
        resid[:, site] = cache[name][:, site]
        return resid

    expected = model(torch.tensor([tokens]))[0, answer - 1 : -1]
    found = model.run_with_hooks(torch.tensor([tokens]), fwd_hooks=[(name, overwrite)])[0, answer - 1 : -1]
    kl = F.kl_div(expected.log_softmax(-1), found.log_softmax(-1), reduction="none", log_target=True).sum(-1).mean()
    return kl, (found - expected).square().mean(-1).sqrt().mean()


def test_placeholder_records_are_those_of_the_published_procedure(tmp_path: Path):
    model, pair = model_under_test("tiny-float64"), PAIRS[0]
    spec = Spec(experiments=("position",), thoughts="placeholder", n_thoughts=N_LATENTS, sites=("thoughts",))
    with open_run(tmp_path / "run", {}) as directory:
        records = run_experiment(Experiment.prepare(model, spec, [pair]), directory, None).to_pylist()
    head, (clean, corrupted) = model.tokenizer.encode, (pair.clean, pair.corrupted)
    tail = head(f"The answer is: {corrupted.answer}", add_special_tokens=False)
    thoughts = [model.bot, *[model.pad] * N_LATENTS, model.eot]
    tokens, sources = ([*head(side.question), *thoughts, *tail] for side in (corrupted, clean))
    first = tokens.index(model.bot) + 1
    assert len(records) == model.n_layers * N_LATENTS
    for row in records:
        at = first + int(row["site"][1:])
        kl, rms = published(model.hooked, tokens, sources, row["layer"], at, tokens.index(model.eot) + 5)
        assert_same(torch.tensor(row["kl_divergence"], dtype=kl.dtype), kl)
        assert_same(torch.tensor(row["rms_logit_difference"], dtype=kl.dtype), rms)
        if not row["structural"]:
            other, _ = published(model.hooked, tokens, sources, row["layer"], at + 1, tokens.index(model.eot) + 5)
            with pytest.raises(AssertionError):
                assert_same(torch.tensor(row["kl_divergence"], dtype=kl.dtype), other)
