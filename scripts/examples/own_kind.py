"""An experiment of your own: each layer is written at every thought up to the middle one, and at every later one."""

import mechpatch as mp


def halves(frame):
    middle = len(frame.thoughts) // 2
    parts = {"early": frame.thoughts[:middle], "late": frame.thoughts[middle:]}
    return [frame.cell("halves", layer, sites, name) for layer in frame.layers for name, sites in parts.items()]


kind = mp.Kind(name="halves", label="Early and late thoughts", cells=halves)
run = mp.run(mp.load_model("demo"), mp.load_pairs("demo")[:8], [kind, "layer"], nulls="other_pair")
print(run.cells.pivot_table(index="layer", columns=["experiment", "site", "donor"], values="switched").round(2))
run.plot(experiment="halves").savefig("halves.png")
