"""What `gpu_check.sh` runs, step by step: each a command with a limit; what fails is shown, and the rest goes on.

    python scripts/gpu_check.py [--out gpu-check.json] [--minutes 8] [--device cuda] [--try]

Exit code 1 if a step failed or found no time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmark.journal import Journal
from benchmark.table import summarise

KEPT = 2000  # characters of what a step that failed said last
PAIRS, LATENTS = 57, 5
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command.

    Attributes:
        seconds: its limit.
        figures: what is to be kept of it, read from what it printed.
        env: variables beside those of this process.
    """

    name: str
    command: Sequence[str]
    seconds: float
    figures: Callable[[str], Figures] = lambda printed: {}
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a step: `ok`, or why not."""

    name: str
    became: str
    seconds: float
    figures: Figures
    command: str
    said: str = ""


def steps(device: str, folder: Path, small: bool) -> list[Step]:
    """All steps; the 1B checkpoint is made in `folder`."""
    made = ["--model", str(folder / "base"), "--codi", str(folder / "codi"), "--latents", str(LATENTS)]
    shape, pairs, on = "tiny" if small else "1b", 3 if small else PAIRS, ["--device", device]
    layers = ["--layers", "0"] if small else []
    mechpatch, python = [sys.executable, "-m", "mechpatch"], [sys.executable]
    tests = ["tests/device", *(["-k", "refuses or moved"] if small else [])]
    found = [
        Step(name="machine", command=[*python, "-c", MACHINE, device], seconds=30, figures=json.loads),
        Step(
            name="tests of devices",
            command=[*python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
            seconds=100,
            figures=last_line,
        ),
        Step(
            name="laws, demo, float32",
            command=[*mechpatch, "verify", "--model", "demo", *layers, *on, "--json"],
            seconds=60,
            figures=of_laws,
        ),
        Step(
            name=f"checkpoint, {shape}",
            command=[
                *python,
                "scripts/make_checkpoint.py",
                "--shape",
                shape,
                "--dtype",
                "bfloat16",
                "--out",
                str(folder),
            ],
            seconds=120,
        ),
    ]
    for dtype in ("float32", "bfloat16"):
        out = folder / f"run-{dtype}"
        cut = ["--limit", str(pairs), "--dtype", dtype, "--out", str(out), "--cache", str(folder / "cache")]
        command = [*mechpatch, "run", "all", *made, "--pairs", "demo", *cut, *layers, *on, "--json"]
        found.append(Step(name=f"{pairs} pairs, {shape}, {dtype}", command=command, seconds=90, figures=of_run(out)))
    out = folder / "bench.json"
    asked = ["--shape", shape, "--thoughts", str(LATENTS), "--rounds", "1", "--out", str(out), *on]
    if small:
        asked += ["--question", "6", "--cells", "1"]
    found.append(
        Step(
            name=f"others, {shape}, float32",
            command=[*python, "scripts/bench.py", *asked],
            seconds=90,
            figures=lambda printed: of_bench(out),
        )
    )
    laws = [*mechpatch, "verify", *made, "--pairs", "demo", *layers, *on, "--json"]
    found.append(Step(name=f"laws, {shape}, float32", command=laws, seconds=120, figures=of_laws))
    return found


# The settings on which rounding depends, and the GPU.
MACHINE = """
import json, sys, torch
from mechpatch.patching.memory import Memory
from mechpatch.patching.settings import settings
device = torch.device(sys.argv[1])
assert device.type != "cuda" or torch.cuda.is_available(), "torch finds no GPU"
print(json.dumps(settings(device, Memory.of(device))))
"""


def last_line(printed: str) -> Figures:
    """What pytest says in the end."""
    return {"tests": printed.strip().splitlines()[-1].strip("= ")}


def of_laws(printed: str) -> Figures:
    """How many laws hold, and which do not."""
    laws = json.loads(printed)["laws"]
    by_verdict = {verdict: [law["key"] for law in laws if law["verdict"] == verdict] for verdict in ("holds", "FAILS")}
    return {"laws that hold": len(by_verdict["holds"]), "failed": by_verdict["FAILS"]}


def of_run(out: Path) -> Callable[[str], Figures]:
    """Seconds of a run by section, and its peak memory."""

    def read(printed: str) -> Figures:
        run = json.loads((out / "summary.json").read_text(encoding="utf-8"))["run"]
        rounding = {name: run["rounding"][name] for name in ("floor", "difference")}
        kept = {name: run[name] for name in ("run_seconds", "sections", "peak_memory_bytes")}
        return {"pairs": json.loads(printed)["counts"]["pairs"], **kept, "rounding": rounding}

    return read


def of_bench(out: Path) -> Figures:
    """Seconds of the engine, and how many times as long the others take, by kind of thoughts."""
    found: Figures = {}
    for case in summarise(Journal(out)):
        others = {row["name"]: row.get("reason") or round(row["ratio"][0], 2) for row in case["rows"]}
        found[case["kind"]] = {"sweep": case["sweep"], "job": case["job"], "times as long": others}
    return found


def run_step(step: Step, left: float) -> Done:
    """Run a step for at most its limit and the time that is left, and read its figures."""
    command, limit, started = " ".join(step.command), min(step.seconds, left), time.monotonic()
    if limit <= 0:
        return Done(step.name, "no time was left", 0.0, {}, command)
    env = {**os.environ, **step.env}
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(step.command, stdout=printed, stderr=said, env=env, start_new_session=True) as process:
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
                code = None
        seconds = round(time.monotonic() - started, 1)
        texts = []
        for file in (printed, said):
            file.seek(0)
            texts.append(file.read())
    output, last = texts[0], "\n".join(texts)[-KEPT:]
    if code is None:
        return Done(step.name, f"stopped after {limit:.0f} s", seconds, {}, command, last)
    figures, became = {}, "ok" if code == 0 else f"failed: exit code {code}"
    try:
        figures = step.figures(output)
    except Exception as error:  # whatever a step printed, its row says what became of it
        became = became if code else f"unread: {type(error).__name__}: {error}"
    return Done(step.name, became, seconds, figures, command, "" if became == "ok" else last)


def run_all(todo: Sequence[Step], minutes: float, out: Path) -> list[Done]:
    """Run step after step; the file holds what is done as soon as it is."""
    ends, done = time.monotonic() + 60 * minutes, list[Done]()
    for step in todo:
        say(f"{step.name} …\n")
        done.append(run_step(step, ends - time.monotonic()))
        out.write_text(json.dumps({"steps": [asdict(each) for each in done]}, indent=1), encoding="utf-8")
    return done


def table(done: Sequence[Done]) -> Iterator[str]:
    """A line for each step, and what those that failed said last."""
    for each in done:
        told = "; ".join(f"{name} {_short(value)}" for name, value in each.figures.items())
        yield f"{each.name:28} {each.became:24} {each.seconds:7.1f} s  {told}"
    for each in done:
        if each.said:
            yield f"\n{each.name}: {each.command}\n{each.said.strip()}"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_short(each)}" for name, each in value.items()) + ")"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"))
    parser.add_argument("--minutes", type=float, default=8.0, help="for all steps together")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--try", action="store_true", dest="small", help="on the CPU, with a miniature")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done = run_all(steps("cpu" if args.small else args.device, Path(folder), args.small), args.minutes, args.out)
    sys.stdout.write("\n".join([*table(done), f"\n{args.out}\n"]))
    if any(each.became != "ok" for each in done):
        sys.exit(1)


if __name__ == "__main__":
    main()
