"""One row per pair, cell and donor: the only thing that leaves a run, and all that statistics and views read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mechpatch import metrics
from mechpatch.axes import Logits
from mechpatch.catalogue import STORED, UNPATCHED, from_question
from mechpatch.errors import SpecError
from mechpatch.experiments.running.judged import Judged, judge
from mechpatch.kinds import Cell
from mechpatch.metrics import Answers, Continues
from mechpatch.names import OUTCOMES
from mechpatch.own import Metric
from mechpatch.pairs import Pair
from mechpatch.patching import Batch
from mechpatch.patching.together import Predictions
from mechpatch.patching.wide import float64_device
from mechpatch.reprs import short_repr

OUTCOME, FINITE = "outcome", "finite"
EXPECTED = ("expected_logprob", "expected_logprob_change")
RUNS = ("clean_run", "corrupted_run")
Columns = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unpatched:
    """The unpatched values of a batch, beside which every patched one is stored.

    Attributes:
        baseline: logits of the run that is patched.
        judged: what was read of them.
        values: `answer_metrics` of the clean and of the corrupted run.
        recipient: which of them is patched.
        mask: answer positions at which the distance from it is read.
    """

    baseline: Logits
    judged: Judged
    mask: Bool[Tensor, "pair position"]
    values: tuple[Columns, Columns]
    recipient: int

    __repr__ = short_repr

    @property
    def both_correct(self) -> Bool[np.ndarray, " pair"]:
        """Whether each run gives its own answer, greedily."""
        return (self.values[0][OUTCOME] == 0) & (self.values[1][OUTCOME] == 1)

    def of_pair(self, row: int) -> dict[str, object]:
        """`<metric>_clean_run` and `<metric>_corrupted_run` of one pair of the batch, and `both_correct`."""
        found: dict[str, object] = {"both_correct": bool(self.both_correct[row])}
        for run, values in zip(RUNS, self.values, strict=True):
            found |= {f"{name}_{run}": values[name][row].item() for name in UNPATCHED}
            found[f"{OUTCOME}_{run}"] = OUTCOMES[values[OUTCOME][row]]
        return found


def answer_columns(logits: Logits, batch: Batch, recipient: int, continues: Continues) -> Columns:
    """`metrics.answer_metrics` of one run as arrays; the outcome as an index in `OUTCOMES`."""
    device = float64_device(logits.device)
    found = metrics.answer_metrics(logits.to(device), batch.targets.to(device), recipient, continues)
    return {
        name: tensor.cpu().double().numpy() if tensor.is_floating_point() else tensor.cpu().numpy()
        for name, tensor in found.items()
    }


def effect_columns(
    predictions: Predictions,
    batch: Batch,
    unpatched: Unpatched,
    continues: Continues,
    min_gap: float,
    more: Sequence[Metric] = (),
) -> tuple[Judged, Columns, Bool[np.ndarray, "run pair"]]:
    """What some runs predict; every metric of it, one value per run and pair; and whether all logits are finite.

    Args:
        more: metrics of the user's own.
    """
    judged = judge(predictions, unpatched.judged.asked, unpatched.judged)
    found = judged.answers(continues) | judged.moved(unpatched.mask) | {FINITE: judged.finite}
    values = torch.stack([each.double() for each in found.values()]).cpu().numpy()  # one copy to the host
    columns = dict(zip(found, values, strict=True))
    finite, columns[OUTCOME] = columns.pop(FINITE) > 0, columns[OUTCOME].astype(np.int8)
    answers = Answers(targets=batch.targets, mask=unpatched.mask, recipient=unpatched.recipient)
    columns |= {metric.name: np.full(finite.shape, np.nan) for metric in more}
    for run in range(len(finite) if more else 0):
        logits = predictions.logits(run)
        for metric in more:
            columns[metric.name][run] = own_column(metric, logits, unpatched.baseline, answers)
    clean, corrupted = (torch.from_numpy(side["answer_logprob_diff"]) for side in unpatched.values)
    patched = torch.from_numpy(columns["answer_logprob_diff"])
    columns["recovery"] = metrics.recovery(patched, corrupted, clean, min_gap).numpy()
    return judged, columns | dict.fromkeys(EXPECTED, np.full(finite.shape, np.nan)), finite


def own_column(metric: Metric, logits: Logits, baseline: Logits, answers: Answers) -> Float[np.ndarray, " pair"]:
    """A metric of the user's own as a column. Raises `SpecError` if it is not one finite number, or NaN, per pair."""
    found = torch.as_tensor(metric.function(logits, baseline, answers)).detach().cpu()
    if found.shape != logits.shape[:1] or found.is_complex():
        raise SpecError(
            f"metric {metric.name!r} gave {found.dtype} {[*found.shape]}, expected [{len(logits)}], one a pair"
        )
    values = found.double().numpy()
    if np.isinf(values).any():
        raise SpecError(f"metric {metric.name!r} gave an infinite value; NaN stands for what is undefined")
    return values


