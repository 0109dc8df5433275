"""A logit lens at every thought: probability of the answer's first token by layer and site, mean over pairs."""

import torch

import mechpatch as mp

model, pairs, found = mp.load_model("demo"), mp.load_pairs("demo")[:8], []
for pair in pairs:
    logits, cache = model.run_with_cache(pair, names_filter=lambda name: name.endswith("resid_post"))
    sites = model.sites(pair)
    resid = torch.stack([cache["resid_post", layer][0, [*sites.values()]] for layer in range(model.n_layers)])
    lens = (model.hooked.ln_final(resid) @ model.hooked.unembed.W_U).softmax(-1)  # [layer, site, vocab]
    found.append(lens[..., logits[0, sites["answer"]].argmax()])
print(" ".join(f"{site:>6}" for site in model.sites(pairs[0])))
print("\n".join(" ".join(f"{p:6.2f}" for p in row) for row in torch.stack(found).mean(0)))
