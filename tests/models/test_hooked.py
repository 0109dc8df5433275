import pytest
import torch
from checkpoints import ROPES, probe, tiny_llama
from helpers import assert_same

from mechpatch.errors import CheckpointError
from mechpatch.models.hooked import parity, to_hooked

SHAPES = {
    "grouped": {},
    "one-kv-head": {"num_key_value_heads": 1},
    "one-head-each": {"num_key_value_heads": 4},
    "head-dim": {"head_dim": 6},
    "wide-heads": {"head_dim": 16, "tie_word_embeddings": False},
    "untied": {"tie_word_embeddings": False},
    "one-layer": {"num_hidden_layers": 1, "rms_norm_eps": 1e-2},
}
TOKENS = torch.arange(48).view(2, 24)


@pytest.mark.parametrize("rope", ROPES)
def test_every_rope_gives_hugging_faces_logits(rope):
    hf = tiny_llama(rope=rope)
    assert_same(probe(to_hooked(hf, 128), 128), probe(hf, 128))
    other = tiny_llama(rope="default" if rope != "default" else "linear")
    with pytest.raises(AssertionError):  # the same weights under another rope
        assert_same(probe(to_hooked(hf, 128)), probe(other))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_gives_hugging_faces_logits(shape):
    hf = tiny_llama(**shape)
    assert_same(probe(to_hooked(hf, 64)), probe(hf))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_parity_is_measured_in_every_dtype(dtype):
    hf = tiny_llama()
    torch.nn.Module.to(hf, dtype)
    hooked = to_hooked(hf, 64)
    expected = (hooked(TOKENS).float() - hf(TOKENS).logits.float()).abs().max().item()
    assert parity(hooked, hf, TOKENS) == pytest.approx(expected, abs=1e-4 if dtype != torch.bfloat16 else 0.3)


def test_weights_are_shared():
    hf = tiny_llama()
    own = {weight.untyped_storage().data_ptr() for weight in hf.parameters()}
    hooked = to_hooked(hf, 64)
    biases = ("b_Q", "b_K", "b_V", "b_O", "b_in", "b_out", "b_U")
    weights = {name: weight for name, weight in hooked.named_parameters() if not name.endswith(biases)}
    assert len(weights) == 3 * 9 + 3  # nine in each block; embed, unembed, final norm
    assert {weight.untyped_storage().data_ptr() for weight in weights.values()} == own


def swap_heads(hf, hooked):
    attention = hooked.blocks[0].attn
    attention.W_Q = torch.nn.Parameter(attention.W_Q.flip(0))


def swap_gate(hf, hooked):
    mlp = hooked.blocks[1].mlp
    mlp.W_in, mlp.W_gate = mlp.W_gate, mlp.W_in


def shift_rope(hf, hooked):
    attention = hooked.blocks[2].attn
    attention.rotary_sin = attention.rotary_sin.roll(1, 0)


def other_rope(hf, hooked):
    attention = hooked.blocks[0].attn
    plain = to_hooked(tiny_llama(rope="default"), 64).blocks[0].attn
    attention.rotary_cos, attention.rotary_sin = plain.rotary_cos, plain.rotary_sin


def forget_final_norm(hf, hooked):
    hooked.ln_final.w = torch.nn.Parameter(torch.ones_like(hooked.ln_final.w))


@pytest.mark.parametrize("spoil", [swap_heads, swap_gate, shift_rope, other_rope, forget_final_norm])
def test_parity_notices(spoil):
    hf = tiny_llama()
    hooked = to_hooked(hf, 64)
    spoil(hf, hooked)
    with pytest.raises(CheckpointError, match=r"differ by .* in a logit"):
        parity(hooked, hf, TOKENS)


def test_logits_that_are_not_finite_are_refused():
    hf = tiny_llama()
    hf.model.norm.weight[3] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        parity(to_hooked(hf, 64), hf, TOKENS)
