"""transformer-lens' habits on questions whose thoughts are rolled out, against rollouts and a loop on Hugging Face."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import independent
import pytest
import torch
from checkpoints import codi_state, tiny
from families import FORMS
from helpers import assert_same
from models_under_test import (
    ARCHITECTURE_ALPHA,
    KINDS,
    PAIRS,
    load_architecture,
    make_pair,
    model_under_test,
    random_head,
    tiny_llama,
)
from torch import Tensor, nn

from mechpatch.errors import CheckpointError, SpecError, ThoughtError
from mechpatch.models import ThoughtModel, load_model
from mechpatch.patching import (
    Edit,
    Read,
    Write,
    capture,
    chain,
    collate,
    edit_position,
    edit_positions,
    is_last_pass,
    patch_position,
    patch_positions,
    rollout,
)
from mechpatch.points import POINTS, Sizes
from mechpatch.verify import huggingface
from mechpatch.verify.exact import make_exact

PAIR, SIDES = PAIRS[1], ("clean", "corrupted")  # questions of two lengths, answers of two tokens and of one
POST = "blocks.1.hook_resid_post"


@cache
def loaded(name: str) -> ThoughtModel:
    """A model under test, an architecture with a CODI head, or one of the published forms; float64."""
    if name in ("tiny", "demo"):
        return model_under_test(f"{name}-float64")
    if name in ("gpt2", "gemma2", "llama"):
        return load_architecture(name, "float64")
    form, _, family = name.partition("+")
    given: dict[str, Any] = {**FORMS[form].write(Path(mkdtemp())), **({"family": family} if family else {})}
    return load_model(**given, dtype="float64", device="cpu")


@pytest.fixture(scope="module")
def model() -> ThoughtModel:
    return loaded("tiny")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("tiny", kind) for kind in KINDS),
        ("demo", None),
        ("gpt2", None),  # learned positions
        ("gemma2", None),  # a scaled embedding, a norm after attention, windows, a final soft cap
        ("coconut", None),  # no head
        ("soft-gpt2", None),  # no bot
        ("coconut+pause", None),  # nothing is fed back
    ],
)
def test_the_cache_is_that_of_a_rollout(name: str, kind: str | None):
    """Both questions with both answers: logits that are read, every layer at every site, and what is fed back."""
    model = loaded(name)
    layouts = model.lay_out(PAIR, kind=kind)
    for side, layout in enumerate(layouts):
        batch = collate([layout])
        expected = rollout(model.hooked, model.head, batch, read=Read((*range(model.n_layers),), batch.columns))
        for tail, answer in enumerate(SIDES):
            question = layout if kind else PAIR
            logits, cache = model.run_with_cache(question, side=SIDES[side], answer=answer)
            assert logits.shape[:2] == (1, len(layout.prompt) + layout.n_latents + len(layout.tails[tail].tokens))
            assert_same(logits[0, batch.reads[0, tail]], expected.logits[0, tail])
            places = [*model.sites(question, side=SIDES[side], answer=answer).values()]
            resid = torch.stack([cache["resid_post", layer][0, places] for layer in range(model.n_layers)])
            assert_same(resid, expected.resid[0, tail])
            if layout.n_latents:
                fed = cache["hook_embed"][0, list(layout.thoughts)]
                assert_same(fed, model.thoughts([PAIR])[0, side])
            with pytest.raises(AssertionError):  # off by one must be noticed
                assert_same(logits[0, batch.reads[0, tail] - 1], expected.logits[0, tail])


def test_thoughts_are_those_of_hugging_face():
    """Two pairs, both sides, learned positions and a head; the loop has no cache and no batch."""
    plain = independent.merge(tiny("gpt2"), codi_state(tiny("gpt2")), ARCHITECTURE_ALPHA, torch.float64)
    model = loaded("gpt2")
    found = model.thoughts(PAIRS[1:])
    assert found.shape == (2, 2, model.n_latents, model.hooked.cfg.d_model)
    for pair, sides in zip(PAIRS[1:], found, strict=True):
        for layout, vectors in zip(model.lay_out(pair), sides, strict=True):
            assert_same(vectors, torch.cat(independent.run(plain, layout, 0).thoughts))
    tiny_model, hf = loaded("tiny"), copy.deepcopy(tiny_llama(torch.float64))
    make_exact(hf)
    layout = tiny_model.lay_out(PAIR)[1]
    fed = huggingface.run(hf, random_head(hf.config.hidden_size, torch.float64), layout, 1).fed
    assert_same(tiny_model.thoughts([PAIR])[0, 1], fed)


@pytest.mark.parametrize("site", ["bot", "t1", "eot", "answer"])
def test_a_write_is_that_of_a_rollout(model: ThoughtModel, site: str):
    """A plain lambda with an absolute position, and the hook with the site's name."""
    layout = model.lay_out(PAIR)[1]
    batch, vector, at = collate([layout]), torch.linspace(-1, 1, 32, dtype=torch.float64), model.sites(PAIR)[site]
    columns = batch.columns[:, :, [batch.sites.index(site)]]
    plain = model.run_with_hooks(PAIR)[0, batch.reads[0, 1]]
    for layer in range(model.n_layers):
        name = f"blocks.{layer}.hook_resid_post"
        write = Write(layer, columns, vector.expand(1, 2, 1, -1))
        expected = rollout(model.hooked, model.head, batch, [write]).logits[0, 1]

        def by_hand(resid: Tensor, hook: object) -> Tensor:
            return torch.cat([resid[:, :at], vector[None, None], resid[:, at + 1 :]], dim=1)

        for hook in (by_hand, patch_position(site, vector)):
            found = model.run_with_hooks(PAIR, fwd_hooks=[(name, hook)])[0, batch.reads[0, 1]]
            assert_same(found, expected)
        moved = (expected - plain).abs().max()
        assert moved > 1e-3 or (site, layer) == ("eot", model.n_layers - 1)  # which nothing reads


