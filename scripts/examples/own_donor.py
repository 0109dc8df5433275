"""A donor of your own: half-way between what is there and what the other question has there."""

import mechpatch as mp


def halfway(runs):  # vectors [pair, answer, layer, site, d_model], and which pairs have them
    return (runs.baseline + runs.paired) / 2, runs.all


model, pairs = mp.load_model("demo"), mp.load_pairs("demo")[:8]
run = mp.run(model, pairs, "layer", nulls=mp.Donor(name="halfway", function=halfway))
print(run.cells.pivot_table(index="layer", columns="donor", values="switched").round(2))
