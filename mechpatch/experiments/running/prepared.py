"""A batch in one direction, ready to be patched: its unpatched runs, and what is measured against them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Bool
from numpy import ndarray
from torch import Tensor

from mechpatch.axes import SiteVectors
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running.activations import SIDES
from mechpatch.experiments.running.continuations import Openings
from mechpatch.experiments.running.engines import ENGINES, Runner
from mechpatch.experiments.running.finite import Written, require_finite
from mechpatch.experiments.running.footprint import footprint_of_batch
from mechpatch.experiments.running.judged import Asked, Judged, judge
from mechpatch.experiments.running.records import Columns, Unpatched, answer_columns, effect_columns
from mechpatch.experiments.spec import FIRST, recipient
from mechpatch.metrics import Continues
from mechpatch.pairs import Pair
from mechpatch.patching import Batch, collate
from mechpatch.patching.engine.recording import Recording, stack_logits, stack_vectors
from mechpatch.patching.say import Say
from mechpatch.patching.together import Predictions
from mechpatch.reprs import short_repr
from mechpatch.thoughts import Layout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedBatch:
    """A batch in one direction.

    Attributes:
        indices: of its pairs, among all pairs of the run.
        side: which question is patched, 0 clean or 1 corrupted.
        batch, layouts, names: the questions that are patched, and their pair ids.
        vectors: by hook point, those of the clean and of the corrupted unpatched run.
        continues: which tokens would prolong each answer.
        memory: bytes for a chunk of patches.
    """

    experiment: Experiment
    direction: str
    indices: Sequence[int]
    side: int
    batch: Batch
    layouts: Sequence[Layout]
    names: Sequence[str]
    pairs: Sequence[Pair]
    runner: Runner
    vectors: Mapping[str, Sequence[SiteVectors]]
    unpatched: Unpatched
    continues: Continues
    memory: int

    __repr__ = short_repr

    def measured(self, predictions: Predictions) -> tuple[Judged, Columns, Bool[ndarray, "run pair"]]:
        """See `effect_columns`."""
        gap, own = self.experiment.spec.min_gap, self.experiment.own.metrics
        return effect_columns(predictions, self.batch, self.unpatched, self.continues, gap, own)

    def require_finite(self, given: Sequence[Tensor], where: str, written: Written | None = None) -> None:
        """What runs of these questions gave is finite, or a `NumericsError` says where it is not."""
        require_finite(self.experiment.model, self.layouts, self.names, given, where, written)


def prepare(
    experiment: Experiment,
    direction: str,
    indices: Sequence[int],
    recorded: Sequence[tuple[Recording, Recording]],
    openings: Openings,
    say: Say | None,
) -> PreparedBatch:
    """Put the recordings of a batch together.

    Args:
        recorded: of each pair, those of the clean and of the corrupted question.
        say: how far each run goes on by itself; None where it does not.

    Raises:
        NumericsError: an unpatched run gave NaN or infinity.
    """
    spec, model, side = experiment.spec, experiment.model, recipient(direction)
    layouts = [[experiment.layouts[index][each] for index in indices] for each in (0, 1)]
    batch, other = (collate(layouts[each], model.device) for each in (side, 1 - side))
    memory = footprint_of_batch(experiment, indices).chunk
    kept = [[pair[each] for pair in recorded] for each in (0, 1)]
    runner = ENGINES[spec.engine].runner(model.hooked, model.head, batch, kept[side], memory, spec.points, say)
    baseline = runner.baseline
    vectors = {hook: [stack_vectors(each, hook) for each in kept] for hook in spec.points}
    for hook, sides in vectors.items():
        sides[side] = baseline.vectors[hook]
    pairs = [experiment.pairs[index] for index in indices]
    names = [pair.pair_id for pair in pairs]
    given = (baseline.logits, *baseline.vectors.values())
    require_finite(model, layouts[side], names, given, f"the unpatched {SIDES[side]} run")
    continues = openings.after([(pair.clean.answer, pair.corrupted.answer) for pair in pairs])
    values = [answer_columns(baseline.logits, batch, side, continues)]
    given = (stack_logits(kept[1 - side], other), *(sides[1 - side] for sides in vectors.values()))
    require_finite(model, layouts[1 - side], names, given, f"the unpatched {SIDES[1 - side]} run")
    values.insert(1 - side, answer_columns(given[0], other, 1 - side, continues))
    asked = Asked.of(batch.targets, side)
    read = asked.targets[:, side] >= 0
    if spec.distances == FIRST:
        read[:, 1:] = False
    unpatched = Unpatched(
        mask=read,
        baseline=baseline.logits,
        judged=judge(Predictions.of(baseline.logits, baseline.logits), asked),
        values=(values[0], values[1]),
        recipient=side,
    )
    return PreparedBatch(
        experiment=experiment,
        direction=direction,
        indices=indices,
        side=side,
        batch=batch,
        layouts=layouts[side],
        names=names,
        pairs=pairs,
        runner=runner,
        vectors=vectors,
        unpatched=unpatched,
        continues=continues,
        memory=memory,
    )
