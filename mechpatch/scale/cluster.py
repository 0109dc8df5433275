"""Batches on the workers of a Ray cluster; what they give is handed to the driver, which keeps it.

One actor is one worker: it loads the model once and runs one batch after the other. A batch whose worker dies is run by
another one. A batch that takes several workers down is set aside, so that all others are run and kept, and then named.
"""

import logging
import os
import re
import sys
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mechpatch.errors import MechpatchError, SpecError, WorkerError
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.pinned import require_same_settings
from mechpatch.experiments.running.batches import Tick, Todo
from mechpatch.experiments.running.where import Ran
from mechpatch.scale.order import Order
from mechpatch.scale.worker import Worker

log = logging.getLogger(__name__)

LOCAL = "local"
TRIES = 3  # workers that a batch may take down
SHOWN = 8  # pairs that a message names


@dataclass(slots=True, kw_only=True)
class Cluster:
    """Runs batches on Ray; see `experiments.running.where.RunBatches`.

    Attributes:
        address: local (Ray is started on this machine and stopped again), auto (the cluster that this machine belongs
            to) or HOST:PORT. A Ray that this process is connected to already is taken as it is.
        workers: how many; None for as many as there is room for.
        gpus_per_worker: None for 1 where the model is on a GPU, and 0 elsewhere.
        cache: folder of unpatched runs and merged weights, the same path on every machine; None for none.
        mixed: take workers with other settings than the driver's; recorded, and reported.
        at_once: batches that run at the same time, once they run.
    """

    address: str = LOCAL
    workers: int | None = None
    gpus_per_worker: int | float | None = None
    cache: Path | None = None
    mixed: bool = False
    at_once: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise SpecError(f"--workers is {self.workers}, expected at least 1")
        if self.gpus_per_worker is not None and not self.gpus_per_worker >= 0:
            raise SpecError(f"--gpus-per-worker is {self.gpus_per_worker:g}, expected 0 or more")

    def __call__(self, experiment: Experiment, todos: Sequence[Todo], tick: Tick) -> Generator[Ran, None, None]:
        """Every part of every batch, as it comes.

        Raises:
            WorkerError: there is no Ray, no room for a worker, or batches that take workers down.
            SpecError: workers could not load what the run is of, or have other settings.
            CheckpointError, NumericsError: what a worker raised.
        """
        order = Order.of(experiment, self.cache)
        needs = self._needs(order)
        with connected(self.address) as ray:
            room = _room(ray.nodes(), needs)
            if not room:
                raise WorkerError(
                    f"no machine of the cluster has room for a worker, which takes {_told(needs)}; it has "
                    f"{_told(ray.cluster_resources())}. Give fewer threads (OMP_NUM_THREADS) or --gpus-per-worker"
                )
            wanted = min(self.workers or room, len(todos))
            self.at_once = min(wanted, room)
            if wanted > room:
                log.warning("room for %d of %d workers, each of which takes %s", room, wanted, _told(needs))
            log.info("%d workers, each with %s", self.at_once, _told(needs))
            options = {f"num_{name.lower()}s": amount for name, amount in needs.items()}
            hire = ray.remote(Worker).options(**options, scheduling_strategy="SPREAD", max_restarts=0)
            crew = _Crew(ray, hire, ray.put(order), order, experiment, todos, wanted, self.mixed)
            try:
                for ran in crew.run():
                    yield ran
                    tick(len(ran.part.cells) * len(todos[ran.number].batch))
            finally:
                crew.dismiss()

    def _needs(self, order: Order) -> dict[str, float]:
        """What one worker takes of a machine."""
        gpus = float(order.device == "cuda" if self.gpus_per_worker is None else self.gpus_per_worker)
        if bool(gpus) != (order.device == "cuda"):
            way = "give --device cuda" if gpus else "give --gpus-per-worker, or --device cpu"
            raise SpecError(f"--gpus-per-worker is {gpus:g}, and the model is on {order.device}: {way}")
        return {"CPU": 1.0, "GPU": gpus} if gpus else {"CPU": float(order.machine["threads"])}


