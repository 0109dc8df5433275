"""A finished run, opened again: what it was asked, over which pairs, with which model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechpatch.errors import MechpatchError, SpecError, StorageError
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair, Side, answer_text
from mechpatch.reprs import short_repr
from mechpatch.storage.results import PAIRS, read_pairs, read_spec

_OTHER = "the run was made by another version of mechpatch, or by hand; run it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """What `spec.json` and `pairs.json` of a run say.

    Attributes:
        fingerprint: of the model that was run.
        model: where it came from and its settings, see `ThoughtModel.about`.
        pairs: in the order of the run; their fields are left out.
    """

    folder: Path
    spec: Spec
    fingerprint: str
    model: dict[str, Any]
    pairs: list[Pair]

    __repr__ = short_repr

    def index(self, pair_id: str) -> int:
        """Place of a pair in the run. Raises `SpecError` that names some pairs if it is not there."""
        names = [pair.pair_id for pair in self.pairs]
        if pair_id in names:
            return names.index(pair_id)
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise SpecError(f"{self.folder}: no pair {pair_id!r}; the run has {', '.join(names[:5])}{more}")

    def check(self, model: ThoughtModel) -> None:
        """Raise a `SpecError` if `model` is not the one that was run."""
        if model.fingerprint != self.fingerprint:
            raise SpecError(
                f"{self.folder}: was run with the model {self.fingerprint} ({self.model.get('base')}), and "
                f"{model.about.get('base')} is {model.fingerprint}: other weights, adapter, alpha, tokenizer, dtype or "
                "number of latents. Give the model of the run"
            )


def reopen(folder: Path) -> Reopened:
    """Read what a run was asked. Raises `StorageError` if it is no run or its files do not fit together."""
    found = read_spec(folder)
    try:
        spec = Spec(**{name: _frozen(value) for name, value in _object(found["spec"]).items()})
        environment, model = _object(found["environment"]), _object(found["model"])
        about, fingerprint, kept = _object(environment["model"]), str(model["fingerprint"]), _object(found["pairs"])
        pairs = [_pair(_object(each)) for each in read_pairs(folder)["pairs"]]
        if [pair.pair_id for pair in pairs] != kept["kept"]:
            raise StorageError(f"{folder / PAIRS}: holds other pairs than spec.json says; {_OTHER}")
    except MechpatchError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{folder}: cannot be understood ({type(error).__name__}: {error}); {_OTHER}") from error
    return Reopened(folder=folder, spec=spec, fingerprint=fingerprint, model=about, pairs=pairs)


def _pair(described: dict[str, Any]) -> Pair:
    clean, corrupted = (
        Side(str(side["question"]), answer_text(side["answer"]), side.get("cot"), {})
        for side in (_object(described["clean"]), _object(described["corrupted"]))
    )
    return Pair(str(described["pair_id"]), clean, corrupted, {})


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"found a {type(value).__name__}, expected an object")
    return value


def _frozen(value: Any) -> Any:
    """JSON has lists where a spec has tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
