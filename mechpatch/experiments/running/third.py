"""Third answers: what a model should say if it used what is written, teacher-forced beside the two answers of a pair.

The patched run is run once more with that answer in the place of the other side's. It is a run of its own, because the
engine runs two continuations; what comes before them is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpatch.axes import SiteVectors
from mechpatch.experiments.cells import patch_of
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.running.donors import PICKS, Question, Recipients, picked
from mechpatch.experiments.running.engines import ENGINES, Runner
from mechpatch.experiments.running.judged import Asked, Judged, judge
from mechpatch.experiments.running.records import OUTCOME, Columns
from mechpatch.experiments.spec import Spec
from mechpatch.kinds import Cell
from mechpatch.kinds.cells import ALL
from mechpatch.metrics import Continues, given_by, outcome
from mechpatch.pairs import Pair
from mechpatch.pairs.counterfactual import answer_with, given_answers, step_values
from mechpatch.patching import Batch, collate
from mechpatch.patching.patch import Patch
from mechpatch.patching.together import Predictions
from mechpatch.reprs import short_repr
from mechpatch.thoughts import Layout

Answers = tuple[str | None, ...]  # the expected answer of each pair of a batch, None where there is none
Start = Callable[[Batch, Sequence[Layout]], Runner]


@dataclass(frozen=True, slots=True, eq=False)
class Third:
    """What a patched run says of the expected answers.

    Attributes:
        answers: the expected answer of each pair, None where there is none.
        targets, top: its token ids, -1 after its end, and the most likely ids in its place.
        logprob, change: its log-probability, and that minus the unpatched run's; NaN where there is none.
    """

    answers: Answers
    targets: Int[Tensor, "pair position"]
    top: Int[Tensor, "pair position"]
    logprob: Float[Tensor, " pair"]
    change: Float[Tensor, " pair"]

    __repr__ = short_repr


def expected_answers(
    experiment: Experiment, donor: str, runs: Recipients, cells: Sequence[Cell]
) -> dict[Cell, Answers]:
    """The expected answers of each cell that has some.

    Of a swap they follow from the donor's question; for vectors of no question they are those of `other_value`, which
    are then not written. Of any other cell they are what the pairs' field `expected` says for its site, if asked for.
    """
    found: dict[Cell, Answers] = {}
    swapped = any(cell.experiment == "swap" for cell in cells)
    sources = picked(donor if donor in PICKS else "other_value", runs) if swapped else []  # the same for every cell
    for cell in cells:
        if cell.experiment == "swap":
            answers = tuple(
                None if source is None else _of_swap(runs, index, source, cell)
                for index, source in zip(runs.indices, sources, strict=True)
            )
        elif experiment.spec.expected:
            answers = tuple(given_answers(experiment.pairs[index].fields).get(cell.site) for index in runs.indices)
        else:
            continue
        if any(answer is not None for answer in answers):
            found[cell] = answers
    return found


def run_again(spec: Spec, cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that may have expected answers, those together that are run once more in one batch."""
    found: dict[tuple[str, int | str], list[Cell]] = {}
    for cell in cells:
        if cell.experiment == "swap":
            found.setdefault(("swap", cell.step), []).append(cell)
        elif spec.expected and cell.thoughts is None:
            found.setdefault(("site", cell.site), []).append(cell)
    return [*found.values()]


def _of_swap(runs: Recipients, index: int, source: Question, cell: Cell) -> str | None:
    donor, own = runs.everyone.question(*source), runs.everyone.question(index, runs.everyone.recipient)
    if cell.site == ALL:
        return donor.answer
    step = cell.step - 1
    values = step_values(donor)
    return answer_with(own, step, values[step]) if step < min(len(values), len(step_values(own))) else None


