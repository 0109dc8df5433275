"""Which layer and word of your own sentence carries the next word: a DataFrame, and no file."""

import mechpatch as mp

model = mp.load_model("demo")
clean = "Tom has 60 bags. Tom finds 5 bags. How many bags does Tom have? The answer is:"
corrupted = "Tom has 20 bags. Tom finds 5 bags. How many bags does Tom have? The answer is:"
effects = mp.sweep(model, corrupted, clean)  # layer × position: share of the logit gap that the write closes
print(effects.round(2).to_string())
print("largest at each layer:", effects.idxmax(axis=1).to_dict())
