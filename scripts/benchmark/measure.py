"""One measurement at a time, in an order that puts what is compared side by side, and rounds outermost."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from memory import reset_peak, status
from torch import Tensor

from benchmark import limit
from benchmark.cases import Case, Model, make_case
from benchmark.clock import timed
from benchmark.contenders import CONTENDERS, Contender
from benchmark.journal import Journal
from mechpatch.axes import SiteVectors
from mechpatch.patching import engine
from mechpatch.patching.patch import Patch

OURS = ("rates", "base", "job")  # `base` measures the sweep too
Say = Callable[[str], None]


@dataclass(kw_only=True, eq=False)
class Group:
    """All measurements of one case.

    Attributes:
        key: names the case; goes into every record.
        cells: patches that a contender runs in each round, where it runs them one by one.
        exact: the donor's vectors, and the engine's logits of every patch, once it has run.
    """

    key: dict[str, Any]
    case: Case
    cells: int
    exact: tuple[SiteVectors, dict[Patch, Tensor]] | None = None

    def measure(self, journal: Journal, rounds: int, names: Sequence[str], say: Say) -> Iterator[None]:
        """Take what the journal lacks, one step for each round."""
        for number in range(rounds):
            for name in (*OURS, *(each.name for each in CONTENDERS)):
                key = {**self.key, "what": name, "round": number}
                if name not in names or journal.has(**key):
                    continue
                say(" ".join(map(str, [*self.key.values(), f"round {number + 1} of {rounds}:", name])))
                for record in self._take(name, number):
                    journal.add(**key | record)
            yield

    def _take(self, name: str, number: int) -> list[dict[str, Any]]:
        if name == "rates":
            rates, taken = timed(lambda: limit.measure_rates(self.case.model))
            work = limit.sweep_work(self.case, self.case.position())
            least = {clock: limit.seconds(work, self.case.model, each) for clock, each in rates.items()}
            return [{**taken, "rates": rates, "least": least}]
        if name == "job":
            _, taken = timed(self.case.run_job)
            return [{**taken, "runs": self.case.job}]
        if name == "base":
            return self._engine()
        (contender,) = (each for each in CONTENDERS if each.name == name)
        if self.case.kind not in contender.kinds:
            return [{"reason": f"has no form for {self.case.kind} thoughts"}]
        return [self._contend(contender, number)]

    def _engine(self) -> list[dict[str, Any]]:
        """Both unpatched runs, then the position sweep; memory above what was resident before, weights included."""
        resident = _reset()
        (base, donor), unpatched = timed(self.case.base_runs)
        logits, swept = timed(lambda: sweep(base, donor, self.case.position()))
        memory = (torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else status("VmHWM")) - resident
        self.exact = (donor, logits)
        patches = len(self.case.position())
        work = limit.sweep_work(self.case, self.case.position())
        counted = {"patches": patches, "flops": limit.flops(work, self.case.model), "memory": memory}
        return [{"what": "sweep", **swept, **counted}, {**unpatched, "runs": 2}]

    def _contend(self, contender: Contender, number: int) -> dict[str, Any]:
        if self.exact is None:
            base, donor = self.case.base_runs()
            self.exact = (donor, sweep(base, donor, self.case.position()))
        donor, exact = self.exact
        try:
            run = contender.make(self.case, donor)
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == contender.name
            return {"reason": "not installed" if missing else f"does not import here: {error}"}
        chosen = self.choose(contender, number)
        found, taken = timed(lambda: run(chosen))
        difference = max(
            (exact[patch] - logits).abs().max().item() for patch, logits in zip(chosen, found, strict=True)
        )
        cells = [[patch.layer, *patch.sites] for patch in chosen]
        return {**taken, "patches": len(chosen), "cells": cells, "difference": difference}

    def choose(self, contender: Contender, number: int) -> list[Patch]:
        """Patches spread over layers and thoughts, others in each round; all of one layer for one that runs rows."""
        patches, thoughts, depth = self.case.position(), self.case.thoughts, self.case.model.depth
        if contender.row:
            layer = (number * 2 + 1) * depth // 4 % depth
            return [patch for patch in patches if patch.layer == layer]
        count = min(self.cells, len(patches))
        places = [(place * depth // count + number) % depth for place in range(count)]
        return [Patch(layer, (thoughts[(place + number) % len(thoughts)],)) for place, layer in enumerate(places)]


def _reset() -> int:
    """Bytes that are held, by this process or on its GPU; the peak counts from here."""
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    with contextlib.suppress(OSError):
        reset_peak()
    return status("VmRSS")


def sweep(base: engine.BaseRun, donor: SiteVectors, patches: Sequence[Patch]) -> dict[Patch, Tensor]:
    """Logits of the first pair, by patch."""
    return {patch: outcome.logits[0] for patch, outcome in engine.sweep(base, donor, patches)}


def warm_up(model: Model) -> None:
    """What only a first call does."""
    case = make_case(model, "latent", 1, question=10)
    base, donor = case.base_runs()
    sweep(base, donor, case.position()[-1:])
