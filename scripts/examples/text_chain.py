"""A LoRA that reasons in text: python text_chain.py BASE ADAPTER PAIRS, where each side of a pair has its `cot`."""

import sys

import mechpatch as mp

base, adapter, pairs = sys.argv[1:]
model = mp.load_model(base, adapter=adapter)
run = mp.run(model, pairs, "position", thoughts="text", prefix="The answer is:", nulls="other_pair", limit=8)
print(run.cells.pivot_table(index="layer", columns=["donor", "site"], values="switched", sort=False).round(2))
