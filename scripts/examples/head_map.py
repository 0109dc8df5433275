"""Which head writes what the answer needs: layers × heads at the best thought, beyond another pair's vectors."""

import mechpatch as mp

model, pairs = mp.load_model("demo"), mp.load_pairs("demo")[:12]
run = mp.run(model, pairs, "position", hooks=("z",), sites=("thoughts", "answer"), nulls="other_pair")
effect = run.cells.set_index(["donor", "site", "layer", "head"])["effect"]
beyond = effect.loc["paired"] - effect.loc["other_pair"]
best = beyond.loc[beyond.abs().nlargest(5).index]
print("share of the gap that one head closes, beyond another pair's vectors (site, layer, head):")
print(best.round(2).to_string())
run.plot("recovery", hook="z").savefig("heads.png")
