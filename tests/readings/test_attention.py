"""Shares of attention sum to one, and are sums of what Hugging Face's eager attention has in the same rollout."""

import math

import independent
import pytest
import torch
from models_under_test import PAIRS, model_under_test, tiny_llama
from torch.nn import functional as F
from transformers import DynamicCache

import mechpatch as mp
from mechpatch.stats.attention import summarise_attention

SIDES = ("clean", "corrupted")
GROUPS = ("start", "question", "bot", "t0", "t1", "t2", "eot", "prefix", "rest")


@pytest.fixture(params=["latent", "text"], scope="module")
def read(request):
    model = model_under_test("tiny-float64")
    return model, request.param, mp.read(model, PAIRS, "attention", thoughts=request.param, include_incorrect=True)


def eager(monkeypatch, model: mp.ThoughtModel, layout, side: int) -> torch.Tensor:
    """[layer, head, query, key] of Hugging Face's model in float64, thought by thought; its softmax is float32 else."""
    softmax = F.softmax
    monkeypatch.setattr(F, "softmax", lambda x, dim, dtype=None: softmax(x, dim=dim))
    hf, cache = independent.whole(tiny_llama(torch.float64), {}, torch.float64).hf, DynamicCache()
    hf.set_attn_implementation("eager")
    settings = {"past_key_values": cache, "use_cache": True, "output_attentions": True}
    found = [hf.model(torch.tensor([layout.prompt]), **settings)]
    for _ in range(layout.n_latents):
        assert model.head is not None
        found.append(hf.model(inputs_embeds=model.head(found[-1].last_hidden_state[:, -1])[:, None], **settings))
    found.append(hf.model(torch.tensor([layout.tails[side].tokens]), **settings))
    length = found[-1].attentions[0].shape[-1]
    return torch.cat(
        [F.pad(torch.stack(part.attentions)[:, 0], (0, length - part.attentions[0].shape[-1])) for part in found], dim=2
    )


def by_hand(model: mp.ThoughtModel, kind: str, pair, layout, side: int) -> dict[str, list[int]]:
    """Positions of each group, counted from the texts alone."""
    question = len(model.tokenizer.encode((pair.clean, pair.corrupted)[side].question)) - layout.question
    places = dict(zip(layout.sites, layout.positions(side), strict=True))
    found = {"start": [*range(layout.question)], "question": [*range(layout.question, layout.question + question)]}
    found |= {site: [at] for site, at in places.items() if site != "answer"}
    known = {at for each in found.values() for at in each}
    after = len(layout.prompt) + layout.n_latents
    found["rest"] = [at for at in range(after) if at not in known]
    found["prefix"] = [at for at in range(after, places["answer"] + 1) if at not in known]
    assert bool(found["rest"]) == (kind == "text")
    return found


def test_shares_are_sums_of_hugging_faces_attention_and_sum_to_one(read, monkeypatch):
    model, kind, reading = read
    rows = reading.records.to_pylist()
    names = [name for name in reading.records.column_names if name.startswith("share_")]
    assert {name.removeprefix("share_") for name in names} <= {*GROUPS}
    seen = 0
    for pair in PAIRS:
        for side, layout in enumerate(model.lay_out(pair, kind=kind)):
            weights = eager(monkeypatch, model, layout, side)
            groups, places = by_hand(model, kind, pair, layout, side), layout.positions(side)
            own = [row for row in rows if (row["pair_id"], row["side"]) == (pair.pair_id, SIDES[side])]
            for row in own:
                there = weights[row["layer"], row["head"], places[layout.sites.index(row["site"])]]
                assert math.fsum(row[name] or 0.0 for name in names) == pytest.approx(1.0, abs=1e-12)
                for name in names:
                    if row[name] is not None:
                        total = float(there[groups[name.removeprefix("share_")]].sum())
                        assert row[name] == pytest.approx(total, abs=1e-10)
                assert row["entropy"] == pytest.approx(float(-(there * there.clamp_min(1e-300).log()).sum()), abs=1e-9)
                seen += 1
            assert {row["site"] for row in own} == {site for site in layout.sites if site not in ("bot", "eot")}
    assert seen == sum(
        2 * (len(model.lay_out(pair, kind=kind)[0].thoughts) + 1) * 3 * 4 for pair in PAIRS
    )  # layers, heads
    assert any(row["share_question"] != pytest.approx(1.0, abs=0.1) for row in rows)


def test_means_are_over_pairs_heads_and_layers(read):
    _, _, reading = read
    found = summarise_attention(reading.records, "corrupted", include_incorrect=True)
    table = reading.table
    own = table[(table.side == "corrupted") & (table.site == "answer")]
    assert found.mean["answer", "question"].mean == pytest.approx(own.share_question.mean())
    assert found.thoughts["answer"].mean == pytest.approx((own.filter(regex=r"share_t\d").fillna(0).sum(axis=1)).mean())
    of_head = own[(own.layer == 1) & (own["head"] == 2)]
    at = found.sites.index("answer"), 1, 2
    assert found.shares[*at, found.groups.index("question")] == pytest.approx(of_head.share_question.mean())
    assert found.entropy[at] == pytest.approx(of_head.entropy.mean())
    assert found.used == 3
    assert summarise_attention(reading.records, "corrupted").used < 3
