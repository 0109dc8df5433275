"""Train the shipped models from nothing: miniatures to try mechpatch on.

    python scripts/train_demo_model.py demo-coconut demo-pause demo-names --out mechpatch/data

Each goes to a folder of its name: `base/` (configuration, tokenizer, and weights where the checkpoint is a LoRA), a
checkpoint under the published key names, and `MODEL_CARD.md` with accuracies on held-out problems and the departures
from the published recipe. Each stage is kept in `--work`, so an interrupted training goes on with the stage it was in.
Two threads train demo in half an hour, and the three others together in as much.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from training.demo import train_demo
from training.fitting import say
from training.recipes import RECIPES, train_coconut


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", choices=["demo", *RECIPES], metavar="MODEL", help="%(choices)s")
    parser.add_argument("--out", type=Path, required=True, help="folder of their folders")
    parser.add_argument("--work", type=Path, default=Path("cache/train_demo_model"), help="stage checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.models:
        start = time.monotonic()
        if name == "demo":
            scores = train_demo(args.out / name, args.work, args.seed)
        else:
            scores = train_coconut(name, args.out / name, args.work, args.seed)
        say(f"{name}, {(time.monotonic() - start) / 60:.1f} minutes: {json.dumps(scores, indent=1)}")


if __name__ == "__main__":
    main()
