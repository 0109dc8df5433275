"""The engine gives what the reference gives, for every patch, and computes no more than it must."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from helpers import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from models_under_test import KINDS, MODELS, Case, make_case, model_under_test
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mechpatch.axes import SiteVectors
from mechpatch.errors import SpecError, ThoughtError
from mechpatch.patching import Batch, Outcome, collate, reference
from mechpatch.patching.engine import runs as engine
from mechpatch.patching.engine.decoder import read_decoder
from mechpatch.patching.patch import Patch
from mechpatch.patching.rounding import moved_input, spread, tolerance
from mechpatch.patching.together import Together
from mechpatch.points import POINTS
from mechpatch.thoughts import Layout
from mechpatch.thoughts.layout import Tail

CASES = [
    *((name, kind, "denoise") for name in MODELS for kind in KINDS),
    *(("tiny-float64", kind, "noise") for kind in KINDS),
]


@pytest.fixture(params=CASES, ids="-".join, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return make_case(*request.param)


@pytest.fixture(params=KINDS)
def tiny(request: pytest.FixtureRequest) -> Case:
    return make_case("tiny-float64", request.param)


def base_of(case: Case, batch: Batch | None = None) -> engine.BaseRun:
    return engine.base_run(case.model.hooked, case.model.head, batch or case.batch)


def swept(case: Case, donor: SiteVectors, patches: Sequence[Patch], **options: Any) -> list[Outcome]:
    return [outcome for _, outcome in engine.sweep(base_of(case), donor, patches, **options)]


def points_of(batch: Batch) -> list[str]:
    """Hook points that a batch has."""
    return [hook for hook, point in POINTS.items() if point.hooks or batch.n_latents]


def every_patch(case: Case) -> list[Patch]:
    """In every layer each site and all; once for each kind also each two, all but one, and windows of layers."""
    sites = range(len(case.batch.sites))
    smallest = (case.model.fingerprint, case.direction) == ("tiny-float64", "denoise")
    sizes = {1, 2, len(sites) - 1, len(sites)} if smallest else {1, len(sites)}
    sets = [each for size in sorted(sizes) for each in itertools.combinations(sites, size)]
    widths = (1, 2, 3) if smallest else (1,)
    return [
        Patch(layer, each, width)
        for width in widths
        for layer in range(case.model.n_layers - width + 1)
        for each in (sets if width == 1 else sets[:: len(sites) - 1])
    ]


def assert_same_outcome(found: Outcome, expected: Outcome, rounding: float = 0.0) -> None:
    assert_same(found.logits, expected.logits, rounding)
    assert_same(found.resid, expected.resid, rounding)


@cache
def rounding(case: Case) -> float:
    """What rounding alone may do to a float32 run: processors differ in it, and fed-back thoughts make it grow."""
    if case.unpatched.logits.dtype == torch.float64:
        return 0.0
    model, runs = case.model, [case.unpatched]
    for seed in range(3):
        with moved_input(model.hooked, seed):
            runs.append(reference.baseline(model.hooked, model.head, case.batch))
    found = [[run.logits for run in runs], [run.resid for run in runs]]
    largest = max(each[0].abs().max().item() for each in found)
    return tolerance(case.unpatched.logits.dtype, largest, max(map(spread, found)))


def test_base_run_is_the_unpatched_run(case: Case):
    assert_same_outcome(base_of(case).outcome, case.unpatched, rounding(case))
    unmasked = dataclasses.replace(case.batch, real=torch.ones_like(case.batch.real))
    with pytest.raises(AssertionError):
        assert_same_outcome(base_of(case, unmasked).outcome, case.unpatched, rounding(case))


def test_sweep_is_the_reference(case: Case):
    patches = every_patch(case)
    found = dict(zip(patches, swept(case, case.donor, patches), strict=True))
    for patch, expected in zip(patches, case.sweep(case.donor, patches), strict=True):
        assert_same_outcome(found[patch], expected, rounding(case))
        if patch.layer == 0:
            with pytest.raises(AssertionError):  # one layer too high
                assert_same(found[Patch(1, patch.sites)].logits, expected.logits, rounding(case))
        if patch.layer == 0 and patch.width > 1:
            with pytest.raises(AssertionError):  # the layers above are written too
                assert_same(found[Patch(0, patch.sites)].logits, expected.logits, rounding(case))


def test_relay_is_the_reference(case: Case):
    layers = range(case.model.n_layers)
    found = {
        (patch.layer, patch.sites): step
        for patch, step in engine.relay(base_of(case), case.donor, layers, case.thoughts)
    }
    for layer in layers:
        for site, expected in zip(case.thoughts, case.relay(layer), strict=True):
            step = found.pop((layer, (site,)))
            assert_same(step.written, expected.written, rounding(case))
            assert_same(step.logits, expected.logits, rounding(case))
    assert not found


def test_a_relay_step_hands_on_its_own_vector():
    """The relay of the engine is not the cumulative chain, nor the patch by the donor."""
    case = make_case("tiny-float64", "latent")
    steps = [step for _, step in engine.relay(base_of(case), case.donor, [1], case.thoughts)]
    alone = swept(case, case.donor, [Patch(1, (site,)) for site in case.thoughts])
    assert_same(steps[0].logits, alone[0].logits)
    with pytest.raises(AssertionError):
        assert_same(steps[1].logits, alone[1].logits)


def lay_out(kind: str, question: list[int], gaps: list[int], prefix: list[int], answers: Sequence[list[int]]) -> Layout:
    """A layout without a tokenizer.

    Args:
        gaps: how far each thought stands from the one before.
    """
    thoughts = [len(question) + gap for gap in itertools.accumulate(gaps if kind == "text" else [1] * len(gaps))]
    filler = () if kind == "latent" else range(20, 20 + thoughts[-1] - len(question))
    first, second = (Tail(tokens=(7, *prefix, *answer), answer=1 + len(prefix)) for answer in answers)
    return Layout(
        prompt=(*question, 5, *filler),
        n_latents=len(gaps) if kind == "latent" else 0,
        thoughts=tuple(thoughts),
        tails=(first, second),
        bot=None if kind == "text" else len(question),
        has_eot=kind != "text",
        question=0,
    )


def tokens(least: int, most: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, 150), min_size=least, max_size=most)


@st.composite
def questions(draw: st.DrawFn) -> list[tuple]:
    """Arguments of `lay_out`: any lengths, and two answers of which one may begin the other or be the same."""
    kind, n_thoughts = draw(st.sampled_from(KINDS)), draw(st.integers(1, 4))
    gaps = st.lists(st.integers(1, 3), min_size=n_thoughts, max_size=n_thoughts)
    answer = tokens(1, 3)
    longer = st.tuples(answer, tokens(0, 2)).map(lambda parts: (parts[0], parts[0] + parts[1]))
    answers = st.one_of(st.tuples(answer, answer), longer, longer.map(lambda pair: pair[::-1]))
    question = st.tuples(st.just(kind), tokens(1, 9), gaps, tokens(0, 3), answers)
    return draw(st.lists(question, min_size=1, max_size=4).filter(lambda all: len({not each[3] for each in all}) == 1))


@settings(max_examples=60)
@given(asked=questions(), data=st.data())
def test_any_patches_of_any_batch(asked: list[tuple], data: st.DataObject):
    """At any hook point, of any heads."""
    model, batch = model_under_test("tiny-float64"), collate([lay_out(*each) for each in asked])
    hook = data.draw(st.sampled_from(points_of(batch)))
    point, fed = POINTS[hook], [site for site, name in enumerate(batch.sites) if name[0] == "t"]
    base = engine.base_run(model.hooked, model.head, batch, [hook])
    own = reference.baseline(model.hooked, model.head, batch, [hook])
    assert_same(base.outcome.logits, own.logits)
    assert_same(base.outcome.vectors[hook], own.vectors[hook])
    own = base.outcome.vectors[hook][:, :1]
    sites = st.lists(st.sampled_from(range(len(batch.sites)) if point.hooks else fed), min_size=1, unique=True)
    windows = [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (0, 3)] if point.hooks else [(0, 1)]  # first layer and width
    heads = st.sampled_from([None, *range(own.shape[4] if point.parts else 0)])
    drawn = data.draw(st.lists(st.tuples(st.sampled_from(windows), sites, heads), max_size=8))
    patches = [Patch(layer, tuple(chosen), width, head) for (layer, width), chosen, head in drawn]
    # Some vectors are the run's own, so that runs join late or not at all.
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    others = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    other = torch.rand((*own.shape[:4], *[1] * (own.ndim - 4)), generator=generator) < others
    vectors = torch.randn(own.shape, generator=generator, dtype=own.dtype)
    donor = torch.where(other, vectors, own).expand(-1, 2, *own.shape[2:])
    memory = (engine.bytes_of_rows(base, hook) + engine.bytes_of_logits(base)) * data.draw(st.integers(1, 9))
    found = list(engine.sweep(base, donor, patches, memory, hook))
    expected = reference.sweep(model.hooked, model.head, batch, donor, patches, hook)
    for (patch, outcome), (plain_patch, plain) in zip(found, expected, strict=True):
        assert patch == plain_patch
        assert_same(outcome.logits, plain.logits)
        assert_same(outcome.vectors[hook], plain.vectors[hook])


@pytest.mark.parametrize("kind", ["latent", "text"])
def test_a_chain_may_be_cut_by_chunks_anywhere(kind: str):
    """What an earlier chunk hands on is kept; patches beside the chain change nothing in it."""
    case = make_case("tiny-float64", kind)
    base, layers, thoughts = base_of(case), range(case.model.n_layers), case.thoughts
    chain = [Patch(layer, (site,)) for site in thoughts for layer in layers]
    patches = [Patch(0, tuple(thoughts)), *chain[: len(layers)], Patch(1, (0,)), *chain[len(layers) :]]
    # Every step but the first is handed what the one before has, past the patch that stands between them.
    handed = {at: at - len(layers) - (at < 2 * len(layers) + 2) for at in range(len(layers) + 2, len(patches))}
    whole = [outcome for _, outcome in engine.sweep(base, case.donor, patches, handed=handed)]
    for layer in layers:
        places = [1 + layer, *range(len(layers) + 2 + layer, len(patches), len(layers))]
        for place, site, expected in zip(places, thoughts, case.relay(layer), strict=True):
            assert_same(whole[place].logits, expected.logits)
            assert_same(whole[place].resid[:, :, 0, site], expected.written)
    rows, logits = engine.bytes_of_rows(base), engine.bytes_of_logits(base)
    for fit in (1, 2, 4, 5):
        cut = engine.sweep(base, case.donor, patches, fit * rows + logits, handed=handed)
        for (_, found), expected in zip(cut, whole, strict=True):
            assert_same_outcome(found, expected)


@pytest.mark.parametrize("hook", [hook for hook in POINTS if hook != "resid_post"])
def test_a_relay_at_any_hook_point_is_the_reference(hook: str):
    case, point = make_case("tiny-float64", "latent", "noise"), POINTS[hook]
    model, other = case.model, collate([make_case("tiny-float64", "latent", "denoise").layouts[0]])
    batch, thoughts = collate(case.layouts[:1]), case.thoughts
    donor = reference.baseline(model.hooked, model.head, other, [hook]).vectors[hook]
    base = engine.base_run(model.hooked, model.head, batch, [hook])
    ways: list[Any] = [(1, 0), (2, 1)] if point.parts else [0, 2] if point.hooks else [0]
    found = list(engine.relay(base, donor, ways, thoughts, hook=hook))
    for number, way in enumerate(ways):
        layer, head = way if point.parts else (way, None)
        steps = reference.relay(model.hooked, model.head, batch, donor, layer, thoughts, hook, head)
        for (patch, step), site, expected in zip(found[number :: len(ways)], thoughts, steps, strict=True):
            assert patch == Patch(layer, (site,), head=head)
            assert_same(step.written, expected.written)
            assert_same(step.logits, expected.logits)
            assert site > thoughts[0] or (step.logits - base.logits).abs().max() > 1e-6
    alone = [outcome for _, outcome in engine.sweep(base, donor, [patch for patch, _ in found], hook=hook)]
    with pytest.raises(AssertionError):  # what the second step hands on is not what the donor has
        assert_same(alone[len(ways)].logits, found[len(ways)][1].logits)


@pytest.mark.parametrize("hook", POINTS)
def test_own_vectors_at_any_hook_point_change_exactly_nothing(hook: str):
    case, point = make_case("tiny-float64", "latent"), POINTS[hook]
    base = engine.base_run(case.model.hooked, case.model.head, case.batch, [hook])
    own, sites = base.outcome.vectors[hook], tuple(case.thoughts)
    top = point.n_layers(case.model.n_layers) - 1
    patches = [Patch(0, sites), Patch(top, sites), *[Patch(0, sites, head=head) for head in (0, 1) if point.parts]]
    for patch, outcome in engine.sweep(base, own, patches, hook=hook):
        assert torch.equal(outcome.logits, base.logits)
        assert torch.equal(outcome.vectors[hook][:, :, 0], own[:, :, patch.layer])
    mixed = own.clone()
    mixed[0, :, :, :, 0] += 1  # of the first question, and where there are heads of the first alone
    found = [outcome for _, outcome in engine.sweep(base, mixed, patches, hook=hook)]
    for number, (patch, outcome) in enumerate(zip(patches, found, strict=True)):
        assert torch.equal(outcome.logits[1:], base.logits[1:]), patch
        assert torch.equal(outcome.logits[0], base.logits[0]) == (number == 3), patch


@pytest.mark.parametrize(
    ("hook", "patch", "message"),
    [
        ("q", Patch(0, (0,)), "there is no hook point 'q'; expected one of resid_pre, resid_mid"),
        ("v", Patch(0, (0,)), "the base run does not hold v; name it in `hooks`"),
        ("z", Patch(3, (0,)), "z has layers 0 to 2"),
        ("z", Patch(0, (0,), head=4), "z has heads 0 to 3"),
        ("k", Patch(0, (0,), head=2), "k has heads 0 to 1"),
        ("post", Patch(0, (0,), head=99), "post has neurons 0 to 47"),
        ("resid_pre", Patch(0, (0,), head=0), "hook point resid_pre has no heads or neurons, but 0 is asked for"),
        ("thought", Patch(1, (1,)), "thought has layers 0 to 0"),
        ("thought", Patch(0, (0,)), "thought is found at fed-back thoughts alone"),
    ],
)
def test_a_patch_where_there_is_no_hook_point_is_refused(hook: str, patch: Patch, message: str):
    case = make_case("tiny-float64", "latent")
    base = engine.base_run(case.model.hooked, case.model.head, case.batch, ["z", "k", "post", "thought"])
    donor = base.outcome.vectors.get(hook, case.donor)
    with pytest.raises(SpecError, match=message):
        list(engine.sweep(base, donor, [patch], hook=hook))


def test_a_thought_is_asked_of_nobody_who_has_none():
    case = make_case("tiny-float64", "text")
    with pytest.raises(ThoughtError, match="hook point thought is found at fed-back thoughts alone"):
        engine.base_run(case.model.hooked, case.model.head, case.batch, ["thought"])
    with pytest.raises(ThoughtError, match="hook point thought is found at fed-back thoughts alone"):
        reference.baseline(case.model.hooked, case.model.head, case.batch, ["thought"])


def test_own_vectors_change_exactly_nothing(case: Case):
    base = base_of(case)
    own = base.outcome
    for patch, outcome in engine.sweep(base, own.resid, every_patch(case)[::5]):
        assert torch.equal(outcome.logits, own.logits)
        assert torch.equal(outcome.resid[:, :, 0], own.resid[:, :, patch.layer])
    mixed = own.resid.clone()
    mixed[0] = case.donor[0]  # only the first question is given other vectors
    (_, outcome), *_ = engine.sweep(base, mixed, [Patch(0, (0,))])
    assert torch.equal(outcome.logits[1:], own.logits[1:])
    assert not torch.equal(outcome.logits[0], own.logits[0])


def test_what_is_not_read_changes_exactly_nothing(case: Case):
    cells = case.cells("position")
    base = base_of(case)
    for cell, (_, outcome) in zip(
        cells, engine.sweep(base, case.donor, [case.patch(cell) for cell in cells]), strict=True
    ):
        assert torch.equal(outcome.logits, base.logits) == cell.structural


def test_a_write_that_one_prediction_reads_leaves_the_others_as_they_are(case: Case):
    base = base_of(case)
    unknown = dataclasses.replace(base, logits=base.logits * torch.nan)  # shows which logits are the base run's
    top, answer = case.model.n_layers - 1, case.batch.sites.index("answer")
    ((_, outcome),) = engine.sweep(unknown, case.donor, [Patch(top, (answer,))])
    assert torch.equal(~outcome.logits.isnan().any(-1), case.batch.reads == case.batch.columns[:, :, [answer]])


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_may_go_on_with_the_padding_token(kind: str):
    case = make_case("tiny-float64", kind)
    batch = collate(
        [lay_out(kind, [3, 4], [1, 2], [6], ([9], [9, 0])), lay_out(kind, [3], [1, 2], [6], ([8], [9, 0, 2]))]
    )
    expected = reference.baseline(case.model.hooked, case.model.head, batch)
    assert_same_outcome(base_of(case, batch).outcome, expected)
    ended = collate([lay_out(kind, [3, 4], [1, 2], [6], ([9], [9])), lay_out(kind, [3], [1, 2], [6], ([8], [9, 0, 2]))])
    with pytest.raises(AssertionError):
        assert_same_outcome(base_of(case, ended).outcome, expected)


def test_only_what_a_patch_reaches_is_computed(blocks: list[int]):
    case = make_case("tiny-float64", "latent", pairs=(0, 2))
    base = base_of(case)
    tails = [
        len(first.tokens) + len(second.tokens) - shared
        for first, second in (layout.tails for layout in case.layouts)
        for shared in [next((i for i, (a, b) in enumerate(zip(first.tokens, second.tokens, strict=False)) if a != b))]
    ]
    blocks.clear()
    list(engine.sweep(base, case.donor, [Patch(1, (case.thoughts[1],)), Patch(0, (case.thoughts[2],))]))
    # The first patch joins at the second thought above block 1, the second at the third thought above block 0; as that
    # is the last thought, nothing is fed after it, and block 0 of the continuations is as it was.
    assert blocks == [2, 2, 4, 4, sum(tails), *[2 * sum(tails)] * 2]
    blocks.clear()
    list(engine.sweep(base, base.outcome.resid, every_patch(case)))
    assert not blocks


def test_what_questions_begin_with_is_computed_once(blocks: list[int]):
    case = make_case("tiny-float64", "latent")
    first, *others = (layout.prompt[:-1] for layout in case.layouts)  # up to bot, the first site
    seen, fresh = [first], len(first)
    for prompt in others:
        alike = [[a == b for a, b in zip(prompt, each, strict=False)] for each in seen]
        fresh += len(prompt) - max([*each, False].index(False) for each in alike)
        seen.append(prompt)
    base = base_of(case)
    assert blocks[0] == fresh < sum(map(len, seen))
    assert_same_outcome(base.outcome, case.unpatched)
    blocks.clear()
    alike = collate([case.layouts[0], case.layouts[0]])
    whole = base_of(case, alike).outcome
    assert blocks[0] == len(first) + 1  # the last token before the sites is never shared
    assert_same(whole.logits[1], case.unpatched.logits[0, :, : whole.logits.shape[2]])


def tensors_in(piece: object) -> Iterator[Tensor]:
    """All tensors that a decoder holds."""
    if isinstance(piece, Tensor):
        yield piece
    elif isinstance(piece, tuple):
        for each in piece:
            yield from tensors_in(each)
    elif dataclasses.is_dataclass(piece):
        for each in dataclasses.fields(piece):
            yield from tensors_in(getattr(piece, each.name))


def test_weights_are_read_where_they_lie():
    hooked = model_under_test("tiny-float64").hooked
    tensors = list(tensors_in(read_decoder(hooked)))
    assert len(tensors) == 3 + 9 * hooked.cfg.n_layers + 2  # and the tables of cosines and sines
    own = {tensor.data_ptr() for tensor in (*hooked.parameters(), *hooked.buffers())}
    assert {tensor.data_ptr() for tensor in tensors} <= own
    assert all(tensor.is_contiguous() for tensor in tensors)
    assert sum(tensor.mT.is_contiguous() for tensor in tensors if tensor.ndim == 2) == 0


class _NoWaiting(TorchDispatchMode):
    """Refuses what makes the CPU wait for a device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        waits = name in {"_local_scalar_dense", "nonzero", "_to_copy", "_unique2", "masked_select", "equal"}
        if waits or any(isinstance(each, Tensor) and each.dtype == torch.bool for each in _indices(func, args)):
            raise AssertionError(f"{name} waits for the device")
        return func(*args, **(kwargs or {}))


