"""Hold the fast engine to plain hooks, and plain hooks to Hugging Face's modules, at every hook point; print a table.

    python scripts/hook_points.py                    every tiny random model of the tests, about ten minutes
    python scripts/hook_points.py llama gpt2 coconut

Each line is a hook point in one model, with one kind of thought, in one direction: how many patches were run (single
sites, all sites, windows of layers, single heads and neurons, relays; questions of equal and of unequal length), how
far the patches move a logit, and the largest difference of a logit, over the largest logit. `engine` and `HF` are in
float64, `HF` of one patch for each length; `float32` is the engine against plain hooks, and `noise` what rounding alone
may do to that model. Exit code 1 if a difference is too large.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import independent
import torch
from checkpoints import ARCHITECTURES, codi_state, tiny
from families import FORMS
from models_under_test import ARCHITECTURE_ALPHA, N_LATENTS, PAIRS, load_architecture
from torch import Tensor

from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel, load_model
from mechpatch.patching import Batch, Outcome, collate, engine, reference
from mechpatch.patching.patch import Patch, RelayStep
from mechpatch.patching.rounding import moved_input, spread, tolerance
from mechpatch.points import POINTS, HookPoint
from mechpatch.thoughts import Layout

OTHER_FORMS = ("coconut", "soft-qwen3")  # thoughts without a head, or made of embeddings
LENGTHS = {"equal": PAIRS[:1], "unequal": PAIRS[1:]}
COLUMNS = ("engine", "HF", "float32", "noise")
EXACT = 1e-10
Sides = Sequence[tuple[Layout, Layout]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """A model in two dtypes, and the same in Hugging Face's modules."""

    wide: ThoughtModel
    narrow: ThoughtModel
    plain: independent.Plain
    kinds: tuple[str, ...]


def subject(name: str) -> Subject:
    """One of the tests' architectures with a CODI checkpoint, or one of `OTHER_FORMS`."""
    if name in ARCHITECTURES:
        plain = independent.merge(tiny(name), codi_state(tiny(name)), ARCHITECTURE_ALPHA, torch.float64)
        wide, narrow = (load_architecture(name, dtype) for dtype in ("float64", "float32"))
        return Subject(wide=wide, narrow=narrow, plain=plain, kinds=("latent", "text"))
    files = FORMS[name].write(Path(mkdtemp()))
    wide, narrow = (load_model(**{"device": "cpu", **files}, dtype=dtype) for dtype in ("float64", "float32"))
    return Subject(wide=wide, narrow=narrow, plain=FORMS[name].plain(torch.float64), kinds=("latent",))


def patches_of(point: HookPoint, n_layers: int, n_parts: int, sites: Sequence[int]) -> list[Patch]:
    """Single sites, all of them, windows of layers, single heads and neurons."""
    layers = range(point.n_layers(n_layers))
    patches = [Patch(layer, (site,)) for layer in layers for site in sites]
    patches += [Patch(layer, tuple(sites)) for layer in layers]
    patches += [Patch(layer, tuple(sites[:2]), 2) for layer in layers[:-1]]
    heads = some_of(n_parts)
    return patches + [Patch(layer, each, head=head) for layer in layers for head in heads for each in ((1,), (1, 2))]


