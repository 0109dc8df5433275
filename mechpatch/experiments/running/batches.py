"""One batch of pairs: every direction, donor and cell of it, as records.

Its questions were recorded alone and are put together here, so a batch depends on pairs and spec, and on nothing that
was computed before it: a resumed run gives the numbers of an uninterrupted one.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pyarrow as pa

from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.layouts import with_thoughts
from mechpatch.experiments.running.activations import UnpatchedRuns
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
from mechpatch.experiments.running.finite import Written
from mechpatch.experiments.running.numerics import EngineCheck, Rounding
from mechpatch.experiments.running.patched import Similarities, runs_of, together, written_into
from mechpatch.experiments.running.prepared import PreparedBatch, prepare
from mechpatch.experiments.running.records import Gathered, RecordBuilder, similarity_columns
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
from mechpatch.experiments.spec import recipient
from mechpatch.kinds import Cell
from mechpatch.metrics import Continues
from mechpatch.pairs import Pair
from mechpatch.patching import Outcome, collate, reference
from mechpatch.patching.engine.recording import Recording
from mechpatch.patching.say import Said
from mechpatch.patching.together import Predictions
from mechpatch.patching.wide import float64_device
from mechpatch.points import POINTS
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
                for hook in spec.points
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
        spec = self.experiment.spec
        prepared = prepare(
            self.experiment, direction, indices, recorded, self.openings, self.speech and self.speech.say
        )
        checked = self._checked(direction, indices, donors)
        for donor, cells in donors.items():
            gathered = Gathered(cells, donor, len(indices), spec.own_names("metric"))
            check = EngineCheck(model=self.experiment.model, seed=spec.seed)
            self._vary(prepared, cells, gathered)
            for (hook, step), there in together(donor, cells).items():
                everyone = self.everyone[direction, hook]
                own = prepared.vectors[hook][prepared.side]
                into = Recipients(everyone=everyone, indices=indices, baseline=own, step=step)
                self._patch(prepared, donor, hook, into, there, checked, check, gathered)
            with self.watch.measure("records"):
                table = pa.concat_tables(self.builder.tables(direction, indices, gathered, prepared.unpatched))
            yield Part(direction, donor, cells, table, check.found)

    def _vary(self, prepared: PreparedBatch, cells: Sequence[Cell], gathered: Gathered) -> None:
        """Run the cells in which nothing is written and another number of thoughts is run."""
        for cell, outcome in self.watch.each("patched", self._varied(prepared.indices, prepared.side, cells)):
            prepared.require_finite([outcome.logits], f"{cell.name}, {prepared.direction}")
            with self.watch.measure("records"):
                _, columns, _ = prepared.measured(Predictions.of(outcome.logits, prepared.unpatched.baseline))
                gathered.add([cell], columns, said=[self._texts(outcome.said)])
            self.tick(len(prepared.indices))

    def _patch(
        self,
        prepared: PreparedBatch,
        donor: str,
        hook: str,
        into: Recipients,
        cells: Sequence[Cell],
        checked: Container[tuple[str, Cell]],
        check: EngineCheck,
        gathered: Gathered,
    ) -> None:
        """Run cells that are written with the same vectors."""
        source, present = vectors_of(donor, self.donors[donor], into)
        taken = _names_of(donor, into)
        with self.watch.measure("patched"):
            expected = expected_answers(self.experiment, donor, into, cells)
            start = recorded_start(self.experiment, prepared.memory)
            thirds = third_answers(self.experiment, prepared.side, prepared.indices, hook, source, expected, start)
        runs, done = runs_of(cells, prepared.batch.sites), 0
        similarities = Similarities(source, prepared.vectors[hook], prepared.side)
        swept = prepared.runner.sweep(hook, source, runs.patches, runs.handed)
        for ran in self.watch.each("patched", swept):
            with self.watch.measure("records"):
                judged, of_runs, finite = prepared.measured(ran.predictions)
            mine = [(run, cell) for run in range(len(ran.patches)) for cell in runs.cells[done + run]]
            for run, cell in mine:
                if finite[run].all() and (donor, cell) not in checked:
                    continue
                where, handed = f"{cell.name}, {prepared.direction}, donor {donor}", done + run in runs.handed
                written = Written(ran.patches[run], written_into(ran, run, source, handed), hook)
                logits = ran.predictions.logits(run)
                prepared.require_finite([logits], where, written)
                with self.watch.measure("checks"):
                    check.compare(prepared.batch, prepared.layouts, prepared.names, written, logits, where)
            with self.watch.measure("records"):
                of_run = [run for run, _ in mine]
                columns = {name: values[of_run] for name, values in of_runs.items()}
                if not POINTS[hook].of_neurons:  # one number has a sign, and no direction
                    columns |= similarity_columns([*similarities.of(ran, done, runs)])
                answers: list[Answers | None] = [None] * len(mine)
                for at, (run, cell) in enumerate(mine):
                    if (third := thirds.get(cell)) is not None:
                        answers[at] = third.answers
                        of_third = third_columns(judged, run, third, self._three(prepared.pairs, third))
                        for name, values in of_third.items():
                            columns[name][at] = values
                texts = [self._texts(said) for said in ran.said or [None] * len(ran.patches)]
                said = [texts[run] for run in of_run]
                gathered.add([cell for _, cell in mine], columns, present, answers, taken, said)
            self.tick(len(mine) * len(prepared.indices))
            done += len(ran.patches)

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
