"""What is lost where a thought is zeroed, or replaced by the mean thought of all questions."""

import mechpatch as mp

model, pairs = mp.load_model("demo"), mp.load_pairs("demo")[:12]
run = mp.run(model, pairs, "layer", nulls=("zero", "mean", "other_pair"), directions=("noise",))
cells = run.cells.pivot_table(index="layer", columns="donor", values="neither")
print("share of pairs that give neither answer, all thoughts of a layer written:")
print(cells.round(2))
