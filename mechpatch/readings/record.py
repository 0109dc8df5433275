"""Unpatched runs of all pairs, both sides: what every kind of reading looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from mechpatch.errors import NumericsError
from mechpatch.experiments.layouts import answer_prefix, pair_layouts
from mechpatch.experiments.running.activations import SIDES, UnpatchedRuns
from mechpatch.experiments.running.answering import outcomes_of
from mechpatch.experiments.running.continuations import Openings
from mechpatch.experiments.running.intact import require_intact
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair
from mechpatch.points import RESID_POST
from mechpatch.readings.targets import Target, targets_of
from mechpatch.reprs import short_repr
from mechpatch.thoughts import Layout, thought_sites

THOUGHT = "thought"
Question = tuple[int, int]  # a pair, and a side of it: 0 clean, 1 corrupted


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """Pairs with their unpatched runs, which are taken when they are first asked for.

    Attributes:
        pairs: every pair that could be run; those that are not asked for serve as controls.
        layouts: clean and corrupted layout of each pair.
        asked: indices of the pairs that are read.
    """

    model: ThoughtModel
    spec: Spec
    pairs: Sequence[Pair]
    layouts: Sequence[tuple[Layout, Layout]]
    asked: Sequence[int]
    runs: UnpatchedRuns

    __repr__ = short_repr

    @classmethod
    def prepare(
        cls, model: ThoughtModel, spec: Spec, pairs: Sequence[Pair], asked: Sequence[int], cache: Path | None
    ) -> "Recorded":
        """Lay out all pairs. Raises `ThoughtError` that names a pair, `CheckpointError` if the model has changed."""
        require_intact(model)
        layouts = [pair_layouts(model, spec, pair) for pair in pairs]
        hooks = (RESID_POST, THOUGHT) if spec.thoughts == "latent" else (RESID_POST,)
        runs = UnpatchedRuns(model, layouts, spec.engine, cache, hooks)
        return cls(model=model, spec=spec, pairs=pairs, layouts=layouts, asked=sorted(asked), runs=runs)

    @property
    def hooks(self) -> tuple[str, ...]:
        """The hook points that are read: `resid_post`, and `thought` where thoughts are fed back."""
        return (RESID_POST, THOUGHT) if self.spec.thoughts == "latent" else (RESID_POST,)

    def layout(self, question: Question) -> Layout:
        """How a question is laid out."""
        return self.layouts[question[0]][question[1]]

    def sites(self, question: Question, hook: str) -> tuple[str, ...]:
        """The sites at which a hook point is read."""
        sites = self.layout(question).sites
        return thought_sites(sites) if hook == THOUGHT else sites

    @cached_property
    def targets(self) -> Mapping[Question, tuple[Target, ...]]:
        """What is looked for in each question of the file."""
        prefix = answer_prefix(self.model, self.spec)
        return {
            (index, side): targets_of(self.model.tokenizer, pair, side, prefix)
            for index, pair in enumerate(self.pairs)
            for side in (0, 1)
        }

    def vectors(self, question: Question, hook: str) -> Float[Tensor, "layer site d_model"]:
        """A hook point at its sites; `thought` has one layer. Raises `NumericsError` for what is not finite."""
        index, side = question
        if index not in self._right:
            self._run(index)
        found = self.runs.vectors(index, side, hook)[0, 0]
        if hook == THOUGHT:
            named = self.layout(question).sites
            found = found[:, [named.index(site) for site in self.sites(question, hook)]]
        if not bool(found.isfinite().all()):
            raise NumericsError(
                f"pair {self.pairs[index].pair_id!r}, the {SIDES[side]} run: {hook} is NaN or infinite somewhere. In "
                "bfloat16 choose --dtype float32; otherwise look for damaged weights"
            )
        return found

    def both_correct(self, index: int) -> bool:
        """Whether the model answers both questions of a pair rightly."""
        if index not in self._right:
            self._run(index)
        return self._right[index]

    def _run(self, index: int) -> None:
        """Run a pair, once: its vectors are kept by `runs`, and what it answers is read off at once."""
        recorded = self.runs.get(index)
        self._right[index] = outcomes_of(self._openings, self.pairs[index], self.layouts[index], recorded) == SIDES

    @cached_property
    def _right(self) -> dict[int, bool]:
        return {}

    @cached_property
    def _openings(self) -> Openings:
        return Openings.of(self.model.tokenizer, self.model.hooked.cfg.d_vocab, self.model.device)