# Hook point of layer 1; the module of Hugging Face's layers, whether its input or its output is meant, the head.
PLACES: dict[str, tuple[int, str, bool, int | None]] = {
    "hook_resid_pre": (0, "", False, None),
    "hook_resid_mid": (1, "self_attn.o_proj", False, None),  # without what attention is added to
    "hook_attn_out": (1, "self_attn.o_proj", False, None),
    "hook_mlp_out": (1, "mlp", False, None),
    "attn.hook_z": (1, "self_attn.o_proj", True, 2),
    "attn.hook_k": (1, "self_attn.k_proj", False, 1),
    "attn.hook_v": (1, "self_attn.v_proj", False, 1),
}


@pytest.mark.parametrize("point", PLACES)
def test_every_hook_point_is_hugging_faces(point: str):
    """A write at t1, to one head where there are some: all later thoughts and the answer follow it."""
    plain = independent.merge(tiny("llama"), codi_state(tiny("llama")), ARCHITECTURE_ALPHA, torch.float64)
    model, (layer, module, is_input, head) = loaded("llama"), PLACES[point]
    layout, at = model.lay_out(PAIR)[1], model.sites(PAIR)["t1"]
    size = 32 if head is None else model.hooked.cfg.d_head
    vector = torch.linspace(-1, 1, size, dtype=torch.float64)
    part = slice(None) if head is None else slice(head * size, head * size + size)
    taken = vector
    if point == "hook_resid_mid":
        taken = vector - model.run_with_cache(PAIR)[1]["resid_pre", 1][0, at]

    def write(values: Tensor) -> Tensor:
        if values.shape[1] > at:
            values = values.clone()
            values[:, at, part] = taken
        return values

    inner: nn.Module = plain.layers[layer].get_submodule(module)

    def on_input(module: nn.Module, given: Any) -> Any:
        return (write(given[0]),)

    def on_output(module: nn.Module, given: Any, output: Any) -> Any:
        return write(output)

    handle = inner.register_forward_pre_hook(on_input) if is_input else inner.register_forward_hook(on_output)
    expected = independent.run(plain, layout, 1)
    handle.remove()
    hooks = [(f"blocks.1.{point}", patch_position("t1", vector, head=head))]
    logits, cache = model.run_with_cache(PAIR, fwd_hooks=hooks)
    assert_same(logits[0, model.sites(PAIR)["answer"] :], expected.logits)
    assert_same(cache["hook_embed"][0, list(layout.thoughts)], torch.cat(expected.thoughts))
    assert (expected.thoughts[2][0] - model.thoughts([PAIR])[0, 1, 2]).abs().max() > 1e-4