def _indices(func, args) -> Sequence[object]:
    return args[1] if func.overloadpacket.__name__ in {"index", "index_put", "index_put_", "_index_put_impl_"} else ()


def test_nothing_in_a_wave_waits_for_the_device(tiny: Case, monkeypatch: pytest.MonkeyPatch):
    real, climbs = engine._climb, []

    def watched(*given: Any) -> Tensor:
        climbs.append(given)
        with _NoWaiting():
            return real(*given)

    monkeypatch.setattr(engine, "_climb", watched)
    swept(tiny, tiny.donor, every_patch(tiny))
    assert len(climbs) == 2  # the base run, and one chunk
    with pytest.raises(AssertionError, match="waits"), _NoWaiting():
        torch.ones(2).sum().item()


def failing(monkeypatch: pytest.MonkeyPatch, error: RuntimeError, fits: int) -> list[int]:
    """Let chunks of more than `fits` patches fail; the sizes that were tried."""
    sizes: list[int] = []
    real = engine._run_chunk

    def limited(base: Any, source: Any, patches: Sequence[Patch], *rest: Any) -> Iterator[Together]:
        sizes.append(len(patches))
        if len(patches) > fits:
            raise error
        return real(base, source, patches, *rest)

    monkeypatch.setattr(engine, "_run_chunk", limited)
    return sizes


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["cuda", "mps", "cpu"],
)
def test_a_chunk_that_does_not_fit_is_halved(tiny: Case, monkeypatch: pytest.MonkeyPatch, error: RuntimeError):
    patches = every_patch(tiny)[:7]
    expected = swept(tiny, tiny.donor, patches)
    sizes = failing(monkeypatch, error, 2)
    for found, whole in zip(swept(tiny, tiny.donor, patches), expected, strict=True):
        assert_same_outcome(found, whole)
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]


