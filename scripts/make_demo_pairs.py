"""Write the pairs of a shipped model: held-out problems of its world, of which one number or name is changed.

    python scripts/make_demo_pairs.py demo-names --out mechpatch/data/demo-names/pairs.json

Those of `demo` are as they are drawn. Of the others more are drawn and run, and those kept that the model
answers rightly on both sides. `demo-pause` has the pairs of `demo-coconut`, its twin.
"""

import argparse
import itertools
import json
import tempfile
from functools import partial
from pathlib import Path

from mechpatch.experiments.pair_file import read_pairs
from mechpatch.experiments.screening import screen_by_answers
from mechpatch.experiments.spec import Spec
from mechpatch.models import load_model
from mechpatch.pairs.demo import demo_pairs
from mechpatch.pairs.handovers import handover_pairs

# Who makes the pairs of a model, which model answers them, and how many more are drawn than kept.
MADE = {
    "demo-coconut": (demo_pairs, "demo-coconut", 72),
    "demo-pause": (demo_pairs, "demo-coconut", 72),
    "demo-names": (handover_pairs, "demo-names", 9),
}


def write(path: Path, pairs: list[dict]) -> None:
    lines = ",\n".join(map(json.dumps, pairs))
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def answered(name: str, count: int, seed: int) -> list[dict]:
    """Pairs that the model answers rightly on both sides, as many for each number of steps after the change."""
    make, answering, spare = MADE[name]
    drawn, model = make(count + spare, seed), load_model(answering, device="cpu")
    spec = Spec(experiments=("position",))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.json"
        write(file, drawn)
        screening = read_pairs(str(file), model, spec).screening
        kept = screen_by_answers(model, spec, screening, ("both-right",), None, lambda done: None).screening.kept
    right = {pair.pair_id for pair in kept}
    groups = [[each for each in drawn if each["pair_id"] in right and each["steps_after_entry"] == n] for n in range(3)]
    shares = [group[: count // 3 + (n < count % 3)] for n, group in enumerate(groups)]
    return sorted(itertools.chain(*shares), key=lambda each: each["pair_id"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="demo", choices=["demo", *MADE])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=72)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    made = demo_pairs if args.model == "demo" else partial(answered, args.model)
    write(args.out, made(args.count, args.seed))


if __name__ == "__main__":
    main()
