"""A small whole run on the demo model, and the comparison of what two runs left."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from mechpatch import workflow
from mechpatch.experiments.pair_file import PairFile
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.storage.atomic import TEMPORARY
from mechpatch.storage.keys import file_digest

SPEC = Spec(experiments=("layer",), nulls=("other_pair",), batch_size=2, checks=1)
PAIRS = 4


def small_run(model: ThoughtModel, folder: Path, spec: Spec = SPEC, pairs: int = PAIRS) -> workflow.Finished:
    """Run `spec` into `folder`/run with the cache in `folder`/cache, or go on with what is there."""
    file = demo_pairs(model, spec, pairs)
    return workflow.run_to_directory(model, spec, file, folder / "run", cache=folder / "cache")


@cache
def demo_pairs(model: ThoughtModel, spec: Spec, limit: int) -> PairFile:
    """The shipped pairs, which are read and laid out once for all runs of a model."""
    return workflow.read_pairs("demo", model, spec, limit=limit)


def left_by(folder: Path) -> dict[str, Any]:
    """What a finished run left in `folder`/run, as far as it must not depend on how often it was interrupted."""
    run = folder / "run"
    found: dict[str, Any] = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        name = str(path.relative_to(run))
        if path.name in ("spec.json", "summary.json"):
            value = json.loads(path.read_bytes())
            for cost in ("seconds", "run_seconds", "sections", "expected", "peak_memory_bytes"):
                value.get("run", {}).pop(cost, None)
            found[name] = {key: each for key, each in value.items() if key not in ("created", "sha256")}
        elif path.name not in ("run.log", "run.lock"):
            found[name] = path.read_bytes()
    return found


def half_written(folder: Path) -> list[Path]:
    """Files in `folder`/run that are neither whole nor absent: a shard that is not what its name says, broken JSON."""
    broken = []
    for path in (folder / "run").rglob("*"):
        if path.suffix == ".json" and not path.name.startswith(TEMPORARY):
            try:
                json.loads(path.read_bytes())
            except ValueError:
                broken.append(path)
        elif path.parent.name == "shards" and path.suffix == ".parquet":
            broken += [] if file_digest(path).startswith(path.stem.split("-")[1]) else [path]
    return broken
