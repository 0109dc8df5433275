"""How fast every patch of a pair is run: this engine, plain hooks, other libraries, and the limit.

    python scripts/bench.py --shape demo                    # seconds
    python scripts/bench.py --shape 1b --out bench-1b.json  # LLaMA-3.2-1B's, random weights; 12 GB, an hour
    python scripts/bench.py --shape 1b --scaling            # cost against pairs, layers, thoughts, question
    python scripts/bench.py --shape 1b --hooks attn_out z   # other hook points, against plain hooks
    python scripts/bench.py --shape 1b --profile            # where the time of the engine goes

One process measures everything in interleaved rounds; a ratio is formed within a round, and its median over rounds is
shown, by wall time and, in brackets, by CPU time, which other processes disturb less. Slow contenders run a few patches
of the sweep, spread over layers and thoughts, and are extrapolated. Each measurement is in the file as soon as it is
taken: Ctrl-C loses at most one, and the same command goes on from there, if need be in the middle of a round.
nnsight and pyvene are measured where `pip install mechpatch[bench]` has put them.
"""

import argparse
import sys
import warnings
from pathlib import Path

import torch
from benchmark.cases import KINDS, PREFIX, make_case, make_model
from benchmark.contenders import CONTENDERS
from benchmark.journal import Journal
from benchmark.measure import OURS, Group, warm_up
from benchmark.points import measure_points, show_points
from benchmark.scaling import draw, measure_scaling
from benchmark.spent import measure_spent, show_spent
from benchmark.table import EXACT, inexact, show, summarise

from mechpatch.points import POINTS
from mechpatch.storage.atomic import write_bytes

NAMES = (*OURS, *(each.name for each in CONTENDERS))
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=("demo", "1b", "medium", "tiny"), default="demo")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="of thoughts")
    parser.add_argument("--thoughts", nargs="+", type=int, default=[5, 6])
    parser.add_argument("--question", type=int, default=100, help="tokens")
    parser.add_argument("--prefix", type=int, default=PREFIX, help="tokens between eot and the answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cells", type=int, default=2, help="patches that a slow contender runs in each round")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="measure these alone")
    parser.add_argument("--hooks", nargs="+", choices=POINTS, help="measure these hook points alone, latent thoughts")
    parser.add_argument("--scaling", action="store_true", help="measure what the cost depends on, and draw it")
    parser.add_argument("--profile", action="store_true", help="measure where the time of a sweep goes")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    args = parser.parse_args()
    # Warnings of the libraries that are measured.
    warnings.simplefilter("ignore")
    torch.set_float32_matmul_precision("highest")
    journal = Journal(args.out)
    say(f"making the {args.shape} model")
    model = make_model(args.shape, DTYPES[args.dtype], device=args.device)
    key = {"shape": args.shape, "dtype": args.dtype}
    try:
        if args.scaling:
            measure_scaling(model, key, journal, args.rounds, say)
        elif args.profile:
            warm_up(model)
            for kind in args.kinds:
                case = make_case(model, kind, args.thoughts[0], args.question, args.prefix)
                about = {"kind": kind, "thoughts": args.thoughts[0], "question": args.question, "prefix": args.prefix}
                measure_spent(case, key | about, journal, args.rounds, say)
        elif args.hooks:
            warm_up(model)
            case = make_case(model, "latent", args.thoughts[-1], args.question, args.prefix)
            key |= {"kind": "latent", "thoughts": args.thoughts[-1], "question": args.question, "prefix": args.prefix}
            measure_points(case, key, journal, args.hooks, args.rounds, args.cells, say)
        else:
            warm_up(model)
            groups = [
                Group(
                    key={**key, "kind": kind, "thoughts": count, "question": args.question, "prefix": args.prefix},
                    case=make_case(model, kind, count, args.question, args.prefix),
                    cells=args.cells,
                )
                for kind in args.kinds
                for count in args.thoughts
            ]
            for _ in zip(*(each.measure(journal, args.rounds, args.only, say) for each in groups), strict=True):
                pass
    except KeyboardInterrupt:
        say(f"stopped; {args.out} holds what was measured, and the same command goes on")
        sys.exit(130)
    finally:
        say("")
        summary = summarise(journal)
        table = show_points(journal) if args.hooks else show_spent(journal) if args.profile else show(summary)
        sys.stdout.write("\n".join(table) + "\n")
    if args.scaling:
        picture = args.out.with_suffix(".png")
        write_bytes(picture, draw(journal))
        sys.stdout.write(f"{picture}\n")
    if wrong := inexact(summary):
        sys.exit("\n".join([f"error: more than {EXACT:.0e} was not expected:", *wrong]))


def say(text: str) -> None:
    """The progress line on stderr; on a terminal it overwrites itself."""
    sys.stderr.write(f"\r\033[K{text}" if sys.stderr.isatty() else f"{text}\n" * bool(text))
    sys.stderr.flush()


if __name__ == "__main__":
    main()
