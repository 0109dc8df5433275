"""Batches that are run elsewhere: their parts may come in any order, and what is left is the same, byte for byte."""

import random
from dataclasses import dataclass

import pytest
from faults.runs import left_by

from mechpatch import workflow
from mechpatch.experiments.running.where import Here
from mechpatch.experiments.spec import Spec

SPEC = Spec(experiments=("layer",), layers=(1,), nulls=("self",), batch_size=1, checks=0)


@dataclass
class Elsewhere:
    """Runs each batch by itself, as another process would, and gives all parts in an order of its own."""

    seed: int
    at_once: int = 2
    given: int | None = None  # parts, after which it fails

    def __call__(self, experiment, todos, tick):
        parts = []
        for number, todo in enumerate(todos):
            alone = Here(None)(experiment, [todo], tick)
            parts += [ran._replace(number=number) for ran in alone]
        random.Random(self.seed).shuffle(parts)
        yield from parts[: self.given]
        if self.given is not None:
            raise MemoryError


def small_run(model, folder, run_batches=None):
    file = workflow.read_pairs("demo", model, SPEC, limit=3)
    return workflow.run_to_directory(
        model, SPEC, file, folder / "run", cache=None, run_batches=run_batches, drawn=False
    )


@pytest.fixture(scope="module")
def here(demo_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    small_run(demo_model, folder)
    return left_by(folder)


def test_parts_may_come_in_any_order(demo_model, tmp_path, here):
    assert small_run(demo_model, tmp_path, Elsewhere(seed=1)).summary.run.sections["patched"] > 0
    assert left_by(tmp_path) == here


def test_what_came_before_a_failure_is_kept(demo_model, tmp_path, here):
    with pytest.raises(MemoryError):
        small_run(demo_model, tmp_path, Elsewhere(seed=0, given=3))
    assert len([*(tmp_path / "run" / "shards").glob("*.parquet")]) == 3
    small_run(demo_model, tmp_path)
    assert left_by(tmp_path) == here


def test_a_part_that_is_not_given_is_noticed(demo_model, tmp_path):
    class Lazy(Elsewhere):
        def __call__(self, experiment, todos, tick):
            yield from [*super().__call__(experiment, todos, tick)][:-1]

    with pytest.raises(AssertionError, match="parts of 1 batches were not given"):
        small_run(demo_model, tmp_path, Lazy(seed=0))
