"""Plant every fault of `tests/support/engine_faults.py` in the fast engine, at some shapes, and print which are found.

    python scripts/planted_faults.py demo deep
    python scripts/planted_faults.py PATH_OF_BASE --codi PATH --lora-alpha 32 --latents 6 --pairs FILE

A shape is `demo`, `deep` (random, six layers and six latents) or the folder of a base model. A margin is the distance
of the wrong logits from float64 over the largest that is taken for rounding: above 1 the fault is found. The row
"none" is the engine as it is.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import pytest
from engine_faults import FAULTS, Remembering, draw, make_cell
from models_under_test import model_under_test

from mechpatch.data import pair_path
from mechpatch.errors import NumericsError
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.spec import Spec
from mechpatch.models import load_model
from mechpatch.pairs import load_pairs
from mechpatch.patching.patch import Patch

DEEP = "deep"
PATCH = Patch(0, (1, 2))  # at t0 and t1; site 0 is bot
Row = tuple[str, int, int, float]  # fault, times planted, times found, smallest margin


def make_check(shape: str, args: argparse.Namespace) -> Remembering:
    """A check of one patch on one shape: in the first block, at two thoughts, so that most of the engine is at work."""
    if shape == DEEP:
        model = model_under_test("deep-float32")
    else:
        model = load_model(shape, codi=args.codi if shape != "demo" else None, lora_alpha=args.lora_alpha, device="cpu")
    spec = Spec(experiments=("position",), n_thoughts=args.latents or model.n_latents)
    pairs = load_pairs(pair_path("demo" if shape in ("demo", DEEP) else args.pairs))[: args.count]
    return Remembering(make_cell(model, [pair_layouts(model, spec, pair) for pair in pairs], PATCH))


def plant_all(check: Remembering, seeds: Sequence[int]) -> Iterator[Row]:
    """Each fault at each seed; first none at all, which must not be found."""
    yield "none", 1, int(_found(check, sound := check.cell.run())), check.margin(sound)
    for name, plant in FAULTS.items():
        margins, found = [], 0
        for seed in seeds:
            with pytest.MonkeyPatch.context() as planting:
                plant(planting, draw(check.cell, seed))
                wrong = check.cell.run()
            margins.append(check.margin(wrong))
            found += _found(check, wrong)
        yield name, len(seeds), found, min(margins)


def _found(check: Remembering, logits: object) -> bool:
    try:
        check.cell.held(check, logits)  # pyright: ignore[reportArgumentType]
    except NumericsError as error:
        return "the fast engine is wrong" in str(error)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="+")
    parser.add_argument("--codi")
    parser.add_argument("--lora-alpha", type=float)
    parser.add_argument("--latents", type=int)
    parser.add_argument("--pairs", default="demo")
    parser.add_argument("--count", type=int, default=1, help="pairs in the batch")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    missed = 0
    say = sys.stdout.write
    say(f"{'shape':<12} {'fault':<36} {'planted':>7} {'found':>5} {'smallest margin':>15}\n")
    for shape in args.shapes:
        for name, planted, found, margin in plant_all(make_check(shape, args), range(args.seeds)):
            say(f"{Path(shape).name:<12} {name:<36} {planted:>7} {found:>5} {margin:>15.3g}\n")
            sys.stdout.flush()
            missed += found if name == "none" else planted - found
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
