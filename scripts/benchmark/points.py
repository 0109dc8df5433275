"""Every hook point: the engine's sweep against plain transformer-lens hooks, patch by patch."""

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from benchmark.cases import Case
from benchmark.clock import CLOCKS, timed
from benchmark.journal import Journal
from mechpatch.patching import engine, reference
from mechpatch.patching.engine import recording
from mechpatch.patching.patch import Patch
from mechpatch.patching.rounding import moved_input, spread
from mechpatch.points import POINTS

WHAT = {"what": "hook point", "axis": "hook"}
MOVED = 2  # plain runs of one patch whose input is moved by one unit in the last place: what rounding alone may do
HEADS = 64  # heads of a layer that are patched, at most; of neurons as many, spread evenly
LAYERS = 2  # of which all heads are patched, in each round; the cost of a head depends on its layer alone


def measure_points(
    case: Case,
    key: dict[str, Any],
    journal: Journal,
    hooks: Sequence[str],
    rounds: int,
    cells: int,
    say: Callable[[str], None],
) -> None:
    """Take what the journal lacks: of each hook point every layer and thought with the engine, `cells` with hooks."""
    for number in range(rounds):
        for hook in hooks:
            if not journal.has(**key, **WHAT, value=hook, round=number):
                say(f"round {number + 1} of {rounds}: {hook}")
                journal.add(**key, **WHAT, value=hook, round=number, **_take(case, hook, number, cells))


def _take(case: Case, hook: str, number: int, cells: int) -> dict[str, Any]:
    model, head = case.model.hooked, case.model.head
    clean, corrupted = zip(*(recording.record(model, head, pair, [hook]) for pair in case.layouts), strict=True)
    base, donor = recording.replay(model, head, case.batch, corrupted), recording.stack_vectors(clean, hook)
    patches = _patches(case, hook, donor.shape[4] if POINTS[hook].parts else 0, number)
    chosen = [patches[(place * len(patches) // cells + number) % len(patches)] for place in range(cells)]
    swift, taken = timed(lambda: {patch: out.logits for patch, out in engine.sweep(base, donor, patches, hook=hook)})
    plain, slow = timed(
        lambda: [out.logits for _, out in reference.sweep(model, head, case.batch, donor, chosen, hook)]
    )
    off = max((swift[patch] - logits).abs().max().item() for patch, logits in zip(chosen, plain, strict=True))
    again = [plain[0]]
    for seed in range(MOVED):
        with moved_input(model, seed):
            again += [out.logits for _, out in reference.sweep(model, head, case.batch, donor, chosen[:1], hook)]
    return {
        "patches": len(patches),
        "plain_patches": cells,
        "difference": off,
        "noise": spread(again),
        **{f"engine_{clock}": taken[clock] / len(patches) for clock in CLOCKS},
        **{f"plain_{clock}": slow[clock] / cells for clock in CLOCKS},
        "others": max(taken["others"], slow["others"]),
    }


def _patches(case: Case, hook: str, n_heads: int, number: int) -> list[Patch]:
    """Every layer and thought; with heads, every head and thought of some layers, others in each round."""
    layers = range(POINTS[hook].n_layers(case.model.depth))
    if n_heads:
        depth = len(layers)
        layers = [(place * depth // LAYERS + depth // (2 * LAYERS) + number) % depth for place in range(LAYERS)]
    heads = range(0, n_heads, -(-n_heads // HEADS)) if n_heads else [None]
    return [Patch(layer, (site,), head=head) for layer in layers for head in heads for site in case.thoughts]


def show_points(journal: Journal) -> Iterator[str]:
    """A line for each hook point: medians over rounds; ratios were formed within a round, by wall and by CPU time."""
    heads = f"{'ratio':>15} {'difference':>11} {'noise':>8}"
    yield f"{'hook point':<11} {'patches':>8} {'engine, s':>10} {'hooks, s':>9} {heads}"
    for hook in dict.fromkeys(each["value"] for each in journal.find(**WHAT)):
        found = [*journal.find(**WHAT, value=hook)]
        engine_s, plain_s = (median(each[f"{who}_seconds"] for each in found) for who in ("engine", "plain"))
        wall, cpu = (median(each[f"plain_{clock}"] / each[f"engine_{clock}"] for each in found) for clock in CLOCKS)
        off, noise = (max(each.get(name, float("nan")) for each in found) for name in ("difference", "noise"))
        patches = sum(each["patches"] for each in found)
        told = f"{f'{wall:.1f} ({cpu:.1f})':>15} {off:>11.1e} {noise:>8.1e}"
        yield f"{hook:<11} {patches:>8} {engine_s:>10.4f} {plain_s:>9.3f} {told}"
