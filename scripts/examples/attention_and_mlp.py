"""What attention and MLP add at each thought, beside the whole stream: the share of pairs that switch."""

import mechpatch as mp

model, pairs = mp.load_model("demo"), mp.load_pairs("demo")[:12]
hooks = ("resid_post", "attn_out", "mlp_out")
run = mp.run(model, pairs, "position", hooks=hooks, sites=("bot", "thoughts"), nulls="other_pair")
paired = run.cells[run.cells["donor"] == "paired"]
print(paired.pivot_table(index=["hook", "layer"], columns="site", values="switched", sort=False).round(2))
for hook in hooks:
    run.plot(hook=hook).savefig(f"{hook}.png")