class _Crew:
    """The workers of one call, and what each of them is doing."""

    def __init__(
        self,
        ray: Any,
        hire: Any,
        sent: Any,
        order: Order,
        experiment: Experiment,
        todos: Sequence[Todo],
        wanted: int,
        mixed: bool,
    ) -> None:
        self._ray, self._hire, self._sent, self._order, self._mixed = ray, hire, sent, order, mixed
        self._experiment, self._todos, self._wanted = experiment, todos, wanted
        self._waiting = deque(range(len(todos)))
        self._doing: dict[Any, tuple[Any, int | None]] = {}  # worker and batch by what is awaited; None while it loads
        self._losses: dict[int | None, list[str]] = {}  # how each worker ended that a batch, or loading, took down
        self._hired: list[Any] = []
        self._idle: list[Any] = []
        self._in_a_row = 0

    def run(self) -> Iterator[Ran]:
        """All parts of all batches but those that are set aside; these are named at the end."""
        self._fill()
        while self._doing:
            (done,), _ = self._ray.wait([*self._doing], num_returns=1)
            worker, number = self._doing.pop(done)
            try:
                found = self._found(done)
            except _LostError as error:
                self._lose(worker, number, str(error))
                self._fill()
                continue
            self._idle.append(worker)
            if number is None:
                self._greet(*found)
            self._fill()  # before what it gave is written, so that it need not wait
            if number is not None:
                self._in_a_row = 0
                yield from (ran._replace(number=number) for ran in found)
        if aside := [number for number, ends in self._losses.items() if number is not None and len(ends) >= TRIES]:
            raise self._named(aside)

    def dismiss(self) -> None:
        """End all workers."""
        for worker in self._hired:
            self._ray.kill(worker)

    def _found(self, done: Any) -> Any:
        """What a worker gives. Raises `_LostError` where it is gone, or its memory; otherwise what it raised."""
        try:
            return self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:
            cause: Any = error.cause
            if isinstance(cause, MechpatchError):
                raise cause from None
            if isinstance(cause, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(cause):
                raise _LostError(f"out of memory: {cause}" if str(cause) else "out of memory") from error
            if isinstance(
                cause, ImportError | self._ray.exceptions.RaySystemError
            ):  # the latter while it is handed over
                told = re.findall(r"(?:No module|cannot import|Can't get).*", str(error)) or [str(cause)]
                raise WorkerError(
                    f"a worker cannot import what the run needs: {told[-1]}. It looks where this process does, and in "
                    "PYTHONPATH: give every machine the same packages, and what is your own under the same path"
                ) from error
            raise
        except self._ray.exceptions.RayError as error:
            raise _LostError(" ".join(str(error).split())[:300]) from error

    def _fill(self) -> None:
        """Give what waits to who is idle, and hire for the rest, at most as many workers as were asked for."""
        while self._waiting and self._idle:
            worker, number = self._idle.pop(), self._waiting.popleft()
            self._doing[worker.run.remote(self._todos[number])] = worker, number
        path = [str(Path(each).absolute()) for each in sys.path]
        loading = sum(number is None for _, number in self._doing.values())
        while len(self._doing) < self._wanted and loading < len(self._waiting):
            worker, loading = self._hire.remote(path), loading + 1
            self._hired.append(worker)
            self._doing[worker.ready.remote(self._sent)] = worker, None

    def _greet(self, where: str, machine: Mapping[str, Any]) -> None:
        """Refuse a worker whose settings would make the run a mixture."""
        log.info("a worker is ready: %s", where)
        if not self._mixed:
            try:
                require_same_settings(self._order.machine, machine)
            except SpecError as error:
                raise SpecError(f"a worker, {where}, is not like the driver, where the run {error}") from error

    def _lose(self, worker: Any, number: int | None, how: str) -> None:
        """Note what a worker went down with, and have its batch run again, or set aside."""
        self._ray.kill(worker)
        ends = self._losses.setdefault(number, [])
        ends.append(how)
        self._in_a_row += 1
        what = "while it loaded the model" if number is None else f"with {self._pairs(number)}"
        log.warning("a worker was lost %s: %s", what, how)
        if number is None:
            if len(ends) >= TRIES * self._wanted:
                raise WorkerError(f"{len(ends)} workers went down while they loaded the model, the last one: {how}")
        elif len(ends) < TRIES:
            self._waiting.append(number)
        if self._in_a_row >= TRIES * max(2, self._wanted):
            raise self._named([each for each in self._losses if each is not None])

    def _named(self, numbers: Sequence[int]) -> WorkerError:
        told = "; ".join(self._pairs(number) for number in numbers[:SHOWN])
        return WorkerError(
            f"{told}: each try took a worker down, the last one so: {self._losses[numbers[-1]][-1]}. All that other "
            "batches gave is kept. If memory was short, take fewer workers on a machine and give the same command "
            "again, or a smaller --batch-size or --max-memory in another folder"
        )

    def _pairs(self, number: int) -> str:
        names = [self._experiment.pairs[index].pair_id for index in self._todos[number].batch]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f"the batch of {', '.join(names[:SHOWN])}{more}"


class _LostError(Exception):
    """A worker is gone, and says how."""


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected; nothing of it is reported to anybody, and no dashboard is opened.

    Raises:
        WorkerError: it is not installed, or there is none at `address`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise WorkerError("Ray is not installed; pip install 'mechpatch[scale]', or run without --ray") from error
    if ray.is_initialized():  # somebody else's, who will end it
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address == LOCAL:
        quiet["include_dashboard"] = False
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise WorkerError(
            f"--ray {address}: no cluster can be reached ({error}); start one with `ray start --head`, or give --ray "
            f"{LOCAL} to use this machine alone"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _room(nodes: Sequence[Mapping[str, Any]], needs: Mapping[str, float]) -> int:
    """Workers that the machines of a cluster have room for."""
    able = (node["Resources"] for node in nodes if node["Alive"])
    return sum(min(int(has.get(name, 0) / amount) for name, amount in needs.items()) for has in able)


def _told(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU") if resources.get(name))
