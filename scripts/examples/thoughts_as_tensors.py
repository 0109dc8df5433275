"""The latent thoughts as tensors: how far those of the two questions of a pair are apart, thought by thought."""

import torch

import mechpatch as mp

model, pairs = mp.load_model("demo"), mp.load_pairs("demo")[:12]
thoughts = model.thoughts(pairs)  # [pair, side, thought, d_model]; side 0 clean, 1 corrupted
cosine = torch.cosine_similarity(thoughts[:, 0], thoughts[:, 1], dim=-1)  # [pair, thought]
for thought, (mean, least) in enumerate(zip(cosine.mean(0), cosine.amin(0), strict=True)):
    print(f"t{thought}: cosine {mean:.2f} on average, {least:.2f} at least")