def third_answers(
    experiment: Experiment,
    side: int,
    indices: Sequence[int],
    hook: str,
    source: SiteVectors,
    expected: Mapping[Cell, Answers],
    start: Start,
) -> dict[Cell, Third]:
    """Run each cell with its expected answers.

    Args:
        side: which question is patched, 0 clean or 1 corrupted.
        source: the donor's vectors.
        start: makes a batch ready, given its layouts.
    """
    found: dict[Cell, Third] = {}
    for answers in dict.fromkeys(expected.values()):
        cells = [cell for cell, wanted in expected.items() if wanted == answers]
        pairs = [
            _asking(experiment.pairs[index], 1 - side, answer) for index, answer in zip(indices, answers, strict=True)
        ]
        layouts = [pair_layouts(experiment.model, experiment.spec, pair)[side] for pair in pairs]
        batch = collate(layouts, experiment.model.device)
        runner = start(batch, layouts)
        asked = Asked.of(batch.targets, side)
        logits = runner.baseline.logits
        unpatched = judge(Predictions.of(logits, logits), asked)
        none = torch.tensor([answer is None for answer in answers])
        before = unpatched.logprob[0, :, 1 - side].cpu()
        by_patch: dict[Patch, list[Cell]] = {}
        for cell in cells:
            by_patch.setdefault(patch_of(cell, batch.sites), []).append(cell)
        for ran in runner.sweep(hook, source, [*by_patch], {}):
            judged = judge(ran.predictions, asked, unpatched, apart=False)
            after = judged.logprob[:, :, 1 - side].cpu()
            for run, patch in enumerate(ran.patches):
                third = Third(
                    answers=answers,
                    targets=asked.targets[:, 1 - side],
                    top=judged.top[run, :, 1 - side],
                    logprob=after[run].masked_fill(none, torch.nan),
                    change=(after[run] - before).masked_fill(none, torch.nan),
                )
                found |= dict.fromkeys(by_patch[patch], third)
    return found


def recorded_start(experiment: Experiment, memory: int) -> Start:
    """A `Start` that records each question anew, in the engine of the run. Nothing is said: the run with the pair's own
    answers has said it."""
    model, spec = experiment.model, experiment.spec
    engine = ENGINES[spec.engine]

    def start(batch: Batch, layouts: Sequence[Layout]) -> Runner:
        recordings = [engine.record(model.hooked, model.head, [layout], spec.points)[0] for layout in layouts]
        return engine.runner(model.hooked, model.head, batch, recordings, memory, spec.points, None)

    return start


def third_columns(judged: Judged, run: int, third: Third, continues: Continues) -> Columns:
    """What the records say of a patched run and its expected answers: the outcome among all three, and their columns.

    Args:
        judged: runs with the pairs' own two answers.
        run: which of them is the patched run.
        continues: of the three answers.
    """
    own, top, wanted = judged.asked.targets, judged.top[run], third.targets
    size = max(own.shape[-1], wanted.shape[-1])
    targets = torch.cat([_longer(own, size, -1), _longer(wanted, size, -1)[:, None]], dim=1)
    given = given_by(torch.cat([_longer(top, size), _longer(third.top, size)[:, None]], dim=1), targets, continues)
    given[:, 2] &= torch.tensor([answer is not None for answer in third.answers], device=given.device)
    return {
        OUTCOME: outcome(given, judged.asked.recipient).cpu().numpy(),
        "expected_logprob": third.logprob.numpy(),
        "expected_logprob_change": third.change.numpy(),
    }


def _longer(values: Int[Tensor, "*pair position"], size: int, filler: int | None = None) -> Int[Tensor, "*pair longer"]:
    """So many positions: filled up, or the last one repeated."""
    last = values[..., -1:] if filler is None else torch.full_like(values[..., -1:], filler)
    return torch.cat([values, last.expand(*values.shape[:-1], size - values.shape[-1])], dim=-1)


def _asking(pair: Pair, other: int, answer: str | None) -> Pair:
    """The pair with another answer on one side."""
    if answer is None:
        return pair
    if other == 0:
        return replace(pair, clean=replace(pair.clean, answer=answer))
    return replace(pair, corrupted=replace(pair.corrupted, answer=answer))