def test_all_heads_are_what_attention_adds():
    """z of every head, through W_O and its bias, is attn_out; in a static layout, where one position is its own."""
    model = loaded("gpt2")
    layout = model.lay_out(PAIR, kind="text")[1]
    attn: Any = model.hooked.blocks[1].attn
    z = torch.linspace(-1, 1, attn.cfg.n_heads * attn.cfg.d_head, dtype=torch.float64).view(attn.cfg.n_heads, -1)
    added = torch.einsum("hd,hdm->m", z, attn.W_O) + attn.b_O
    all_at_once = patch_position("t0", z)
    one_by_one = chain(*(patch_position("t0", z[head], head=head) for head in range(attn.cfg.n_heads)))
    expected = model.run_with_hooks(layout, fwd_hooks=[("blocks.1.hook_attn_out", patch_position("t0", added))])
    for hook in (all_at_once, one_by_one):
        assert_same(model.run_with_hooks(layout, fwd_hooks=[("blocks.1.attn.hook_z", hook)]), expected)
    assert (model.run_with_hooks(layout) - expected).abs().max() > 1e-3


def test_an_edit_sees_the_run_and_a_capture_keeps_it_once(model: ThoughtModel):
    """An edit by 1 changes no bit; one by 2 is a write of what is there, twice; both move the thoughts that follow."""
    plain, cache = model.run_with_cache(PAIR)
    ones = [edit_position(site, lambda there: 1.0 * there) for site in ("t0", "t1", "t2", "bot")]
    everywhere = [(name, chain(*ones)) for name in (POST, "blocks.0.attn.hook_z", "hook_embed")]
    assert torch.equal(model.run_with_hooks(PAIR, fwd_hooks=everywhere), plain)
    found, calls, last = [], [], []

    def keeping(resid: Tensor, hook: object) -> None:
        calls.append(resid)
        if is_last_pass():
            last.append(resid)

    twice = chain(capture("t1", found), edit_position("t1", lambda there: 2 * there), capture(["t1", "t2"], found))
    doubled, edited = model.run_with_cache(PAIR, fwd_hooks=[(POST, twice), (POST, keeping)], names_filter=[POST])
    at = model.sites(PAIR)
    written = patch_position(at["t1"], 2 * cache[POST][:, at["t1"]])
    assert torch.equal(doubled, model.run_with_hooks(PAIR, fwd_hooks=[(POST, written)]))
    assert [each.shape[1] for each in found] == [1, 2]
    assert torch.equal(found[0], cache[POST][:, [at["t1"]]])
    assert torch.equal(found[1], edited[POST][:, [at["t1"], at["t2"]]])
    assert (len(calls), len(last)) == (model.n_latents + 1, 1)
    assert torch.equal(last[0], edited[POST])
    assert set(edited) == {POST}


def bent(there: Tensor) -> Tensor:
    """Something else of the same shape."""
    return 1.5 * there - 1


@pytest.mark.parametrize("kind", ["latent", "text"])
@pytest.mark.parametrize("hook", POINTS)
def test_an_edit_is_the_plain_hook(model: ThoughtModel, hook: str, kind: str):
    """At a site by its name, by its position and from the end; of all parts at once and one after the other."""
    point, layout = POINTS[hook], model.lay_out(PAIR, kind=kind)[1]
    layer, at = min(1, point.n_layers(model.n_layers) - 1), model.sites(layout)["t1"]
    if not point.hooks and kind == "text":
        with pytest.raises(ValueError, match="hook_embed: 't1' is no thought that is fed back; nothing is fed back"):
            model.run_with_hooks(layout, fwd_hooks=[Edit(hook, layer, "t1", bent)])
        return

    def by_hand(values: Tensor, hook: object) -> Tensor:
        return torch.cat([values[:, :at], bent(values[:, at : at + 1]), values[:, at + 1 :]], dim=1)

    names = [f"blocks.{layer}.{name}" for name in point.hooks] or ["hook_embed"]
    plain = model.run_with_hooks(layout)
    expected = model.run_with_hooks(layout, fwd_hooks=[(name, by_hand) for name in names])
    for site in ("t1", at, at - plain.shape[1]):
        assert torch.equal(model.run_with_hooks(layout, fwd_hooks=[Edit(hook, layer, site, bent)]), expected)
    if point.part:
        parts = range(point.n_parts(Sizes.of(model.hooked.cfg)))
        one_by_one = [Edit(hook, layer, "t1", bent, **{point.part: part}) for part in parts]
        assert torch.equal(model.run_with_hooks(layout, fwd_hooks=one_by_one), expected)
        assert not torch.equal(model.run_with_hooks(layout, fwd_hooks=one_by_one[:1]), expected)
    assert (expected - plain).abs().max() > 1e-3


