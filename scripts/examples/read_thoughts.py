"""What do thoughts say? Look for intermediate values with a lens, and count a hit only beyond its controls."""

import mechpatch as mp

model, pairs = mp.load_model("demo"), mp.load_pairs("demo")[:8]
reading = mp.read(model, pairs, "lens")
print(reading.words)  # what was done, found and is to be distrusted
for cell in reading.summary.of("clean"):
    if cell.clear and cell.target.startswith("step"):
        print(f"{cell.target} can be read at {cell.hook}, layer {cell.layer}, {cell.site}: {cell.hits.share:.0%}")
reading.plot().savefig("lens.png")
