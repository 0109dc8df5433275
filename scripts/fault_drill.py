"""The fault drill: kills, bad disks, damaged files and made-up inputs, many more than the tests try, as a table.

    python scripts/fault_drill.py --seed 0 --kills 20 --refusals 60 --disks 12 --damages 300 --examples 10

The tests in tests/faults run the same code with small counts. Needs Linux; real small disks need the right to mount.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import torch
from faults import damage, disks, fuzz, kills
from transformers.utils import logging as transformers_logging

from mechpatch.models import ThoughtModel, load_model

Row = tuple[str, int, int, str]  # what was done, times, of which survived, in words


def kill(model: ThoughtModel, scratch: Path, count: int, seed: int) -> Iterator[Row]:
    """SIGKILL, once a run and many times one run."""
    found = list(kills.kill_each(model, scratch / "once", count, seed))
    fell = [each for each in found if each.killed]
    faults = [each for each in found if each.fault]
    words = f"{len(fell)} killed before they ended; {faults or 'equal bytes'}"
    yield "SIGKILL, then resumed", len(found), len(found) - len(faults), words
    again, fell_again = kills.kill_again_and_again(model, scratch / "again", count, seed)
    yield "one run killed again and again", fell_again, 0 if again.fault else fell_again, again.fault or "equal bytes"


def refuse(model: ThoughtModel, scratch: Path, count: int, small: int, seed: int) -> Iterator[Row]:
    """Operations that fail, and disks that are too small."""
    yield _refusals("an operation on a file fails", disks.refuse_each(model, scratch / "refused", count, seed))
    try:
        yield _refusals("a real disk is too small", disks.small_disks(model, scratch / "small", small, seed))
    except PermissionError as error:
        yield "a real disk is too small", 0, 0, f"not tried: {error}"


def _refusals(name: str, found: Iterable[disks.Refusal]) -> Row:
    found = list(found)
    faults = [f"{each.place}: {each.fault}" for each in found if each.fault]
    typed = sum(each.code == 3 for each in found)
    return (
        name,
        len(found),
        len(found) - len(faults),
        f"{typed} typed errors, the others went on; {faults or 'no fault'}",
    )


def spoil(model: ThoughtModel, scratch: Path, count: int, seed: int) -> Iterator[Row]:
    """Damaged files."""
    logging.getLogger("mechpatch").setLevel(logging.ERROR)  # every damage is a warning
    files = damage.of_a_run(model, scratch / "run") | damage.of_a_cache(scratch / "cache")
    for name, target in (files | damage.of_checkpoints(scratch / "checkpoints")).items():
        found = damage.damage(target, count, seed)
        total = found.counts.total()
        words = ", ".join(f"{number} {verdict}" for verdict, number in sorted(found.counts.items()))
        yield f"damage: {name}", total, total - len(found.unseen), f"{words} {found.unseen or ''}"


def make_up(model: ThoughtModel, scratch: Path, factor: int, seed: int) -> Iterator[Row]:
    """Inputs made by hypothesis."""
    for name, (target, examples) in fuzz.targets(model, scratch).items():
        try:
            found = fuzz.fuzz(target, examples * factor, seed)
        except Exception as error:
            yield f"fuzz: {name}", examples * factor, 0, f"{type(error).__name__}: {error}"
        else:
            words = f"{found['kept']} kept, {found['refused']} refused"
            yield f"fuzz: {name}", found.total(), found.total(), words


def main() -> None:
    """Print the table; exit code 1 if anything did not survive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=20, help="operations at which a run is killed, 0 for none")
    parser.add_argument("--refusals", type=int, default=60, help="operations that fail")
    parser.add_argument("--disks", type=int, default=12, help="real disks that are too small")
    parser.add_argument("--damages", type=int, default=300, help="damages of each file")
    parser.add_argument("--examples", type=int, default=10, help="times as many inputs as the tests try")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # what libraries say of spoilt files
    transformers_logging.disable_progress_bar()
    model = load_model("demo", device="cpu")
    survived = True
    sys.stdout.write("| fault | tried | survived | | s |\n|---|---|---|---|---|\n")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        rows = []
        if asked.kills:
            rows.append(kill(model, scratch / "kill", asked.kills, asked.seed))
        if asked.refusals:
            rows.append(refuse(model, scratch / "disk", asked.refusals, asked.disks, asked.seed))
        if asked.damages:
            rows.append(spoil(model, scratch / "damage", asked.damages, asked.seed))
        if asked.examples:
            rows.append(make_up(model, scratch / "fuzz", asked.examples, asked.seed))
        started = time.monotonic()
        for name, tried, whole, words in (row for part in rows for row in part):
            seconds, started = time.monotonic() - started, time.monotonic()
            sys.stdout.write(f"| {name} | {tried} | {whole} | {words} | {seconds:.0f} |\n")
            sys.stdout.flush()
            survived = survived and tried == whole
    sys.exit(0 if survived else 1)


if __name__ == "__main__":
    main()
