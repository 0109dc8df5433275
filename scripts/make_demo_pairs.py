"""Write the shipped demo pairs: held-out problems of the demo model's world, one number changed by one.

python scripts/make_demo_pairs.py --out mechpatch/data/demo/pairs.json
"""

import argparse
import json
from pathlib import Path

from mechpatch.pairs.demo import demo_pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=72)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    lines = ",\n".join(json.dumps(pair) for pair in demo_pairs(args.count, args.seed))
    args.out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