def similarity_columns(cosines: Sequence[Float[np.ndarray, "side pair"]]) -> Columns:
    """Columns of cosines to the clean and to the corrupted vector, cell by cell, and their difference."""
    clean, corrupted = np.stack(cosines, axis=1)
    return {"similarity_clean": clean, "similarity_corrupted": corrupted, "bias": clean - corrupted}


class Gathered:
    """What the runs of a batch gave in one direction, column by column.

    Args:
        cells: what will be added, in the order of the records.
        donor: whose vectors they write.
        pairs: number of pairs in the batch.
        more: names of metrics of the user's own.
    """

    def __init__(self, cells: Sequence[Cell], donor: str, pairs: int, more: Sequence[str] = ()) -> None:
        self.cells, self.donor, rows = [*cells], donor, len(cells)
        self._rows = {cell: row for row, cell in enumerate(cells)}
        self.floats = {name: np.full((rows, pairs), np.nan) for name in (*STORED, *more)}
        self.outcomes = np.zeros((rows, pairs), dtype=np.int8)
        self.expected = np.full((rows, pairs), None, dtype=object)
        self.written = np.full((rows, pairs), None, dtype=object)
        self.said = np.full((rows, pairs), None, dtype=object)
        self.present = np.zeros((rows, pairs), dtype=bool)

    def add(
        self,
        cells: Sequence[Cell],
        columns: Columns,
        present: Bool[np.ndarray, " pair"] | bool = True,
        expected: Sequence[Sequence[str | None] | None] | None = None,
        written: Sequence[str | None] | None = None,
        said: Sequence[Sequence[str] | None] | None = None,
    ) -> None:
        """Add some runs.

        Args:
            columns: one value per cell and pair for each metric and the outcome; NaN for those that are not there.
            present: pairs that had this donor.
            expected: by cell, the expected answer of each pair, if any.
            written: the pair whose question gave each pair its vectors, if one did.
            said: by cell, what each pair's run says, if it was asked.
        """
        rows = [self._rows[cell] for cell in cells]
        for name, values in self.floats.items():
            if name in columns:
                values[rows] = columns[name]
        self.outcomes[rows] = columns[OUTCOME]
        self.present[rows] = present
        if written is not None:
            self.written[rows] = np.array(written, dtype=object)
        for into, found in ((self.expected, expected), (self.said, said)):
            for row, each in zip(rows, found or (), strict=found is not None):
                if each is not None:
                    into[row] = each