def test_edits_stand_beside_plain_hooks(model: ThoughtModel):
    """In their order, each thought by itself, and in a run of transformer-lens' own."""
    found: list[Tensor] = []
    hooks = [Edit("resid_post", 1, "thoughts", bent), (POST, capture("thoughts", found))]
    logits, cache = model.run_with_cache(PAIR, fwd_hooks=hooks)
    expected = model.run_with_hooks(PAIR, fwd_hooks=[(POST, edit_positions("thoughts", bent))])
    assert torch.equal(logits, expected)
    places = [model.sites(PAIR)[name] for name in ("t0", "t1", "t2")]
    assert torch.equal(found[0], cache[POST][:, places])
    tokens, edit = torch.tensor([[5, 6, 7], [8, 9, 5]]), Edit("z", 1, -1, bent, head=2)
    plain = model.hooked.run_with_hooks(tokens, fwd_hooks=edit.on(model.hooked))
    named: Any = [("blocks.1.attn.hook_z", edit_position(-1, bent, head=2))]
    assert torch.equal(plain, model.hooked.run_with_hooks(tokens, fwd_hooks=named))
    assert not torch.equal(plain, model.hooked(tokens))


def test_thoughts_are_replaced(model: ThoughtModel):
    """All by `thoughts`, or some at `hook_embed`; those that follow are made anew."""
    layout, given = model.lay_out(PAIR)[1], model.thoughts([PAIR])[0, 0]
    batch, at = collate([layout]), model.sites(PAIR)

    def rolled(count: int) -> Tensor:
        """With the first thoughts as they are given, and the others as the head makes them."""
        made = iter(range(model.n_latents))

        def head(hidden: Tensor) -> Tensor:
            assert model.head is not None
            return given[[thought]] if (thought := next(made)) < count else model.head(hidden)

        return rollout(model.hooked, head, batch).logits[0, 1]

    found = model.run_with_hooks(PAIR, thoughts=given)
    assert_same(found[0, batch.reads[0, 1]], rolled(3))
    all_of_them = [("hook_embed", patch_positions("thoughts", given))]
    assert torch.equal(model.run_with_hooks(PAIR, fwd_hooks=all_of_them), found)
    first, cache = model.run_with_cache(PAIR, fwd_hooks=[("hook_embed", patch_position("t0", given[0]))])
    assert torch.equal(cache["hook_embed"][0, at["t0"]], given[0])
    assert_same(first[0, batch.reads[0, 1]], rolled(1))
    assert (first - found).abs().max() > 1e-3


def test_the_final_norm_is_part_of_what_is_fed_back(model: ThoughtModel):
    """A hook there moves the thoughts, though no pass but the last one unembeds."""
    before_t1 = model.sites(PAIR)["t0"]
    layout = model.lay_out(PAIR)[1]
    halved = [("ln_final.hook_normalized", edit_position(before_t1, lambda there: there / 2))]
    _, cache = model.run_with_cache(PAIR, fwd_hooks=halved)
    factors = iter([1.0, 0.5, 1.0])
    fed: list[Tensor] = []

    def head(hidden: Tensor) -> Tensor:
        fed.append(model.head(next(factors) * hidden))  # pyright: ignore
        return fed[-1]

    rollout(model.hooked, head, collate([layout]))
    assert_same(cache["hook_embed"][0, list(layout.thoughts)], torch.cat(fed))


def test_a_run_has_a_gradient(model: ThoughtModel):
    """Of the answer by a vector that was written, through all thoughts that follow."""
    vector = torch.linspace(-1, 1, 32, dtype=torch.float64).requires_grad_()
    way, step = torch.linspace(1, -2, 32, dtype=torch.float64), 1e-5

    def logit(vector: Tensor) -> Tensor:
        return model.run_with_hooks(PAIR, fwd_hooks=[(POST, patch_position("t0", vector))])[0, -1, 5]

    (slope,) = torch.autograd.grad(logit(vector), vector)
    by_hand = (logit(vector.detach() + step * way) - logit(vector.detach() - step * way)) / (2 * step)
    torch.testing.assert_close(slope @ way, by_hand, rtol=1e-6, atol=0)


