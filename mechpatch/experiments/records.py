"""One row per pair, cell and donor: the only thing that leaves a run, and all that statistics and views read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mechpatch import metrics
from mechpatch.axes import Logits
from mechpatch.experiments.cells import Cell
from mechpatch.pairs import Pair
from mechpatch.patching import Batch

FLOATS = (
    "kl_divergence",
    "l2_logit_difference",
    "rms_logit_difference",
    "prediction_change_rate",
    "answer_logit_diff",
    "clean_score",
    "corrupted_score",
    "answer_logprob_diff",
    "divergent_logit_diff",
    "recovery",
    "similarity_clean",
    "similarity_corrupted",
    "bias",
)
FLAGS = ("answers_clean", "answers_corrupted")
UNPATCHED = (
    "answer_logit_diff",
    "clean_score",
    "corrupted_score",
    "answer_logprob_diff",
    "divergent_logit_diff",
    "answers_clean",
    "answers_corrupted",
)
RUNS = ("clean_run", "corrupted_run")
Columns = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unpatched:
    """The unpatched values of a batch, beside which every patched one is stored.

    Attributes:
        baseline: logits of the run that is patched.
        values: `answer_metrics` of the clean and of the corrupted run.
        recipient: which of them is patched.
    """

    baseline: Logits
    values: tuple[Columns, Columns]
    recipient: int

    @property
    def both_correct(self) -> Bool[np.ndarray, " pair"]:
        """Whether each run gives its own answer, greedily."""
        return self.values[0]["answers_clean"] & self.values[1]["answers_corrupted"]

    def columns(self) -> Columns:
        """`<metric>_clean_run` and `<metric>_corrupted_run`."""
        return {f"{name}_{run}": self.values[side][name] for side, run in enumerate(RUNS) for name in UNPATCHED}


def answer_columns(logits: Logits, batch: Batch, own: int, continues: Bool[Tensor, " vocab"]) -> Columns:
    """`metrics.answer_metrics` as arrays."""
    return _arrays(metrics.answer_metrics(logits, batch.targets, own, continues))


def effect_columns(
    logits: Logits, batch: Batch, unpatched: Unpatched, continues: Bool[Tensor, " vocab"], min_gap: float
) -> Columns:
    """Every metric of one patched run, one value per pair."""
    own = unpatched.recipient
    columns = answer_columns(logits, batch, own, continues)
    mask = batch.targets[:, own] >= 0
    columns |= _arrays(metrics.distribution_metrics(logits[:, own], unpatched.baseline[:, own], mask))
    clean, corrupted = (torch.from_numpy(side["answer_logprob_diff"]) for side in unpatched.values)
    patched = torch.from_numpy(columns["answer_logprob_diff"])
    columns["recovery"] = metrics.recovery(patched, corrupted, clean, min_gap).numpy()
    return columns


def similarity_columns(
    vector: Float[Tensor, "pair 2 site d_model"],
    clean: Float[Tensor, "pair 2 site d_model"],
    corrupted: Float[Tensor, "pair 2 site d_model"],
) -> Columns:
    """Cosine of `vector` to the clean and to the corrupted vector of its site, in [-1, 1], and their difference.

    Mean over sites and continuations (a site is the same in both: no answer comes before it).
    """
    to_clean, to_corrupted = (
        rearrange(F.cosine_similarity(vector, other, dim=-1), "pair two site -> pair (two site)").mean(-1)
        for other in (clean, corrupted)
    )
    named = {"similarity_clean": to_clean, "similarity_corrupted": to_corrupted, "bias": to_clean - to_corrupted}
    return _arrays(named)


class RecordBuilder:
    """Collects the cells of a batch and gives one table per pair, all with one schema.

    Args:
        pairs: all pairs of the run; their fields decide the schema.
        site_index: order of the site names along the sequence.
    """

    def __init__(self, pairs: Sequence[Pair], site_index: Mapping[str, int]) -> None:
        self._site_index = site_index
        self._fields = [pair.record_fields() for pair in pairs]
        self._pairs = pairs
        names = sorted({name for fields in self._fields for name in fields})
        self._schema = pa.schema(
            [
                *((name, pa.string()) for name in ("experiment", "direction", "donor", "pair_id", "site")),
                *((name, pa.int64()) for name in ("pair_index", "layer", "site_index", "step")),
                *((name, pa.bool_()) for name in ("both_correct", "structural", *FLAGS)),
                *((name, pa.float64()) for name in FLOATS),
                *((f"{n}_{run}", pa.bool_() if n in FLAGS else pa.float64()) for run in RUNS for n in UNPATCHED),
                *((name, pa.string()) for name in ("clean_answer", "corrupted_answer")),
                *((name, _field_type([fields.get(name) for fields in self._fields])) for name in names),
            ]
        )

    def tables(
        self,
        direction: str,
        indices: Sequence[int],
        cells: Sequence[tuple[Cell, str, Columns, Bool[np.ndarray, " pair"]]],
        unpatched: Unpatched,
    ) -> list[pa.Table]:
        """One table per pair of a batch.

        Args:
            indices: of the pairs, into all pairs of the run.
            cells: cell, donor, its columns, and the pairs that had this donor.
        """
        shared = {**unpatched.columns(), "both_correct": unpatched.both_correct}
        tables = []
        for row, index in enumerate(indices):
            pair, fields = self._pairs[index], self._fields[index]
            common = {name: _plain(column[row]) for name, column in shared.items()} | {
                "direction": direction,
                "pair_index": index,
                "pair_id": pair.pair_id,
                "clean_answer": pair.clean.answer,
                "corrupted_answer": pair.corrupted.answer,
            }
            rows = [
                {
                    "experiment": cell.experiment,
                    "donor": donor,
                    "layer": cell.layer,
                    "site": cell.site,
                    "site_index": self._site_index[cell.site],
                    "step": cell.step,
                    "structural": cell.structural,
                    **{name: _plain(column[row]) for name, column in columns.items()},
                    **common,
                    **{name: self._cast(name, fields.get(name)) for name in fields},
                }
                for cell, donor, columns, present in cells
                if present[row]
            ]
            tables.append(pa.Table.from_pylist(rows, schema=self._schema))
        return tables

    def _cast(self, name: str, value: object) -> object:
        if value is not None and self._schema.field(name).type == pa.string():
            return str(value)
        return value


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


def _arrays(tensors: Mapping[str, Tensor]) -> Columns:
    return {
        name: tensor.cpu().double().numpy() if tensor.is_floating_point() else tensor.cpu().numpy()
        for name, tensor in tensors.items()
    }


def _plain(value: np.generic) -> float | bool | None:
    """A Python scalar; null where a value is undefined."""
    plain = value.item()
    return None if isinstance(plain, float) and plain != plain else plain
