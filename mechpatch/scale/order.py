"""What a worker is told: one frozen value that names the model instead of holding it.

A worker loads the model from the same files, which it must reach under the same paths, and is refused if what it loads
is another one. What is the user's own travels by the name of the module that it is in.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from mechpatch.data import SHIPPED
from mechpatch.errors import SpecError
from mechpatch.experiments.cells import Known
from mechpatch.experiments.described import portable
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.own import Own
from mechpatch.pairs import Pair
from mechpatch.patching.memory import Memory
from mechpatch.patching.settings import settings
from mechpatch.reprs import short_repr
from mechpatch.source import ModelSource
from mechpatch.thoughts import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """All that a worker needs beside the batches themselves.

    Attributes:
        source, dtype, n_ctx: what the model is loaded from, and how.
        device: kind of device.
        fingerprint: of the model that must come of it.
        machine: settings of the driver, which a worker takes where it can.
        precision: of float32 products, as torch calls it.
        cache: folder of unpatched runs and of merged weights, the same path on every machine; None for none.
        spec, pairs, layouts, asked, known, memory: those of the experiment.
        own: metrics, donors and kinds of the user's own.
    """

    source: ModelSource
    dtype: str
    n_ctx: int
    device: str
    fingerprint: str
    machine: dict[str, Any]
    precision: str
    cache: Path | None
    spec: Spec
    pairs: Sequence[Pair]
    layouts: Sequence[tuple[Layout, Layout]]
    asked: Sequence[int]
    known: Known
    memory: Memory
    own: Own

    __repr__ = short_repr

    @classmethod
    def of(cls, experiment: Experiment, cache: Path | None) -> "Order":
        """The order for an experiment.

        Raises:
            SpecError: workers could not load its model, or what is the user's own.
        """
        require_importable(experiment.own)
        model = experiment.model
        return cls(
            source=source_of(model),
            dtype=str(model.about["dtype"]),
            n_ctx=model.n_ctx,
            device=model.device.type,
            fingerprint=model.fingerprint,
            machine=settings(model.device),
            precision=torch.get_float32_matmul_precision(),
            cache=None if cache is None else cache.absolute(),
            spec=experiment.spec,
            pairs=experiment.pairs,
            layouts=experiment.layouts,
            asked=experiment.asked,
            known=experiment.known,
            memory=experiment.memory,
            own=experiment.own,
        )

    def experiment(self, model: ThoughtModel) -> Experiment:
        """The experiment, with a model that was loaded for it."""
        return Experiment(
            model=model,
            spec=self.spec,
            pairs=self.pairs,
            layouts=self.layouts,
            asked=self.asked,
            own=self.own,
            known=self.known,
            pinned=self.memory,
        )


def source_of(model: ThoughtModel) -> ModelSource:
    """What a model was loaded from, with whole paths. Raises `SpecError` for a model that no files name."""
    source = ModelSource.recorded(portable(model.about))
    base = str(source.base)
    if base not in SHIPPED and " " in base and not Path(base).exists():  # as `wrap` calls what it was given
        raise SpecError(
            f"{base}: workers load the model from its files, and this one was made in memory. Save it, and load it "
            "with load_model"
        )
    names = ("adapter", "codi", "coconut") if base in SHIPPED else ("base", "adapter", "codi", "coconut")
    given = {name: getattr(source, name) for name in names}
    whole = {name: str(Path(path).absolute()) for name, path in given.items() if path and Path(path).exists()}
    return replace(source, **whole)


def require_importable(own: Own) -> None:
    """Refuse what workers cannot import by its name. Raises `SpecError` that says where it is to be put."""
    for what, name, function in _functions(own):
        module, named = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
        found: Any = sys.modules.get(module or "")
        for part in named.split("."):
            found = getattr(found, part, None)
        if module in (None, "__main__") or found is not function:
            raise SpecError(
                f"{what} {name!r}: {named or repr(function)} of {module} cannot be imported by its name, and workers "
                "import what is your own: write it as a function of a module, a file on the path of every worker"
            )


def _functions(own: Own) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    for what, values in (("metric", own.metrics), ("donor", own.donors), ("kind", own.kinds)):
        for value in values:
            for each in fields(value):
                if callable(function := getattr(value, each.name)):
                    yield what, value.name, function