def test_a_text_is_run_as_it_is(model: ThoughtModel):
    """Text, ids and a layout without thoughts: one pass of transformer-lens."""
    text = PAIR.clean.question
    ids = model.tokenizer.encode(text)
    calls: list[Tensor] = []
    hooks = [(POST, lambda resid, hook: calls.append(resid))]
    expected = model.hooked(torch.tensor([ids]))
    for question in (text, ids, torch.tensor(ids), torch.tensor([ids])):
        assert torch.equal(model.run_with_hooks(question, fwd_hooks=hooks), expected)
    assert len(calls) == 4
    logits, cache = model.run_with_cache(text, remove_batch_dim=True)
    assert torch.equal(logits, expected)
    assert cache[POST].shape == (len(ids), 32)


def test_kinds_by_default():
    codi, pause = loaded("tiny"), loaded("coconut+pause")
    assert codi.lay_out(PAIR) == codi.lay_out(PAIR, kind="latent", n_thoughts=3)
    assert pause.lay_out(PAIR) == pause.lay_out(PAIR, kind="placeholder", placeholder=pause.latent)
    plain = replace(codi, head=None, n_latents=0)
    assert plain.lay_out(PAIR) == plain.lay_out(PAIR, kind="text")
    assert codi.lay_out(PAIR, kind="text", separator=" ", prefix="so")[0].opening != plain.lay_out(PAIR)[0].opening


