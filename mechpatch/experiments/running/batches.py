"""One batch of pairs: every direction, donor and cell of it, as records.

Its questions were recorded alone and are put together here, so a batch depends on pairs and spec, and on nothing that
was computed before it: a resumed run gives the numbers of an uninterrupted one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pyarrow as pa

from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.layouts import with_thoughts
from mechpatch.experiments.running.activations import SIDES, UnpatchedRuns
from mechpatch.experiments.running.continuations import Openings
from mechpatch.experiments.running.donors import (
    DONOR_FUNCTIONS,
    PICKS,
    DonorFunction,
    Everyone,
    Recipients,
    picked,
    vectors_of,
)
from mechpatch.experiments.running.engines import ENGINES
from mechpatch.experiments.running.finite import Written, require_finite
from mechpatch.experiments.running.footprint import footprint_of_batch
from mechpatch.experiments.running.judged import Asked, judge
from mechpatch.experiments.running.numerics import EngineCheck, Rounding
from mechpatch.experiments.running.patched import Similarities, runs_of, together, written_into
from mechpatch.experiments.running.records import (
    Gathered,
    RecordBuilder,
    Unpatched,
    answer_columns,
    effect_columns,
    similarity_columns,
)
from mechpatch.experiments.running.saying import Speech
from mechpatch.experiments.running.stopwatch import Stopwatch
from mechpatch.experiments.running.third import (
    Answers,
    Third,
    expected_answers,
    recorded_start,
    third_answers,
    third_columns,
)
from mechpatch.experiments.spec import FIRST, recipient
from mechpatch.kinds import Cell
from mechpatch.metrics import Continues
from mechpatch.pairs import Pair
from mechpatch.patching import Outcome, collate, reference
from mechpatch.patching.engine.recording import Recording, stack_logits, stack_vectors
from mechpatch.patching.say import Said
from mechpatch.patching.together import Predictions
from mechpatch.patching.wide import float64_device
from mechpatch.reprs import short_repr
from mechpatch.storage.keys import digest

Tick = Callable[[int], None]  # told of every cell that is done, times the pairs of its batch


@dataclass(frozen=True, slots=True)
class Todo:
    """What is to be run of a batch.

    Attributes:
        batch: indices of its pairs.
        cells: by direction and donor, those of a direction together.
    """

    batch: list[int]
    cells: dict[tuple[str, str], list[Cell]]

    @classmethod
    def whole(cls, experiment: Experiment, batch: Sequence[int]) -> "Todo":
        """All of it."""
        cells, donors = experiment.cells(batch), experiment.donors
        by_donor = {
            donor: [cell for cell in cells if donor in donors(cell.experiment)] for donor in experiment.all_donors
        }
        asked = {
            (direction, donor): those for direction in experiment.spec.directions for donor, those in by_donor.items()
        }
        return cls([*batch], asked)

    @property
    def work(self) -> int:
        """Patched runs, counted per pair."""
        return sum(map(len, self.cells.values())) * len(self.batch)


class Part(NamedTuple):
    """The records of a batch for one direction and donor.

    Attributes:
        rounding: what the cells that were computed both ways say of it; None where there are none.
    """

    direction: str
    donor: str
    cells: Sequence[Cell]
    table: pa.Table
    rounding: Rounding | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchRunner:
    """Runs the batches of an experiment, one after the other.

    Attributes:
        everyone: all pairs, as donors of each direction and hook point.
        donors: where the vectors of each donor come from.
        openings: how each token goes on with an answer before it.
        speech: how far each run goes on by itself; None where it does not.
        tick: progress.
        watch: where the time of all batches so far went.
    """

    experiment: Experiment
    runs: UnpatchedRuns
    everyone: dict[tuple[str, str], Everyone]
    donors: Mapping[str, DonorFunction]
    builder: RecordBuilder
    openings: Openings
    speech: Speech | None
    tick: Tick
    watch: Stopwatch = field(default_factory=Stopwatch)

    __repr__ = short_repr

    @classmethod
    def prepare(cls, experiment: Experiment, runs: UnpatchedRuns, tick: Tick) -> "BatchRunner":
        """All that the batches of an experiment share."""
        model, spec, pairs = experiment.model, experiment.spec, experiment.pairs
        sites = [clean.sites for clean, _ in experiment.layouts]
        return cls(
            experiment=experiment,
            runs=runs,
            everyone={
                (direction, hook): Everyone(
                    hook=hook,
                    runs=runs,
                    pairs=pairs,
                    sites=sites,
                    recipient=recipient(direction),
                    seed=spec.seed,
                )
                for direction in spec.directions
                for hook in spec.hooks
            },
            donors={**DONOR_FUNCTIONS, **{donor.name: donor.function for donor in experiment.own.donors}},
            builder=RecordBuilder(pairs, experiment.site_index(), spec.own_names("metric")),
            openings=Openings.of(model.tokenizer, model.hooked.cfg.d_vocab, float64_device(model.device)),
            speech=None if spec.say is None else Speech(model, spec.say),
            tick=tick,
        )

    def run(self, todo: Todo) -> Iterator[Part]:
        """The records of a batch, one direction and donor after the other.

        Raises:
            NumericsError: a forward pass gave NaN or infinity, or engine or plain hooks are wrong beyond rounding.
        """
        with self.watch.measure("unpatched"):
            recorded = [self.runs.get(index) for index in todo.batch]
        for direction in dict.fromkeys(direction for direction, _ in todo.cells):
            donors = {donor: cells for (each, donor), cells in todo.cells.items() if each == direction}
            yield from self._direction(direction, todo.batch, donors, recorded)

    def _direction(
        self,
        direction: str,
        indices: Sequence[int],
        donors: Mapping[str, Sequence[Cell]],
        recorded: Sequence[tuple[Recording, Recording]],
    ) -> Iterator[Part]:
        spec, model, side = self.experiment.spec, self.experiment.model, recipient(direction)
        batch, other = (
            collate([self.experiment.layouts[index][each] for index in indices], model.device)
            for each in (side, 1 - side)
        )
        memory = footprint_of_batch(self.experiment, indices).chunk
        kept = [[pair[each] for pair in recorded] for each in (0, 1)]
        say = self.speech and self.speech.say
        runner = ENGINES[spec.engine].runner(model.hooked, model.head, batch, kept[side], memory, spec.hooks, say)
        baseline = runner.baseline
        names = [self.experiment.pairs[index].pair_id for index in indices]
        layouts = [[self.experiment.layouts[index][each] for index in indices] for each in (0, 1)]
        vectors = {hook: [stack_vectors(each, hook) for each in kept] for hook in spec.hooks}
        for hook, sides in vectors.items():
            sides[side] = baseline.vectors[hook]
        given = (baseline.logits, *baseline.vectors.values())
        require_finite(model, layouts[side], names, given, f"the unpatched {SIDES[side]} run")
        pairs = [self.experiment.pairs[index] for index in indices]
        continues = self.openings.after([(pair.clean.answer, pair.corrupted.answer) for pair in pairs])
        values = [answer_columns(baseline.logits, batch, side, continues)]
        given = (stack_logits(kept[1 - side], other), *(sides[1 - side] for sides in vectors.values()))
        require_finite(model, layouts[1 - side], names, given, f"the unpatched {SIDES[1 - side]} run")
        values.insert(1 - side, answer_columns(given[0], other, 1 - side, continues))
        del given  # at a large vocabulary its logits are worth a patch
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
        checked = self._checked(direction, indices, donors)
        own = self.experiment.own.metrics
        for donor, cells in donors.items():
            gathered = Gathered(cells, donor, len(indices), spec.own_names("metric"))
            check = EngineCheck(model=model, seed=spec.seed)
            for cell, outcome in self.watch.each("patched", self._varied(indices, side, cells)):
                require_finite(model, layouts[side], names, [outcome.logits], f"{cell.name}, {direction}")
                with self.watch.measure("records"):
                    predictions = Predictions.of(outcome.logits, baseline.logits)
                    _, columns, _ = effect_columns(predictions, batch, unpatched, continues, spec.min_gap, own)
                    gathered.add([cell], columns, said=[self._texts(outcome.said)])
                self.tick(len(indices))
            for (hook, step), there in together(donor, cells).items():
                sides = vectors[hook]
                everyone = self.everyone[direction, hook]
                into = Recipients(everyone=everyone, indices=indices, baseline=sides[side], step=step)
                source, present = vectors_of(donor, self.donors[donor], into)
                taken = _names_of(donor, into)
                with self.watch.measure("patched"):
                    expected = expected_answers(self.experiment, donor, into, there)
                    start = recorded_start(self.experiment, memory)
                    thirds = third_answers(self.experiment, side, indices, hook, source, expected, start)
                runs, done = runs_of(there, batch.sites), 0
                similarities = Similarities(source, sides, side)
                swept = runner.sweep(hook, source, runs.patches, runs.handed)
                for ran in self.watch.each("patched", swept):
                    with self.watch.measure("records"):
                        judged, of_runs, finite = effect_columns(
                            ran.predictions, batch, unpatched, continues, spec.min_gap, own
                        )
                    mine = [(run, cell) for run in range(len(ran.patches)) for cell in runs.cells[done + run]]
                    for run, cell in mine:
                        if finite[run].all() and (donor, cell) not in checked:
                            continue
                        where = f"{cell.name}, {direction}, donor {donor}"
                        vectors_in = written_into(ran, run, source, done + run in runs.handed)
                        written, logits = Written(ran.patches[run], vectors_in, hook), ran.predictions.logits(run)
                        require_finite(model, layouts[side], names, [logits], where, written)
                        with self.watch.measure("checks"):
                            check.compare(batch, layouts[side], names, written, logits, where)
                    with self.watch.measure("records"):
                        of_run = [run for run, _ in mine]
                        columns = {name: values[of_run] for name, values in of_runs.items()}
                        columns |= similarity_columns([*similarities.of(ran, done, runs)])
                        answers: list[Answers | None] = []
                        for at, (run, cell) in enumerate(mine):
                            third = thirds.get(cell)
                            answers.append(third and third.answers)
                            if third is not None:
                                more = third_columns(judged, run, third, self._three(pairs, third))
                                for name, values in more.items():
                                    columns[name][at] = values
                        said = [None if ran.said is None else self._texts(ran.said[run]) for run in of_run]
                        gathered.add([cell for _, cell in mine], columns, present, answers, taken, said)
                    self.tick(len(mine) * len(indices))
                    done += len(ran.patches)
            with self.watch.measure("records"):
                table = pa.concat_tables(self.builder.tables(direction, indices, gathered, unpatched))
            yield Part(direction, donor, cells, table, check.found)

    def _texts(self, said: Said | None) -> list[str] | None:
        return None if said is None or self.speech is None else self.speech.texts(said)

    def _varied(self, indices: Sequence[int], side: int, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
        """Cells in which nothing is written and another number of thoughts is run: plain unpatched runs."""
        experiment, model = self.experiment, self.experiment.model
        says = ENGINES[experiment.spec.engine].says
        for cell in cells:
            if cell.thoughts is not None:
                layouts = [
                    with_thoughts(
                        model, experiment.spec, experiment.pairs[index], experiment.layouts[index], cell.thoughts
                    )[side]
                    for index in indices
                ]
                batch = collate(layouts, model.device)
                outcome = reference.baseline(model.hooked, model.head, batch, ())
                said = self.speech and says(model.hooked, model.head, batch, self.speech.say)
                yield cell, replace(outcome, said=said)

    def _three(self, pairs: Sequence[Pair], third: Third) -> Continues:
        """What would prolong each of three answers."""
        return self.openings.after(
            [
                (pair.clean.answer, pair.corrupted.answer, pair.clean.answer if answer is None else answer)
                for pair, answer in zip(pairs, third.answers, strict=True)
            ]
        )

    def _checked(
        self, direction: str, indices: Sequence[int], donors: Mapping[str, Sequence[Cell]]
    ) -> set[tuple[str, Cell]]:
        """Some of the cells with the donor that their experiment asks about, drawn by name."""
        spec, name = self.experiment.spec, self.experiment.pairs[indices[0]].pair_id
        cells = [
            (donor, cell)
            for donor, those in donors.items()
            for cell in those
            if cell.thoughts is None and donor == self.experiment.donors(cell.experiment)[0]
        ]
        drawn = sorted(cells, key=lambda each: digest([spec.seed, "check", direction, name, *each[1].key]))
        return {*drawn[: spec.checks if spec.engine == "fast" else 0]}


def _names_of(donor: str, runs: Recipients) -> list[str | None] | None:
    """The pair whose question gives each pair its vectors; None for vectors of no one question."""
    if donor not in PICKS:
        return None
    return [None if source is None else runs.everyone.names[source[0]] for source in picked(donor, runs)]
