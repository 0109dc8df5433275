"""A finished run, opened again: what it was asked, over which pairs, with which model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechpatch.errors import MechpatchError, SpecError, StorageError
from mechpatch.experiments.growth import spec_from
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair, Side, answer_text
from mechpatch.reprs import short_repr
from mechpatch.stats.finished import FinishedRun
from mechpatch.storage.results import PAIRS

_OTHER = "the run was made by another version of mechpatch, or by hand; run it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """What `spec.json` and `pairs.json` of a run say.

    Attributes:
        fingerprint: fingerprint of the model that was run.
        model: where it came from and its settings, see `ThoughtModel.about`.
        pairs: every pair that could be run, by its index.
        names: ids of those that were run.
    """

    folder: Path
    spec: Spec
    fingerprint: str
    model: dict[str, Any]
    pairs: list[Pair]
    names: list[str]

    __repr__ = short_repr

    def index(self, pair_id: str) -> int:
        """Index of a pair of the run. Raises `SpecError` that names some pairs if it is not there."""
        if pair_id in self.names:
            return [pair.pair_id for pair in self.pairs].index(pair_id)
        more = f" and {len(self.names) - 5} more" if len(self.names) > 5 else ""
        raise SpecError(f"{self.folder}: no pair {pair_id!r}; the run has {', '.join(self.names[:5])}{more}")

    def check(self, model: ThoughtModel) -> None:
        """Raise a `SpecError` if `model` is not the one that was run."""
        if model.fingerprint != self.fingerprint:
            raise SpecError(
                f"{self.folder}: was run with the model {self.fingerprint} ({self.model.get('base')}), and "
                f"{model.about.get('base')} is {model.fingerprint}: other weights, adapter, alpha, tokenizer, dtype or "
                "number of latents. Give the model of the run"
            )


def reopen(run: FinishedRun) -> Reopened:
    """Understand what a run was asked. Raises `StorageError` if it is no run or its files do not fit together."""
    found, folder = run.spec, run.folder
    try:
        spec = spec_from(_object(found["spec"]))
        environment, model = _object(found["environment"]), _object(found["model"])
        about, fingerprint, kept = _object(environment["model"]), str(model["fingerprint"]), _object(found["pairs"])
        pairs = [_pair(_object(each)) for each in run.pairs["pairs"]]
        names = [str(name) for name in kept["run"]]
        if [pair.pair_id for pair in pairs] != kept["kept"] or not {*names} <= {*kept["kept"]}:
            raise StorageError(f"{folder / PAIRS}: holds other pairs than spec.json says; {_OTHER}")
    except MechpatchError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{folder}: cannot be understood ({type(error).__name__}: {error}); {_OTHER}") from error
    return Reopened(folder=folder, spec=spec, fingerprint=fingerprint, model=about, pairs=pairs, names=names)


def _pair(described: dict[str, Any]) -> Pair:
    clean, corrupted = (
        Side(
            str(side["question"]), answer_text(side["answer"]), side.get("cot"), _but(side, "question", "answer", "cot")
        )
        for side in (_object(described["clean"]), _object(described["corrupted"]))
    )
    return Pair(str(described["pair_id"]), clean, corrupted, _but(described, "pair_id", "clean", "corrupted", "layout"))


def _but(found: dict[str, Any], *names: str) -> dict[str, Any]:
    """The other fields."""
    return {name: value for name, value in found.items() if name not in names}


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"found a {type(value).__name__}, expected an object")
    return value