def test_what_cannot_be_halved_is_told(tiny: Case, monkeypatch: pytest.MonkeyPatch):
    failing(monkeypatch, RuntimeError("CUDA out of memory"), 0)
    with pytest.raises(SpecError, match="not even one patch of 3 pairs fits into memory; choose a smaller batch size"):
        swept(tiny, tiny.donor, every_patch(tiny))
    monkeypatch.undo()
    sizes = failing(monkeypatch, RuntimeError("shapes do not match"), 0)
    with pytest.raises(RuntimeError, match="shapes"):
        swept(tiny, tiny.donor, every_patch(tiny))
    assert len(sizes) == 1


def test_a_chunk_keeps_to_its_memory(tiny: Case, monkeypatch: pytest.MonkeyPatch):
    patches = every_patch(tiny)[:8]
    sizes = failing(monkeypatch, RuntimeError("unused"), len(patches))
    made: list[int] = []
    real = engine._predict
    monkeypatch.setattr(engine, "_predict", lambda *given: (made.append(len(given[1])), real(*given))[1])
    base = base_of(tiny)
    monkeypatch.setattr(engine, "bytes_of_rows", lambda *_: 10)
    monkeypatch.setattr(engine, "bytes_of_logits", lambda base: 100)
    made.clear()
    expected = list(engine.sweep(base, tiny.donor, patches))
    assert (sizes, made) == ([8], [8])
    for memory, chunks, together in (
        (1, [1] * 8, [1] * 8),
        (3 * 10 + 100, [3, 3, 2], [1] * 8),
        (4 * 6 * 100, [8], [6, 2]),
    ):
        sizes.clear()
        made.clear()
        for (_, found), (_, whole) in zip(engine.sweep(base, tiny.donor, patches, memory), expected, strict=True):
            assert_same_outcome(found, whole)
        assert (sizes, made) == (chunks, together)


