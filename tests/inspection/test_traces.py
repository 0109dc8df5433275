"""What is seen inside a run is what Hugging Face's own model has there."""

import copy
import dataclasses

import pytest
import torch
from helpers import assert_same
from models_under_test import ALL, DTYPES, KINDS, Case, make_case, tiny_llama
from torch import Tensor
from transformers import DynamicCache

from mechpatch.inspection.traces import aligned, leaning, lens, trace
from mechpatch.patching import Write, collate
from mechpatch.patching.reference import sweep
from mechpatch.thoughts import Layout

CASES = [*(("tiny-float64", kind) for kind in KINDS), ("tiny-float32", "latent")]


@pytest.fixture(params=CASES, ids="-".join, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return make_case(*request.param, direction="denoise", pairs=ALL)


def eager(case: Case):
    """The Hugging Face model of a case, that tells its attention."""
    hf = copy.deepcopy(tiny_llama(DTYPES["float64" if case.unpatched.logits.dtype == torch.float64 else "float32"]))
    hf.set_attn_implementation("eager")
    return hf


def hugging_face(case: Case, layout: Layout, own: int) -> tuple[Tensor, Tensor]:
    """[layer, head, query, key] and, but for the last layer, [layer, token, d_model], of a loop with a cache."""
    hf, cache = eager(case), DynamicCache()
    settings = {"past_key_values": cache, "use_cache": True, "output_attentions": True, "output_hidden_states": True}
    found = [hf.model(torch.tensor([layout.prompt]), **settings)]
    for _ in range(layout.n_latents):
        assert case.model.head is not None
        latent = case.model.head(found[-1].last_hidden_state[:, -1])
        found.append(hf.model(inputs_embeds=latent[:, None], **settings))
    found.append(hf.model(torch.tensor([layout.tails[own].tokens]), **settings))
    length = found[-1].attentions[0].shape[-1]
    rows = [
        torch.nn.functional.pad(torch.stack(part.attentions)[:, 0], (0, length - part.attentions[0].shape[-1]))
        for part in found
    ]
    stream = [torch.stack(part.hidden_states[1:-1])[:, 0] for part in found]
    return torch.cat(rows, dim=2), torch.cat(stream, dim=1)


def run(case: Case, layout: Layout, own: int, **options):
    return trace(case.model.hooked, case.model.head, layout, own, **options)


@pytest.mark.parametrize("own", [0, 1])
def test_attention_and_residual_stream_are_those_of_hugging_face(case: Case, own: int):
    for layout in case.layouts:
        found = run(case, layout, own)
        attention, stream = hugging_face(case, layout, own)
        # Hugging Face's eager attention takes its softmax in float32 whatever the weights are.
        assert_same(found.attention.float(), attention.float())
        assert_same(found.resid[:-1].float(), stream.float())
        assert_same(found.attention.sum(-1), torch.ones_like(found.attention[..., 0]))
        other, _ = hugging_face(case, case.layouts[layout is case.layouts[0]], own)
        with pytest.raises(AssertionError):
            assert_same(found.attention.float(), other.float())


def test_the_lens_of_the_last_layer_is_what_the_run_says(case: Case):
    for layout in case.layouts:
        for own in (0, 1):
            found = run(case, layout, own)
            read = lens(case.model.hooked, found.resid[:, list(layout.positions(own))])
            assert_same(read[-1, -1], found.logits[0, own, 0].log_softmax(-1))
            with pytest.raises(AssertionError):
                assert_same(read[-2, -1], found.logits[0, own, 0].log_softmax(-1))


def test_the_lens_leans_by_the_difference_of_two_logits(case: Case):
    found = run(case, case.layouts[0], 1)
    read = lens(case.model.hooked, found.resid)
    assert_same(leaning(case.model.hooked, found.resid, (7, 9)), read[..., 7] - read[..., 9])


def test_a_long_question_keeps_the_rows_from_its_first_site_on(case: Case):
    layout = case.layouts[0]
    whole, part = run(case, layout, 0), run(case, layout, 0, attention_bytes=10)
    assert whole.first_query == 0
    assert part.first_query == layout.positions(0)[0]
    assert torch.equal(part.attention, whole.attention[:, :, part.first_query :])


def test_a_patched_run_is_that_of_the_plain_sweep(case: Case):
    place, layer, layout = 1, 1, case.layouts[0]
    batch = collate([layout])
    donor = case.donor[:1]
    patch = Write(layer, batch.columns[:, :, [place]], donor[:, :, layer, [place]])
    found = run(case, layout, 1, writes=[patch])
    cell = next(cell for cell in case.cells("position") if (cell.layer, cell.sites) == (layer, (batch.sites[place],)))
    ((_, expected),) = sweep(case.model.hooked, case.model.head, batch, donor, [case.patch(cell)])
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.resid[layer, layout.positions(1)[place]], donor[0, 1, layer, place])
    assert not torch.equal(found.attention, run(case, layout, 1).attention)


def layout_of(prompt: tuple[int, ...]) -> Layout:
    case = make_case("tiny-float64", "latent")
    one = case.layouts[0]
    return Layout(
        prompt=(*prompt, 99),
        n_latents=2,
        thoughts=(len(prompt) + 1, len(prompt) + 2),
        tails=one.tails,
        bot=len(prompt),
        has_eot=True,
        question=0,
    )


def test_positions_match_by_site_and_from_both_ends():
    after = 2 + make_case("tiny-float64", "latent").layouts[0].tails[0].answer
    equal = aligned(layout_of((1, 2, 3)), layout_of((1, 5, 3))).tolist()
    assert equal == [[i, i] for i in range(4 + after)]
    longer = aligned(layout_of((1, 2, 8, 3)), layout_of((1, 5, 3))).tolist()
    assert longer == [[0, 0], [3, 2], [4, 3], *([5 + i, 4 + i] for i in range(after))]


def test_sites_match_by_name_inside_chains_of_unequal_length():
    clean, corrupted = (
        dataclasses.replace(layout_of(prompt), n_latents=0, thoughts=thoughts, bot=None, has_eot=False)
        for prompt, thoughts in (((1, 2, 7, 7, 3, 4), (3, 5)), ((1, 5, 6, 8), (2, 3)))
    )
    found = dict(aligned(clean, corrupted).tolist())
    assert (found[0], found[3], found[5], found[6]) == (0, 2, 3, 4)
