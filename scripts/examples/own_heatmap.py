"""A figure of your own from a run: the share that switches beyond the control."""

import matplotlib.pyplot as plt

import mechpatch as mp

run = mp.run(mp.load_model("demo"), mp.load_pairs("demo")[:12], "position", nulls="other_pair")
grid = run.cells.pivot_table(index="layer", columns=["donor", "site"], values="switched", sort=False)
beyond = grid["paired"] - grid["other_pair"]
plt.imshow(beyond, cmap="RdBu_r", vmin=-1, vmax=1, origin="lower")
plt.xticks(range(beyond.shape[1]), [*beyond.columns])
plt.colorbar(label="share of pairs that switch, beyond another pair's vectors")
plt.savefig("beyond.png")