def some_of(n_parts: int) -> range:
    """All heads; of neurons, which are many, some."""
    return range(0, n_parts, -(-n_parts // 8) or 1)


@dataclass(slots=True)
class Line:
    """What was found at one hook point."""

    patches: int = 0
    moved: float = 0.0
    engine: float = 0.0
    HF: float = 0.0
    float32: float = 0.0
    noise: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether every difference is as small as it must be."""
        return self.moved > EXACT and max(self.engine, self.HF) <= EXACT and self.float32 <= self.noise

    def see(self, column: str, found: Tensor, expected: Tensor) -> None:
        """Remember the largest difference, over the largest logit."""
        off = ((found - expected).abs().max() / expected.abs().max().clamp(min=1)).item()
        setattr(self, column, max(getattr(self, column), off))


def compare(line: Line, each: Subject, own: Sequence[Layout], other: Sequence[Layout], hook: str) -> None:
    """Run the patches of one batch in all ways."""
    point, batch, donor_batch = POINTS[hook], collate(own), collate(other)
    for model, column in ((each.wide, "engine"), (each.narrow, "float32")):
        hooked, head = model.hooked, model.head
        before = reference.baseline(hooked, head, batch, [hook])
        donor = reference.baseline(hooked, head, donor_batch, [hook]).vectors[hook]
        base = engine.base_run(hooked, head, batch, [hook])
        fed = [place for place, site in enumerate(batch.sites) if site[0] == "t"]
        sites = range(0, len(batch.sites), 2) if point.hooks else fed
        n_parts = donor.shape[4] if point.parts else 0
        patches = patches_of(point, model.n_layers, n_parts, sites)[:: 1 if column == "engine" else 5]
        line.see(column, base.outcome.vectors[hook], before.vectors[hook])
        line.see(column, base.logits, before.logits)
        if column == "float32":
            line.noise = max(line.noise, noise(model, batch))
        swept = reference.sweep(hooked, head, batch, donor, patches, hook)
        for (_, fast), (_, plain) in zip(engine.sweep(base, donor, patches, hook=hook), swept, strict=True):
            line.see(column, fast.logits, plain.logits)
            line.see(column, fast.vectors[hook], plain.vectors[hook])
            line.moved = max(line.moved, (plain.logits - before.logits).abs().max().item())
        if column == "engine":
            line.patches += len(patches) + relays(line, model, batch, donor, base, hook, fed)
            last = Patch(min(1, point.n_layers(model.n_layers) - 1), (fed[-1],), head=n_parts - 1 if n_parts else None)
            ((_, plain),) = reference.sweep(hooked, head, batch, donor, [last], hook)
            by_hand(line, each, own[-1], plain, donor[-1, 1], last, hook)


def noise(model: ThoughtModel, batch: Batch) -> float:
    """How far two sound computations of a batch may lie apart, over the largest logit."""
    runs = [reference.baseline(model.hooked, model.head, batch, ()).logits]
    for seed in range(3):
        with moved_input(model.hooked, seed):
            runs.append(reference.baseline(model.hooked, model.head, batch, ()).logits)
    largest = max(1.0, runs[0].abs().max().item())
    return tolerance(torch.float32, largest, spread(runs)) / largest


def relays(
    line: Line, model: ThoughtModel, batch: Batch, donor: Tensor, base: engine.BaseRun, hook: str, fed: list[int]
) -> int:
    """Every relay; how many steps there are."""
    point, layers = POINTS[hook], range(POINTS[hook].n_layers(model.n_layers))
    heads = some_of(donor.shape[4]) if point.parts else [None]
    ways = [(layer, head) for layer in layers for head in heads]
    given = [layer if head is None else (layer, head) for layer, head in ways]
    steps = [step for _, step in engine.relay(base, donor, given, fed, hook=hook)]
    for number, (layer, head) in enumerate(ways):
        expected: Iterator[RelayStep] = reference.relay(
            model.hooked, model.head, batch, donor, layer, fed, hook=hook, head=head
        )
        for found, plain in zip(steps[number :: len(ways)], expected, strict=True):
            line.see("engine", found.logits, plain.logits)
            line.see("engine", found.written, plain.written)
    return len(steps)


def by_hand(line: Line, each: Subject, layout: Layout, plain: Outcome, donor: Tensor, patch: Patch, hook: str) -> None:
    """One patch of one question with hooks on Hugging Face's modules: no batch, no padding, no cache."""
    [site] = patch.sites
    vector = donor[patch.layer, site] if patch.head is None else donor[patch.layer, site, patch.head]
    write = (patch.layer, layout.positions(1)[site], vector)
    found = independent.run(each.plain, layout, 1, [write], hook, patch.head).logits
    line.see("HF", plain.logits[-1, 1, : len(found)], found)


def main() -> int:
    names = (*ARCHITECTURES, *OTHER_FORMS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(names))
    args, say = parser.parse_args(), sys.stdout.write
    logging.disable(logging.WARNING)
    widest, sound = dict.fromkeys(COLUMNS, 0.0), True
    say(f"{'hook point':<11} {'model':<12} {'kind':<7} {'direction':<10} {'patches':>7} {'moved':>7}")
    say("".join(f" {column:>8}" for column in COLUMNS) + "\n")
    for name in args.models or names:
        each = subject(name)
        for kind in each.kinds:
            spec = Spec(experiments=("position",), thoughts=kind, n_thoughts=N_LATENTS)
            sides: dict[str, Sides] = {
                length: [pair_layouts(each.wide, spec, pair) for pair in pairs] for length, pairs in LENGTHS.items()
            }
            for direction, own in (("denoise", 1), ("noise", 0)):
                for hook, point in POINTS.items():
                    if not point.hooks and kind != "latent":
                        continue
                    line = Line()
                    for pairs in sides.values():
                        compare(line, each, [pair[own] for pair in pairs], [pair[1 - own] for pair in pairs], hook)
                    found = {column: getattr(line, column) for column in COLUMNS}
                    sound &= line.sound
                    widest = {column: max(most, found[column]) for column, most in widest.items()}
                    say(f"{hook:<11} {name:<12} {kind:<7} {direction:<10} {line.patches:>7} {line.moved:>7.2g}")
                    say("".join(f" {off:>8.1e}" for off in found.values()) + "\n")
                    sys.stdout.flush()
    say("largest" + " " * 52 + "".join(f" {off:>8.1e}" for off in widest.values()) + "\n")
    return int(not sound)


if __name__ == "__main__":
    raise SystemExit(main())