def test_memory_that_runs_out_among_the_logits_loses_nothing(tiny: Case, monkeypatch: pytest.MonkeyPatch):
    patches = every_patch(tiny)[:6]
    base, real, calls = base_of(tiny), engine._predict, iter(range(99))
    expected = list(engine.sweep(base, tiny.donor, patches))

    def third_fails(*given: Any) -> Any:
        if next(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*given)

    monkeypatch.setattr(engine, "_predict", third_fails)
    memory = 6 * engine.bytes_of_rows(base) + engine.bytes_of_logits(base)
    found = list(engine.sweep(base, tiny.donor, patches, memory))
    assert [patch for patch, _ in found] == patches
    for (_, one), (_, other) in zip(found, expected, strict=True):
        assert_same_outcome(one, other)


@pytest.mark.parametrize("change", [Tensor.float, lambda donor: donor[:1], lambda donor: donor[:, :, 1:]])
def test_a_donor_that_does_not_fit_is_refused(tiny: Case, change: Callable[[Tensor], Tensor]):
    with pytest.raises(ValueError, match=r"`donor` is torch\.float.* but the base run has torch\.float64"):
        swept(tiny, change(tiny.donor), [Patch(0, (0,))])


def test_latents_need_a_head():
    case = make_case("tiny-float64", "latent")
    with pytest.raises(ThoughtError, match="need a model with a latent head"):
        engine.base_run(case.model.hooked, None, case.batch)


def test_a_head_without_layers_is_the_identity():
    """An empty `nn.Sequential` is false, and none the less a head."""
    case, head = make_case("tiny-float64", "latent"), nn.Sequential()
    found = engine.base_run(case.model.hooked, head, case.batch).outcome
    assert_same(found.logits, reference.baseline(case.model.hooked, head, case.batch).logits)


def test_a_site_that_has_seen_an_answer_is_refused(tiny: Case):
    layout = tiny.layouts[0]
    first, second = layout.tails
    torn = Tail(tokens=(first.tokens[0] + 1, *first.tokens[1:]), answer=first.answer)
    batch = collate([dataclasses.replace(layout, tails=(torn, second))])
    with pytest.raises(ThoughtError, match="a site lies after the first token in which the two continuations differ"):
        base_of(tiny, batch)