class RecordBuilder:
    """Makes one table per pair of what was gathered, all with one schema.

    Args:
        pairs: all pairs of the run; their fields decide the schema.
        site_index: order of the site names along the sequence.
        more: names of metrics of the user's own; their columns follow the known ones.

    Raises:
        SpecError: such a metric is called as another column is.
    """

    def __init__(self, pairs: Sequence[Pair], site_index: Mapping[str, int], more: Sequence[str] = ()) -> None:
        self._site_index = site_index
        self._fields = [pair.record_fields() for pair in pairs]
        self._pairs = pairs
        names = sorted({name for fields in self._fields for name in fields})
        outcomes = (OUTCOME, *(f"{OUTCOME}_{run}" for run in RUNS))
        self._schema = pa.schema(
            [
                *((name, pa.string()) for name in ("experiment", "direction", "donor", "pair_id", "hook", "site")),
                *((name, pa.int64()) for name in ("pair_index", "head", "layer", "width", "site_index", "step")),
                *((name, pa.bool_()) for name in ("both_correct", "structural")),
                *((name, pa.float64()) for name in (*STORED, *more)),
                *((f"{name}_{run}", pa.float64()) for run in RUNS for name in UNPATCHED),
                *((name, pa.string()) for name in (*outcomes, "clean_answer", "corrupted_answer")),
                *((name, pa.string()) for name in ("expected_answer", "donor_pair_id", "said")),
                *((name, _field_type([fields.get(name) for fields in self._fields])) for name in names),
            ]
        )
        if clash := [name for name in more if self._schema.names.count(name) > 1]:
            raise SpecError(f"metric {clash[0]!r}: the records have a column of that name; choose another")

    def tables(
        self, direction: str, indices: Sequence[int], gathered: Gathered, unpatched: Unpatched
    ) -> list[pa.Table]:
        """One table per pair of a batch.

        Args:
            indices: places of the pairs among all pairs of the run.
        """
        cells = gathered.cells
        of_cells = {
            "experiment": [cell.experiment for cell in cells],
            "donor": [gathered.donor] * len(cells),
            "hook": [cell.hook for cell in cells],
            "head": [cell.head for cell in cells],
            "layer": [cell.layer for cell in cells],
            "width": [cell.width for cell in cells],
            "site": [cell.site for cell in cells],
            "site_index": [self._site_index[cell.site] for cell in cells],
            "step": [cell.step for cell in cells],
            "structural": [cell.structural or (cell.alike and from_question(gathered.donor)) for cell in cells],
        }
        known = {name: pa.array(values, self._schema.field(name).type) for name, values in of_cells.items()}
        tables = []
        for row, index in enumerate(indices):
            pair, present = self._pairs[index], gathered.present[:, row]
            columns = known | {
                name: pa.array(values[:, row], from_pandas=True) for name, values in gathered.floats.items()
            }
            columns[OUTCOME] = _named(gathered.outcomes[:, row])
            columns["expected_answer"] = pa.array(gathered.expected[:, row], pa.string())
            columns["donor_pair_id"] = pa.array(gathered.written[:, row], pa.string())
            columns["said"] = pa.array(gathered.said[:, row], pa.string())
            of_pair = unpatched.of_pair(row) | {
                "direction": direction,
                "pair_index": index,
                "pair_id": pair.pair_id,
                "clean_answer": pair.clean.answer,
                "corrupted_answer": pair.corrupted.answer,
                **self._fields[index],
            }
            for field in self._schema:
                if field.name not in columns:
                    value = _scalar(of_pair.get(field.name), field)
                    columns[field.name] = pa.repeat(value, len(cells))
            table = pa.table([columns[name] for name in self._schema.names], schema=self._schema)
            tables.append(table if present.all() else table.filter(pa.array(present)))
        return tables


def _named(outcomes: Int[np.ndarray, " cell"]) -> pa.Array:
    return pa.array(OUTCOMES).take(pa.array(outcomes))


def _scalar(value: object, field: pa.Field) -> pa.Scalar:
    """A value of a pair as the type of its column; null where it is undefined."""
    if isinstance(value, float) and value != value:
        value = None
    if value is not None and field.type == pa.string():
        value = str(value)
    return pa.scalar(value, field.type)


def _field_type(values: Sequence[object]) -> pa.DataType:
    """The narrowest type that holds every value; text where they are mixed."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int} and all(abs(value) < 2**63 for value in values if isinstance(value, int)):
        return pa.int64()
    # A whole number past 2**53 may be none of float's: as text it stays what it was.
    if kinds and kinds <= {int, float} and all(abs(value) <= 2**53 for value in values if isinstance(value, int)):
        return pa.float64()
    return pa.string()