BARE = make_pair("bare", ("Ann has 7.", "Ann has 8."), ("7", "8"), ("", ""))
VECTOR = torch.zeros(32, dtype=torch.float64)
REFUSED: dict[str, tuple[Callable[[ThoughtModel], object], type[Exception], str]] = {
    "no chain": (
        lambda model: replace(model, head=None, n_latents=0).run_with_hooks(BARE),
        ThoughtError,
        r"pair 'bare': the model feeds no thoughts back, and .* model\.lay_out\(pair, kind='placeholder'",
    ),
    "no such kind": (lambda model: model.lay_out(PAIR, kind="texts"), ThoughtError, "kind: 'texts' is not known; did"),
    "nothing fed back": (
        lambda model: replace(model, head=None).lay_out(PAIR, kind="latent"),
        ThoughtError,
        "feeds no thoughts back; kind may be text or placeholder",
    ),
    "no thoughts to read": (
        lambda model: replace(model, head=None).thoughts([PAIR]),
        ThoughtError,
        "feeds no thoughts back",
    ),
    "no pairs": (lambda model: model.thoughts([]), ThoughtError, "`pairs` is empty"),
    "nobody knows how many": (
        lambda model: replace(model, n_latents=0).lay_out(PAIR),
        ThoughtError,
        "'prefix-answer': n_thoughts is 0, expected 1 to 127: say how many latent thoughts",
    ),
    "no such token": (
        lambda model: model.lay_out(PAIR, kind="placeholder", placeholder=9999),
        ThoughtError,
        "placeholder is 9999, expected a token: 0 to",
    ),
    "no such side": (lambda model: model.run_with_hooks(PAIR, side="dirty"), ThoughtError, "side: 'dirty' is not"),
    "no such answer": (lambda model: model.run_with_hooks(PAIR, answer="x"), ThoughtError, "answer: 'x' is not known"),
    "too long": (lambda model: model.run_with_hooks([5] * 129), ThoughtError, "has 129 tokens, .* runs 1 to 128"),
    "no tokens": (lambda model: model.run_with_hooks([]), ThoughtError, "has 0 tokens"),
    "outside the vocabulary": (lambda model: model.run_with_hooks([5, 9999]), ThoughtError, "token 9999 is not in"),
    "two rows": (
        lambda model: model.run_with_hooks(torch.tensor([[1, 2], [3, 4]])),
        ThoughtError,
        r"token ids are \[2, 2\] of torch.int64, expected one row of whole numbers",
    ),
    "thoughts of another number": (
        lambda model: model.run_with_hooks(PAIR, thoughts=VECTOR.expand(2, -1)),
        ThoughtError,
        r"`thoughts` is \[2, 32\] of torch.float64, expected \[thought, d_model\] = \[3, 32\] of torch.float64",
    ),
    "thoughts of another dtype": (
        lambda model: model.run_with_hooks(PAIR, thoughts=VECTOR.expand(3, -1).float()),
        ThoughtError,
        r"`thoughts` is \[3, 32\] of torch.float32, expected",
    ),
    "no such hook point": (
        lambda model: model.run_with_hooks(PAIR, fwd_hooks=[("blocks.1.hook_resid_pots", capture(["t1"], []))]),
        ValueError,
        r"no hook point 'blocks\.1\.hook_resid_pots'; did you mean blocks\.1\.hook_resid_post",
    ),
    "a hook point that is switched off": (
        lambda model: model.run_with_hooks(PAIR, fwd_hooks=[("blocks.1.attn.hook_result", capture(["t1"], []))]),
        ValueError,
        r"hook_result was never reached.*call model\.hooked\.set_use_attn_result\(True\) first",
    ),
    "no hook point chosen": (
        lambda model: model.run_with_hooks(PAIR, fwd_hooks=[(lambda name: False, capture(["t1"], []))]),
        ValueError,
        "chooses hook points chose none",
    ),
    "no such site": (
        lambda model: model.run_with_hooks(PAIR, fwd_hooks=[(POST, patch_position("t3", VECTOR))]),
        ValueError,
        r"hook_resid_post: no site 't3' here; expected thoughts or one of bot, t0, t1, t2, eot, answer, or a position",
    ),
    "one edit of several": (
        lambda model: model.run_with_hooks(PAIR, fwd_hooks=[(POST, edit_position("thoughts", torch.sin))]),
        ValueError,
        "hook_resid_post: 'thoughts' is 3 positions; take edit_positions",
    ),
    "one write at several": (
        lambda model: model.run_with_hooks(PAIR, fwd_hooks=[(POST, patch_position("thoughts", VECTOR))]),
        ValueError,
        "axis `site` of `source` is 1, but there are 3",
    ),
    "an edit at no hook point": (
        lambda model: Edit("resid_pots", 1, "t1", bent),
        SpecError,
        "there is no hook point 'resid_pots'; expected one of resid_pre, ",
    ),
    "an edit of a head where there is none": (
        lambda model: Edit("mlp_out", 1, "t1", bent, head=0),
        SpecError,
        r"hook point mlp_out has no heads or neurons, but 0 is asked for; expected one of z \(heads\), k",
    ),
    "an edit of no such head": (
        lambda model: model.run_with_hooks(PAIR, fwd_hooks=[Edit("k", 1, "t1", bent, head=2)]),
        ValueError,
        r"blocks\.1\.attn\.hook_k: `head` is 2, but the activation has heads 0 to 1",
    ),
    "an edit at no such layer": (
        lambda model: model.run_with_hooks(PAIR, fwd_hooks=[Edit("kv", 3, "t1", bent)]),
        SpecError,
        "Edit at kv, layer 3: no such layer; the model has layers 0 to 2",
    ),
    "an edit at a layer of a thought": (
        lambda model: model.run_with_hooks(PAIR, fwd_hooks=[Edit("thought", 1, "t1", bent)]),
        SpecError,
        "Edit at thought, layer 1: no such layer; a thought has none, so it must be 0",
    ),
    "an edit at no such site": (
        lambda model: model.run_with_hooks(PAIR, fwd_hooks=[Edit("z", 1, "t3", bent)]),
        ValueError,
        r"attn\.hook_z: no site 't3' here; expected thoughts or one of bot, t0",
    ),
    "an edit of a thought where a token stands": (
        lambda model: model.run_with_hooks(PAIR, fwd_hooks=[Edit("thought", 0, "bot", bent)]),
        ValueError,
        r"hook_embed: 'bot' is no thought that is fed back; positions \d+ to \d+",
    ),
    "an edit of another shape": (
        lambda model: model.run_with_hooks(PAIR, fwd_hooks=[Edit("z", 1, "t1", lambda there: there[:, 0])]),
        ValueError,
        r"hook_z: `function` returned \[1, 8\] of torch.float64, expected \[1, 4, 8\] of torch.float64",
    ),
    "a site of a text": (
        lambda model: model.run_with_hooks([5, 6], fwd_hooks=[(POST, patch_position("t0", VECTOR))]),
        ValueError,
        "no site 't0' here; a text has none, or a position",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_run_is_refused_with_the_way_out(model: ThoughtModel, name: str):
    act, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        act(model)
    assert not model.hooked.hook_dict[POST].has_hooks()


def test_standing_hooks_are_refused(model: ThoughtModel):
    with model.hooked.hooks(fwd_hooks=[(POST, capture([0], []))]):
        for act in (lambda: model.run_with_cache(PAIR), lambda: model.thoughts([PAIR])):
            with pytest.raises(CheckpointError, match=r"hooks were left on blocks\.1\.hook_resid_post"):
                act()
