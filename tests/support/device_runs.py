"""Small runs of every kind, to be held to each other on different devices."""

from typing import Any

import numpy as np

from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.running.batches import BatchRunner, Todo
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel


def spec_of(*experiments: str, **fields: Any) -> Spec:
    return Spec(experiments=experiments, **{"layers": (1,), "checks": 0, **fields})


def run(model: ThoughtModel, spec: Spec, pairs: Any, cache: Any = None) -> list[Any]:
    """The tables of all batches."""
    experiment = Experiment.prepare(model, spec, pairs)
    unpatched = UnpatchedRuns(model, experiment.layouts, spec.engine, cache, spec.points)
    runner = BatchRunner.prepare(experiment, unpatched, lambda cells: None)
    todos = [Todo.whole(experiment, batch) for batch in experiment.batches]
    return [part.table for todo in todos for part in runner.run(todo)]


def alike(mine: Any, theirs: Any) -> bool:
    numbers = [table.to_pandas().select_dtypes("number").to_numpy(float, na_value=np.nan) for table in (mine, theirs)]
    return bool(np.allclose(*numbers, rtol=1e-3, atol=1e-4, equal_nan=True))


LATENT = {"n_thoughts": 2, "sites": ("t1",)}
SPECS = {
    "relays handed inside waves, and thoughts": spec_of("position", "relay", hooks=("resid_post", "thought"), **LATENT),
    "one patch a chunk": spec_of("relay", memory=1, **LATENT),
    "placeholder": spec_of("relay", thoughts="placeholder", n_thoughts=2, nulls=("other_pair",)),
    "text": spec_of("position", thoughts="text"),
    "heads": spec_of("position", hooks=("k",), **LATENT),
    "plain hooks": spec_of("layer", engine="reference", thoughts="placeholder", n_thoughts=1),
}
SLOW = {
    "all experiments": spec_of("layer", "position", "relay", "cumulative", "pairwise", "window", layers=(0, 3)),
    "all hook points": spec_of(
        "position", "relay", hooks=("resid_pre", "resid_mid", "attn_out", "mlp_out", "z", "k", "v")
    ),
    "both directions, nulls, checks": spec_of(
        "position", "relay", directions=("denoise", "noise"), nulls=("self", "other_pair", "gaussian"), checks=3
    ),
    "plain hooks, rolled out": spec_of("relay", engine="reference"),
    "what runs say": spec_of("position", say=4),
    "thoughts taken away": spec_of("necessity", "count", "early"),
}
