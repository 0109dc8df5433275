"""Hooks on your own sentence: zero what attention adds at the last word, layer by layer, and see what comes next."""

import torch

import mechpatch as mp

model = mp.load_model("demo")
text = "Tom has 60 apples. Tom sells 8 bags of 5. How many apples does Tom have? <<8*5=40>><<60-40=20>> The answer is:"
print("as it is:", model.tokenizer.decode(model.run_with_hooks(text)[0, -1].argmax()))
for layer in range(model.n_layers):
    zero = mp.Edit("attn_out", layer, -1, torch.zeros_like)  # is given what is there and returns what shall be
    logits = model.run_with_hooks(text, fwd_hooks=[zero])
    print(f"without attention of layer {layer} there:", model.tokenizer.decode(logits[0, -1].argmax()))
