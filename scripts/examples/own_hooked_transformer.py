"""A HookedTransformer that you made or loaded yourself, here of GPT-2's shape with random weights."""

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig

import mechpatch as mp

tokenizer = mp.load_model("demo").tokenizer
shape = {"n_layers": 3, "d_model": 64, "n_ctx": 64, "d_head": 16, "d_vocab": len(tokenizer), "act_fn": "gelu_new"}
torch.manual_seed(0)
hooked = HookedTransformer(HookedTransformerConfig(**shape, normalization_type="LN"))
model = mp.wrap(hooked, tokenizer)
pairs = mp.load_pairs("demo")[:4]
run = mp.run(model, pairs, "layer", thoughts="placeholder", n_thoughts=3, placeholder=0, include_incorrect=True)
print(run.effects.groupby("layer")["kl_divergence"].mean())
