"""What all laws are tried on: two pairs, laid out and run unpatched once, and the files the model came from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from mechpatch.experiments.cells import patch_of
from mechpatch.experiments.spec import Spec
from mechpatch.kinds.cells import Cell, Frame
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair
from mechpatch.patching import Batch, Outcome, Read, Write, collate, reference, rollout
from mechpatch.patching.patch import Patch
from mechpatch.patching.rounding import moved_input, spread, tolerance
from mechpatch.reprs import short_repr
from mechpatch.thoughts import Layout, thought_sites
from mechpatch.verify import huggingface
from mechpatch.verify.law import NotApplicable
from mechpatch.verify.places import places
from mechpatch.verify.source import Checkpoint

SIDES = ("clean", "corrupted")
N_CELLS = 12
MOVED = 2  # runs of each question with moved input


class Alone(NamedTuple):
    """One question run in a batch of its own, with plain hooks.

    Attributes:
        fed: its latent thoughts, as they were fed back.
    """

    batch: Batch
    outcome: Outcome
    fed: Float[Tensor, "thought d_model"]


class Floors(NamedTuple):
    """How far plain computations of one run lie apart, at most.

    Attributes:
        logits: noise floor of the logits of unpatched and patched runs.
        resid: `resid_post` at the sites.
        fed: latent thoughts.
    """

    logits: float
    resid: float
    fed: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """A model and two pairs of its user's, ready for every law.

    Attributes:
        spec: thoughts and answer format.
        layouts: clean and corrupted layout of each pair.
        layers: blocks that are tried.
        checkpoint: the model made of its files by another way; None where they are not known.
        probes: further pairs, on which alphas are compared.
        seed: seed of every draw.
        cells: that are drawn where plain hooks would take too long for all.
        tables: records of one experiment and direction, once it was run.
    """

    model: ThoughtModel
    spec: Spec
    pairs: Sequence[Pair]
    layouts: Sequence[tuple[Layout, Layout]]
    layers: tuple[int, ...]
    checkpoint: Checkpoint | None
    probes: Sequence[Pair] = field(default=())
    seed: int = 0
    cells: int = N_CELLS
    tables: dict[tuple[str, str], pa.Table] = field(default_factory=dict, init=False)
    _alone: dict[tuple[int, int], Alone] = field(default_factory=dict, init=False)
    _hugging_face: dict[tuple[int, int, int], huggingface.PlainRun] = field(default_factory=dict, init=False)

    __repr__ = short_repr

    @cached_property
    def batches(self) -> tuple[Batch, Batch]:
        """The clean questions, and the corrupted ones."""
        clean, corrupted = (self.collate([pair[side] for pair in self.layouts]) for side in (0, 1))
        return clean, corrupted

    @cached_property
    def runs(self) -> tuple[Outcome, Outcome]:
        """The unpatched run of each batch, with plain hooks."""
        clean, corrupted = (self.baseline(batch) for batch in self.batches)
        return clean, corrupted

    @cached_property
    def batch(self) -> Batch:
        """The questions that are patched: the corrupted ones."""
        return self.batches[1]

    @property
    def unpatched(self) -> Outcome:
        """Their unpatched run."""
        return self.runs[1]

    @property
    def donor(self) -> torch.Tensor:
        """What is written into them: the clean vectors of all layers and sites."""
        return self.runs[0].resid

    @cached_property
    def frame(self) -> Frame:
        """The cells there are, at the layers that are tried."""
        sites = self.batch.sites
        return Frame(
            n_layers=self.model.n_layers,
            layers=self.layers,
            sites=sites,
            thoughts=thought_sites(sites),
            feedback=self.batch.n_latents > 0,
        )

    @property
    def thoughts(self) -> list[int]:
        """The thoughts, as indices into the sites."""
        return [self.batch.sites.index(site) for site in self.frame.thoughts]

    @cached_property
    def floors(self) -> Floors:
        """The noise floor of this model: of every question, as it is and with moved input, unpatched and patched."""
        floors = [self._floors(index, side) for index in range(len(self.pairs)) for side in (0, 1)]
        return Floors(*map(max, zip(*floors, strict=True)))

    @property
    def tolerance(self) -> float:
        """Largest difference of a logit that rounding makes."""
        return self.allowed(self.floors.logits)

    def allowed(self, floor: float) -> float:
        """Largest difference that rounding makes of something with this noise floor."""
        largest = max(run.logits.abs().max().item() for run in self.runs)
        return tolerance(self.unpatched.logits.dtype, largest, floor)

    def collate(self, layouts: Sequence[Layout]) -> Batch:
        """A batch on the model's device."""
        return collate(layouts, self.model.device)

    def baseline(self, batch: Batch) -> Outcome:
        """An unpatched run with plain hooks."""
        return reference.baseline(self.model.hooked, self.model.head, batch)

    def alone(self, index: int, side: int) -> Alone:
        """One question in a batch of its own, and its unpatched run; run once."""
        if (index, side) not in self._alone:
            self._alone[index, side] = self._listened(self.collate([self.layouts[index][side]]))
        return self._alone[index, side]

    def _listened(self, batch: Batch) -> Alone:
        """The unpatched run of a question, and what was fed back in it."""
        model, head, fed = self.model, self.model.head, [self.model.hooked.W_E[:0]]

        def listening(hidden: Tensor) -> Tensor:
            assert head is not None
            fed.append(head(hidden))
            return fed[-1]

        read = Read(tuple(range(model.n_layers)), batch.columns)
        outcome = rollout(model.hooked, head and listening, batch, read=read)
        return Alone(batch, outcome, torch.cat(fed))

    def _floors(self, index: int, side: int) -> Floors:
        """Noise floors of one question without its batch: that a batch gives the same is a law of its own."""
        hooked, one, patched = self.model.hooked, self.alone(index, side), []
        layer, source = self.layers[0], self.alone(index, 1 - side).outcome.resid
        write = Write(layer, one.batch.columns[:, :, :1], source[:, :, layer, :1])
        runs = [one]
        for draw in range(MOVED):
            with moved_input(hooked, self.seed + draw):
                runs.append(self._listened(one.batch))
                patched.append(rollout(hooked, self.model.head, one.batch, [write]).logits)
        logits = spread([run.outcome.logits for run in runs])
        resid = spread([run.outcome.resid for run in runs])
        return Floors(max(logits, spread(patched)), resid, spread([run.fed for run in runs]))

    def hugging_face(self, index: int, side: int, tail: int) -> huggingface.PlainRun:
        """The unpatched run of a question with one of its continuations, by Hugging Face alone; run once.

        Raises:
            NotApplicable: the files are not known.
        """
        if (key := (index, side, tail)) not in self._hugging_face:
            files = self.files()
            run = huggingface.run(files.hf, files.head, self.layouts[index][side], tail)
            self._hugging_face[key] = run
        return self._hugging_face[key]

    def files(self) -> Checkpoint:
        """The model made of its files. Raises `NotApplicable` where they are not known."""
        if self.checkpoint is None:
            raise NotApplicable("the files that the model came from are not known")
        return self.checkpoint

    def merged(self) -> Checkpoint:
        """As `files`, where the formula merged them; `NotApplicable` says why it did not."""
        if (files := self.files()).unusual:
            raise NotApplicable(files.unusual)
        return files

    def places(self, index: int, side: int) -> tuple[int, ...]:
        """Positions of the sites of a question, found again from its text."""
        return places(self.model, self.spec, self.pairs[index], side, self.layouts[index][side])

    def sweep(self, patches: Sequence[Patch], donor: torch.Tensor | None = None) -> list[Outcome]:
        """The runs of `patches` with plain hooks, in their order."""
        model, source = self.model, self.donor if donor is None else donor
        return [run for _, run in reference.sweep(model.hooked, model.head, self.batch, source, patches)]

    def patch(self, cell: Cell) -> Patch:
        """What a cell writes."""
        return patch_of(cell, self.batch.sites)

    def draw(self, cells: Sequence[Cell], count: int | None = None) -> list[Cell]:
        """Some of `cells`, in their order; the same in every run."""
        count = self.cells if count is None else count
        if len(cells) <= count:
            return list(cells)
        chosen = np.random.default_rng(self.seed).choice(len(cells), count, replace=False)
        return [cells[index] for index in sorted(chosen)]

    def name(self, index: int, side: int) -> str:
        """A question, for messages."""
        return f"pair {self.pairs[index].pair_id!r}, {SIDES[side]}"
