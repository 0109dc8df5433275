"""A spec laid out over pairs: which cells each batch has, and how much work that is. Nothing is run here."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mechpatch.errors import SpecError, ThoughtError
from mechpatch.experiments.cells import NOTHING_KNOWN, Known, all_cells, fixed_sites
from mechpatch.experiments.choice import Candidates, candidates, foreseen
from mechpatch.experiments.layouts import groups, most_thoughts, pair_layouts
from mechpatch.experiments.spec import Spec
from mechpatch.kinds import Cell
from mechpatch.kinds.cells import ALL, ANSWER, BOT, EOT, JOIN
from mechpatch.models import ThoughtModel
from mechpatch.names import as_typed
from mechpatch.own import NOTHING, Own
from mechpatch.pairs import Pair
from mechpatch.pairs.counterfactual import given_answers, step_values
from mechpatch.patching.memory import Memory
from mechpatch.reprs import short_repr
from mechpatch.storage.choices import Choice
from mechpatch.thoughts import Layout, thought_sites


def require_expected(pairs: Sequence[Pair], sites: Sequence[str]) -> None:
    """Every expected answer can be read and stands at a site. Raises `SpecError` that names the pair."""
    found = False
    for pair in pairs:
        try:
            answers = given_answers(pair.fields)
        except ValueError as error:
            raise SpecError(f"--expected: pair {pair.pair_id!r}: {error}") from error
        found = found or bool(answers)
        for name in answers:
            if unknown := {*name.split(JOIN)} - {*sites, ALL}:
                known = ", ".join((ALL, *sites))
                raise SpecError(
                    f"--expected: pair {pair.pair_id!r}: no site {min(unknown)!r}; expected {known}, or several with +"
                )
    if not found:
        raise SpecError('--expected: no pair has a field expected, such as {"t1": 12}; leave the option out')


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experiment:
    """A spec, laid out over pairs and ready to run.

    Attributes:
        pairs: every pair that could be run; the others are donors.
        layouts: clean and corrupted layout of each pair.
        asked: indices of the pairs that are run, rising.
        own: kinds, donors and metrics of the user's own.
        known: what all pairs have in common.
        pinned: what patches are cut into chunks by, where a run has begun; None for what this machine gives.
    """

    model: ThoughtModel
    spec: Spec
    pairs: Sequence[Pair]
    layouts: Sequence[tuple[Layout, Layout]]
    asked: Sequence[int]
    own: Own = NOTHING
    known: Known = NOTHING_KNOWN
    pinned: Memory | None = None

    __repr__ = short_repr

    @classmethod
    def prepare(
        cls,
        model: ThoughtModel,
        spec: Spec,
        pairs: Sequence[Pair],
        asked: Sequence[int] | None = None,
        own: Own = NOTHING,
    ) -> "Experiment":
        """Lay out all pairs; asks for everything that could be refused before anything is run.

        Args:
            asked: indices of the pairs to run; None for all.
            own: what `spec` names and mechpatch does not have.

        Raises:
            ThoughtError, SpecError: a pair has no such layout, or a layer or site does not exist.
        """
        if own.described() != spec.own:
            had, now = (as_typed("own", found) for found in (own.described(), spec.own))
            raise SpecError(f"of the user's own this run needs {now}, and it was given {had}: give it these in Python")
        asked = range(len(pairs)) if asked is None else asked
        if not asked:
            raise ThoughtError("no pair is left to run; `mechpatch pairs FILE` says why each was dropped")
        layouts = [pair_layouts(model, spec, pair) for pair in pairs]
        experiment = cls(
            model=model,
            spec=spec,
            pairs=pairs,
            layouts=layouts,
            asked=sorted(asked),
            own=own,
            known=Known(
                fixed=fixed_sites(layouts),
                n_steps=max(len(step_values(side)) for pair in pairs for side in (pair.clean, pair.corrupted)),
                most=most_thoughts(spec, layouts, model.n_ctx),
            ),
        )
        experiment = experiment._foreseeing()
        experiment.check()
        if spec.expected:
            require_expected([pairs[index] for index in experiment.asked], layouts[0][0].sites)
        return experiment

    def grown(self, spec: Spec, names: Collection[str], memory: Memory | None = None) -> "Experiment":
        """All that a directory holds in the end, over its pairs; checked as this was. Raises as `prepare`.

        Args:
            memory: as the run was cut into chunks by when it began; None for what this machine gives.
        """
        asked = [index for index, pair in enumerate(self.pairs) if pair.pair_id in names]
        whole = replace(self, spec=replace(spec, checks=self.spec.checks), asked=asked, pinned=memory)._foreseeing()
        whole.check()
        return whole

    @property
    def candidates(self) -> list[Candidates]:
        """What a screen chooses from; nothing where there is none."""
        if self.spec.screen is None:
            return []
        every = [self.layouts[index][0].sites for index in self.asked]
        return candidates(self.model, self.spec, every, self.own, self.known)

    def choosing(self, choices: Sequence[Choice]) -> "Experiment":
        """The same with what a screen chose."""
        return replace(self, known=replace(self.known, choices=tuple(choices)))

    def _foreseeing(self) -> "Experiment":
        """The same with as many cells as a screen will choose: which ones, its run finds out."""
        return self.choosing([foreseen(each, self.spec.screen or 0) for each in self.candidates])

    def check(self) -> None:
        """Ask for every cell. Raises `ThoughtError` or `SpecError` if a layer or site does not exist."""
        for batch in self.batches:
            self.cells(batch)

    @property
    def memory(self) -> Memory:
        """What patches are cut into chunks by."""
        return self.pinned or Memory.of(self.model.device, self.spec.memory)

    @property
    def groups(self) -> list[list[int]]:
        """Pair indices of each batch, whether or not they are asked for: those of equal pairs are equal."""
        return groups(self.layouts, self.spec.batch_size, self.model.n_ctx, self.spec.say or 0)

    @property
    def batches(self) -> list[list[int]]:
        """Pair indices of each batch. Batches are cut from all pairs, so that a run over more of them has equal ones;
        those that are not asked for are left out."""
        asked = set(self.asked)
        cut = ([index for index in batch if index in asked] for batch in self.groups)
        return [batch for batch in cut if batch]

    def cells(self, batch: Sequence[int]) -> list[Cell]:
        """The cells of a batch, in one direction; all its pairs have the same sites."""
        sites = self.layouts[batch[0]][0].sites
        return all_cells(self.model, self.spec, sites, self.own, self.known)

    def donors(self, experiment: str) -> tuple[str, ...]:
        """The donors that an experiment is run with, what it asks about first."""
        return self.own.kind(experiment).donors or self.spec.donors

    @property
    def all_donors(self) -> tuple[str, ...]:
        """The donors of all experiments, each once."""
        return tuple(dict.fromkeys(donor for name in self.spec.experiments for donor in self.donors(name)))

    def work(self, batch: Sequence[int]) -> int:
        """Patched runs of a batch, counted per pair."""
        runs = sum(len(self.donors(cell.experiment)) for cell in self.cells(batch))
        return runs * len(self.spec.directions) * len(batch)

    def site_index(self) -> dict[str, int]:
        """Place of every site name along the sequence, over all pairs; those of sets follow."""
        names = [BOT, *max((thought_sites(clean.sites) for clean, _ in self.layouts), key=len), EOT, ANSWER]
        index = {ALL: 0} | {name: place for place, name in enumerate(names)}
        found = {cell.site: cell.sites for batch in self.batches for cell in self.cells(batch)}
        sets = sorted(
            found.keys() - index.keys(), key=lambda name: ([index[site] for site in found[name]], len(name), name)
        )
        return index | {name: place for place, name in enumerate(sets, start=len(names))}
