"""What a Ray cluster costs: the demo's batches in this process, on one worker and on two, measured and drawn.

    OMP_NUM_THREADS=1 python scripts/cluster_cost.py --out mechpatch/data/demo/cluster.png [--batches 10,100,1000]
        [--rows rows.json]

One pair is one batch, so that what a batch costs beside its work shows as much as it ever can. Records of all ways are
compared byte for byte. Rows are kept in a file, and drawn anew from it where they are there.
"""

import argparse
import io
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running.run import run_experiment
from mechpatch.experiments.spec import Spec
from mechpatch.library import load_pairs
from mechpatch.models import load_model
from mechpatch.scale import Cluster
from mechpatch.storage.atomic import write_bytes, write_json
from mechpatch.storage.keys import file_digest
from mechpatch.storage.results import open_run
from mechpatch.views.figures.theme import BLUE, INK, MUTED, style

log = logging.getLogger("cluster_cost")
SPEC = Spec(experiments=("layer",), batch_size=1, checks=0)
WAYS = {0: ("in this process", INK, "-"), 1: ("one worker", BLUE, "--"), 2: ("two workers", "#d55e00", "-.")}


def main() -> None:
    """Measure what is not there yet, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=Path, default=Path("rows.json"))
    parser.add_argument("--batches", default="10,100,1000")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    log.setLevel(logging.INFO)
    rows = json.loads(given.rows.read_text()) if given.rows.exists() else []
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    for batches in map(int, given.batches.split(",")):
        for workers in WAYS:
            if not any((row["batches"], row["workers"]) == (batches, workers) for row in rows):
                rows.append(measured(batches, workers))
                log.info("%s", rows[-1])
                write_json(given.rows, rows)
    write_bytes(given.out, draw(rows))


def measured(batches: int, workers: int) -> dict[str, Any]:
    """Wall and CPU seconds of a run, from its first batch to its table; `started` is what came before."""
    model, pairs = load_model("demo", device="cpu"), load_pairs("demo")
    many = [replace(pairs[at % len(pairs)], pair_id=f"pair-{at}") for at in range(batches)]
    experiment = Experiment.prepare(model, SPEC, many)
    with tempfile.TemporaryDirectory() as folder, open_run(Path(folder) / "run", {"machine": {}}) as directory:
        cluster = Cluster(workers=workers) if workers else None
        begun, ticks = time.monotonic(), list[float]()
        with cpu_of_workers() as theirs:
            mine = time.process_time()
            run_experiment(experiment, directory, None, lambda _: ticks.append(time.monotonic()), run_batches=cluster)
            ended = time.monotonic()
            mine = time.process_time() - mine
        return {
            "batches": batches,
            "workers": workers,
            "wall": round(ended - begun, 2),
            "to_first_batch": round(ticks[1] - begun, 2),  # the first tick tells what was there
            "cpu_driver": round(mine, 2),
            "cpu_workers": round(sum(theirs.values()), 2),
            "load": round(os.getloadavg()[0], 1),
            "sha256": file_digest(directory.folder / "effects.parquet"),
        }


@contextmanager
def cpu_of_workers() -> Iterator[dict[int, float]]:
    """CPU seconds of every worker by process, loading included, as far as they were when it was last looked at."""
    found: dict[int, float] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                try:
                    if "ray::Worker" in "".join(process.cmdline()):
                        found[process.pid] = sum(process.cpu_times()[:2])
                except psutil.NoSuchProcess:
                    continue

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def draw(rows: list[dict[str, Any]]) -> bytes:
    """A PNG of two panels over the number of batches: wall time, and CPU time of driver and workers together."""
    with style():
        figure = Figure(figsize=(7.0, 3.2), layout="constrained")
        for panel, title in zip(figure.subplots(1, 2), ("Wall time", "CPU time, driver and workers"), strict=True):
            for workers, (label, colour, line) in WAYS.items():
                mine = sorted((row for row in rows if row["workers"] == workers), key=lambda row: row["batches"])
                taken = [
                    row["wall"] if title == "Wall time" else row["cpu_driver"] + row["cpu_workers"] for row in mine
                ]
                panel.plot([row["batches"] for row in mine], taken, line, marker="o", color=colour, label=label)
            panel.set(xscale="log", yscale="log", xlabel="batches of one pair", ylabel="seconds", title=title)
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            panel.legend()
        loads = [row["load"] for row in rows]
        figure.supxlabel(
            f"Demo model, layer-wise, one thread a process, 2 cores; load of the machine {min(loads)} to {max(loads)}. "
            "Start of Ray and loading in the workers are included.",
            fontsize=7, color=MUTED,
        )  # fmt: skip
        image = io.BytesIO()
        figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


if __name__ == "__main__":
    main()
