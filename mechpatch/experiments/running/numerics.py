"""The fast engine held to plain hooks on some cells of a run, as strictly as rounding on this model allows.

A difference within the noise floor, as it was measured on the first cell, is rounding. One beyond it is held to the
floor of its own pair and cell, because pairs differ. What is beyond that too goes before a referee, the same run in
float64: it says which of the two is wrong.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from mechpatch.axes import Logits
from mechpatch.errors import NumericsError
from mechpatch.experiments.running.finite import Written
from mechpatch.formats import scientific, significant
from mechpatch.models import ThoughtModel
from mechpatch.patching import Batch, collate, rollout
from mechpatch.patching.rounding import FACTOR, moved_input, spread, tolerance
from mechpatch.patching.wide import rollout_wide, wide_device
from mechpatch.thoughts import Layout

log = logging.getLogger(__name__)

MOVED = 2  # runs with moved input
FLOOR_RUNS = 1 + MOVED  # of one question by itself, to measure the noise floor
DROWNED = 0.1  # of the size of the effects, which rounding must not reach
SAME_RECORDS = 1e-3  # nats or logits by which records of one run may differ at least, where they must agree
NEAR = 4.0  # times as far from float64 as the other computation may be: both round, in another order
ENGINE, PLAIN, EXACT = "the fast engine", "plain hooks", "float64"
ADVICE = {
    ENGINE: "Run with --engine reference, and report this",
    PLAIN: "Look for hooks that were left on the model (model.reset_hooks() removes them) and for products of reduced "
    "precision (torch.set_float32_matmul_precision); run with --dtype float64, and report this if it stays",
}
OwnLogits = Float[Tensor, "answer position vocab"]


class _Again(NamedTuple):
    """One question of a batch, run plainly by itself.

    Attributes:
        layout, written: the layout and the writes of this question alone.
        plain: logits that it has in its batch.
        floor: spread of its run alone, of its runs with moved input, and of those, as long as a batch gives what a
            question gives alone.
    """

    layout: Layout
    written: Written
    plain: OwnLogits
    floor: float


@dataclass(frozen=True, slots=True)
class Rounding:
    """What the cells of a run that were computed both ways say of rounding.

    Attributes:
        floor: largest difference of a logit between plain computations of one patched run.
        difference: largest difference of a logit between engine and plain hooks.
        cells: how many were compared.
        refereed: the cells that float64 was asked about, and found to differ by rounding alone.
    """

    dtype: str
    floor: float
    difference: float
    cells: int
    refereed: tuple[str, ...] = ()

    @property
    def largest(self) -> float:
        """The largest difference of a logit that rounding made."""
        return max(self.floor, self.difference)

    def __str__(self) -> str:
        asked = f"; float64 was asked about {len(self.refereed)} of them" if self.refereed else ""
        return (
            f"Two plain {self.dtype} computations of this model differ by {scientific(self.floor)} in a logit; engine "
            f"and plain hooks by at most {scientific(self.difference)}, in {self.cells} cells that were computed both "
            f"ways{asked}."
        )

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> "Rounding":
        """What `as_json` gave."""
        return cls(*(found[each.name] for each in fields(cls)[:-1]), refereed=tuple(found["refereed"]))

    def as_json(self) -> dict[str, Any]:
        """JSON values, and what they say."""
        return asdict(self) | {"says": str(self)}

    def joined(self, later: "Rounding") -> "Rounding":
        """With what a later part of the run found."""
        return Rounding(
            self.dtype,
            max(self.floor, later.floor),
            max(self.difference, later.difference),
            self.cells + later.cells,
            (*self.refereed, *later.refereed),
        )


def drowned(records: pa.Table, dtype: str, rounding: float) -> str:
    """What to say if rounding reaches the size of the effects; empty if it does not.

    That size is the median, over pairs, of the gap between the clean and the corrupted run in `answer_logprob_diff`:
    what a patch moves that moves everything.

    Args:
        rounding: the largest difference of a logit that it made.
    """
    runs = (records[f"answer_logprob_diff_{run}"].to_numpy() for run in ("clean_run", "corrupted_run"))
    gaps = dict(zip(records["pair_index"].to_pylist(), np.abs(np.subtract(*runs)), strict=True))
    usual = float(np.median([*gaps.values()]))
    if rounding <= DROWNED * usual:
        return ""
    advice = "no dtype is wider, so read no small effect" if dtype == "float64" else "run with --dtype float64"
    return (
        f"Rounding is large beside the effects: it moves a logit by {scientific(rounding)}, and a patch that moves "
        f"everything moves the answer by {scientific(usual)} nats (median of the pairs); {advice}."
    )


def record_tolerance(rounding: Rounding | None, layouts: Iterable[tuple[Layout, Layout]]) -> float:
    """How far two records of one run that must agree may lie apart, in nats or logits."""
    # A log probability sums over the tokens of an answer.
    tokens = max(len(tail.answer_tokens) for pair in layouts for side in pair for tail in side.tails)
    return max(SAME_RECORDS, 2 * tokens * FACTOR * (rounding.largest if rounding else 0.0))


@dataclass(slots=True, kw_only=True, eq=False)
class EngineCheck:
    """Compares cell by cell, and keeps what it found.

    Attributes:
        seed: seed of the moved inputs.
        floor: largest difference of a logit between plain computations of one patched run; None before the first cell.
        difference: largest difference of a logit between engine and plain hooks.
        cells: how many were compared.
        refereed: the cells that float64 was asked about, and found to differ by rounding alone.
    """

    model: ThoughtModel
    seed: int
    floor: float | None = None
    difference: float = 0.0
    cells: int = 0
    refereed: list[str] = field(default_factory=list)

    @torch.no_grad()
    def compare(
        self,
        batch: Batch,
        layouts: Sequence[Layout],
        names: Sequence[str],
        written: Written,
        found: Logits,
        where: str,
    ) -> None:
        """Run one cell with plain hooks, and hold what the engine gave to it.

        Args:
            layouts, names: questions of the batch, and their pair ids.
            found: the logits that the engine gave.
            where: names the cell, for the message.

        Raises:
            NumericsError: engine or plain hooks are wrong; says which of them, and by how much.
        """
        plain = self._plainly(batch, written)
        if self.floor is None:
            self.floor = self._again(layouts[0], written, 0, plain).floor
            log.info("two plain computations of one patched run differ by %.1e in a logit", self.floor)
        for row, name in enumerate(names):
            far = (found[row] - plain[row]).abs().max().item()
            if not far <= _allowed(plain[row], self.floor):
                again = self._again(layouts[row], written, row, plain)
                self._judge(again, found[row, :, : again.plain.shape[1]], f"pair {name!r}, {where}")
            self.difference = max(self.difference, far)
        self.cells += 1

    @property
    def found(self) -> Rounding | None:
        """What was found; None if nothing was compared."""
        if self.floor is None:
            return None
        kind = str(self.model.hooked.cfg.dtype).removeprefix("torch.")
        return Rounding(kind, self.floor, self.difference, self.cells, tuple(self.refereed))

    def _plainly(self, batch: Batch, written: Written) -> Logits:
        return rollout(self.model.hooked, self.model.head, batch, written.writes(batch)).logits

    def _again(self, layout: Layout, written: Written, row: int, plain: Logits) -> _Again:
        batch = collate([layout], self.model.device)
        alone = written._replace(vectors=written.vectors[row : row + 1])
        runs = [self._plainly(batch, alone)[0]]
        for draw in range(MOVED):
            with moved_input(self.model.hooked, self.seed + draw):
                runs.append(self._plainly(batch, alone)[0])
        together = plain[row, :, : runs[0].shape[1]]  # in a batch the last position of a shorter answer is repeated
        floor, with_batch = spread(runs), spread([*runs, together])
        return _Again(layout, alone, together, with_batch if with_batch <= _allowed(together, floor) else floor)

    def _exactly(self, again: _Again) -> OwnLogits:
        batch = collate([again.layout], wide_device(self.model.hooked))
        return rollout_wide(self.model.hooked, self.model.head, batch, again.written.writes(batch))[0].cpu()

    def _judge(self, again: _Again, engine: OwnLogits, where: str) -> None:
        """Whether a difference beyond the floor is rounding after all; see the module's docstring."""
        rounding = _allowed(again.plain, max(self.floor or 0.0, again.floor))
        if (engine - again.plain).abs().max().item() <= rounding:
            log.info("%s: rounding is larger here, plain computations differ by %.1e", where, again.floor)
            return
        exact = self._exactly(again)
        ways = {ENGINE: engine.cpu().double(), PLAIN: again.plain.cpu().double(), EXACT: exact}
        off = {way: (logits - exact).abs().max().item() for way, logits in ways.items()}
        for way, other in ((ENGINE, PLAIN), (PLAIN, ENGINE)):
            if not off[way] <= max(rounding, NEAR * off[other]):
                at = (ways[way] - exact).abs().argmax()
                values = {each: float(logits.flatten()[at]) for each, logits in ways.items()}
                raise NumericsError(f"{where}: {_verdict(way, off[way], values, rounding)}")
        self.refereed.append(where)
        distances = f"{scientific(off[ENGINE])} and {scientific(off[PLAIN])}"
        log.warning("%s: engine and plain hooks are %s away from float64 in a logit, as rounding is", where, distances)


def _allowed(plain: OwnLogits, floor: float) -> float:
    return tolerance(plain.dtype, plain.abs().max().item(), floor)


def _verdict(wrong: str, off: float, values: Mapping[str, float], rounding: float) -> str:
    """Which of the two is wrong, by how much, and what to do."""
    listed = ", ".join(f"{way} gives {significant(value, 6)}" for way, value in values.items())
    verb, explained = "is" if wrong == ENGINE else "are", f"rounding explains {scientific(rounding)}"
    said = f"{wrong} {verb} wrong by {scientific(off)} in a logit ({listed}); {explained}. {ADVICE[wrong]}"
    return said.replace("hooks gives", "hooks give")
