"""Running a spec over pairs: batches in, one shard of records per pair out, then the table and its summary.

    pairs -> layouts -> batches -> unpatched runs (cache) -> patched runs -> metrics -> shards -> effects.parquet

A batch depends on pairs and spec alone. Its baseline is run in the same batch as its patches, so writing a run's own
vectors back changes exactly nothing, and a resumed run gives the numbers of an uninterrupted one.
"""

import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from mechpatch.axes import Logits, SiteVectors
from mechpatch.errors import ThoughtError
from mechpatch.experiments.activations import UnpatchedRuns
from mechpatch.experiments.cells import ALL, Cell, Frame
from mechpatch.experiments.chained import cumulative_cells, relay_cells
from mechpatch.experiments.donors import Donors, generator
from mechpatch.experiments.engines import ENGINES, Runner, recompute
from mechpatch.experiments.finite import Written, require_finite
from mechpatch.experiments.layerwise import layerwise_cells
from mechpatch.experiments.layouts import groups, pair_layouts
from mechpatch.experiments.positionwise import positionwise_cells
from mechpatch.experiments.records import (
    RecordBuilder,
    Unpatched,
    answer_columns,
    effect_columns,
    similarity_columns,
)
from mechpatch.experiments.spec import PAIRED, Spec
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair
from mechpatch.patching import Batch, collate
from mechpatch.patching.patch import Patch
from mechpatch.storage.results import RunDirectory, read_effects
from mechpatch.thoughts import Layout, select_sites, thought_sites
from mechpatch.thoughts.layout import BOT

log = logging.getLogger(__name__)

SIDES = ("clean", "corrupted")
Tick = Callable[[int], None]  # told of every cell that is done, times the pairs of its batch


def frame_of(model: ThoughtModel, spec: Spec, sites: tuple[str, ...]) -> Frame:
    """Which cells questions with these sites have under `spec`."""
    return Frame(
        n_layers=model.n_layers,
        layers=spec.select_layers(model.n_layers),
        sites=select_sites(spec.sites, sites),
        thoughts=thought_sites(sites),
        feedback=spec.thoughts == "latent",
    )


def cells_of(spec: Spec, frame: Frame) -> list[Cell]:
    """Every cell of `spec`, in the order in which they are run."""
    if spec.experiment == "layer":
        return layerwise_cells(frame)
    if spec.experiment == "position":
        return positionwise_cells(frame)
    chains = {"relay": relay_cells, "cumulative": cumulative_cells}
    return [cell for mode in spec.modes for cell in chains[mode](frame)]


def number_continuations(tokenizer: PreTrainedTokenizerFast, vocab_size: int) -> Bool[Tensor, " vocab"]:
    """Tokens that would prolong a number: those whose text, continuation marks aside, starts with a digit."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(min(vocab_size, len(tokenizer)))))
    flags = [bool(token) and token.removeprefix("##")[:1].isdecimal() for token in tokens]
    return torch.tensor(flags + [False] * (vocab_size - len(flags)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experiment:
    """A spec, laid out over pairs and ready to run.

    Attributes:
        layouts: clean and corrupted layout of each pair.
        batches: pair indices of each batch.
    """

    model: ThoughtModel
    spec: Spec
    pairs: Sequence[Pair]
    layouts: Sequence[tuple[Layout, Layout]]
    batches: list[list[int]]

    @classmethod
    def prepare(cls, model: ThoughtModel, spec: Spec, pairs: Sequence[Pair]) -> "Experiment":
        """Lay out all pairs; asks for everything that could be refused before anything is run.

        Raises:
            ThoughtError, SpecError: a pair has no such layout, or a layer or site does not exist.
        """
        if not pairs:
            raise ThoughtError("no pair is left to run; `mechpatch pairs FILE` says why each was dropped")
        layouts = [pair_layouts(model, spec, pair) for pair in pairs]
        experiment = cls(model=model, spec=spec, pairs=pairs, layouts=layouts, batches=groups(layouts, spec.batch_size))
        for batch in experiment.batches:
            experiment.cells(batch)
        return experiment

    def cells(self, batch: Sequence[int]) -> list[Cell]:
        """The cells of a batch; all its pairs have the same sites."""
        return cells_of(self.spec, frame_of(self.model, self.spec, self.layouts[batch[0]][0].sites))

    def work(self, batch: Sequence[int]) -> int:
        """Patched runs of a batch, counted per pair."""
        return len(self.cells(batch)) * len(self.spec.donors) * len(batch)

    def site_index(self) -> dict[str, int]:
        """Place of every site name along the sequence, over all pairs."""
        names = [BOT, *max((thought_sites(clean.sites) for clean, _ in self.layouts), key=len), "eot", "answer"]
        return {ALL: 0} | {name: place for place, name in enumerate(names)}


def run_experiment(
    experiment: Experiment,
    directory: RunDirectory,
    cache: Path | None,
    tick: Tick = lambda cells: None,
    pair_done: Callable[[dict[str, object]], None] = lambda row: None,
) -> pa.Table:
    """Run what is missing in `directory`, write `effects.parquet`, and return it.

    Args:
        cache: folder of unpatched activations; None for none.
        tick: progress.
        pair_done: told of each finished pair.

    Raises:
        NumericsError: a forward pass gave NaN or infinity.
        StorageError: a shard cannot be written.
    """
    spec = experiment.spec
    runs = UnpatchedRuns(experiment.model, experiment.layouts, cache)
    donors = Donors(
        runs,
        [pair.pair_id for pair in experiment.pairs],
        [(pair.clean.answer, pair.corrupted.answer) for pair in experiment.pairs],
        [clean.sites for clean, _ in experiment.layouts],
        spec.recipient,
        spec.seed,
    )
    builder = RecordBuilder(experiment.pairs, experiment.site_index(), spec.direction)
    continues = number_continuations(experiment.model.tokenizer, experiment.model.hooked.cfg.d_vocab)
    continues = continues.to(experiment.model.device)
    done = directory.done()
    for indices in experiment.batches:
        if done.issuperset(indices):
            tick(experiment.work(indices))
            continue
        started = time.monotonic()
        tables = _run_batch(experiment, indices, runs, donors, builder, continues, tick)
        seconds = (time.monotonic() - started) / len(indices)
        for index, table in zip(indices, tables, strict=True):
            if index not in done:
                directory.write_shard(index, table)
            row = _headline(experiment.pairs[index].pair_id, table) | {"seconds": round(seconds, 3)}
            log.info("pair %s", " ".join(f"{key}={value}" for key, value in row.items()))
            pair_done(row)
    path = directory.finish(range(len(experiment.pairs)))
    log.info("wrote %s; peak memory %.0f MB", path.name, peak_memory() / 1e6)
    return read_effects(directory.folder)


def _run_batch(
    experiment: Experiment,
    indices: Sequence[int],
    runs: UnpatchedRuns,
    donors: Donors,
    builder: RecordBuilder,
    continues: Bool[Tensor, " vocab"],
    tick: Tick,
) -> list[pa.Table]:
    spec, model = experiment.spec, experiment.model
    own = spec.recipient
    batch = collate([experiment.layouts[index][own] for index in indices], model.device)
    other = collate([experiment.layouts[index][1 - own] for index in indices], model.device)
    runner = ENGINES[spec.engine](model.hooked, model.head, batch, spec.memory)
    baseline = runner.baseline
    names = [experiment.pairs[index].pair_id for index in indices]
    layouts = [[experiment.layouts[index][side] for index in indices] for side in (0, 1)]
    given = (baseline.logits, baseline.resid)
    require_finite(model, layouts[own], names, given, f"the unpatched {SIDES[own]} run")
    values = [answer_columns(baseline.logits, batch, own, continues)]
    logits = pad_positions([runs.get(index, 1 - own).logits for index in indices], other)
    values.insert(1 - own, answer_columns(logits, other, 1 - own, continues))
    unpatched = Unpatched(baseline=baseline.logits, values=(values[0], values[1]), recipient=own)
    vectors = runs.vectors(indices, 1 - own)
    require_finite(model, layouts[1 - own], names, (logits, vectors), f"the unpatched {SIDES[1 - own]} run")
    clean, corrupted = (baseline.resid, vectors) if own == 0 else (vectors, baseline.resid)
    cells = experiment.cells(indices)
    rng = generator(spec.seed, "check", experiment.pairs[indices[0]].pair_id)
    checks = min(spec.checks, len(cells)) if spec.engine == "fast" else 0
    checked = {cells[place] for place in rng.choice(len(cells), checks, replace=False)}
    collected = []
    for donor in spec.donors:
        source, present = donors.vectors(donor, indices, baseline.resid)
        for cell, done in _patched_runs(runner, batch, source, cells):
            where = f"layer {cell.layer}, site {cell.site}, donor {donor}"
            written = [Written(done.patch.layer, done.patch.sites, done.written)]
            require_finite(model, layouts[own], names, [done.logits], where, written)
            if donor == PAIRED and cell in checked:
                recompute(model.hooked, model.head, batch, done.patch, done.written, done.logits, where)
            columns = effect_columns(done.logits, batch, unpatched, continues, spec.min_gap)
            at = done.compared_at
            columns |= similarity_columns(done.compared, clean[:, :, cell.layer, at], corrupted[:, :, cell.layer, at])
            collected.append((cell, donor, columns, present))
            tick(len(indices))
    return builder.tables(indices, collected, unpatched)


class _Done(NamedTuple):
    """A patched run.

    Attributes:
        written: at the patch's sites.
        compared, compared_at: vectors whose similarity is reported, and their sites: those written; for a cumulative
            step, what the run with the earlier writes had at this step's site itself.
    """

    patch: Patch
    logits: Logits
    written: Tensor
    compared: Tensor
    compared_at: list[int]


def _patched_runs(
    runner: Runner, batch: Batch, source: SiteVectors, cells: Sequence[Cell]
) -> Iterator[tuple[Cell, _Done]]:
    """Run each cell; relays first, then the others in their order."""
    index = {site: place for place, site in enumerate(batch.sites)}
    relays = {(cell.layer, index[cell.site]): cell for cell in cells if cell.experiment == "relay"}
    if relays:
        layers, sites = ([*dict.fromkeys(key[axis] for key in relays)] for axis in (0, 1))
        for patch, step in runner.relay(source, layers, sites):
            vectors = step.written[:, :, None]
            yield relays[patch.layer, patch.sites[0]], _Done(patch, step.logits, vectors, vectors, [*patch.sites])
    others = [cell for cell in cells if cell.experiment != "relay"]
    patches = [Patch(cell.layer, tuple(index[site] for site in cell.sites)) for cell in others]
    before = runner.baseline.resid[:, :, :0]
    for cell, (patch, outcome) in zip(others, runner.sweep(source, patches), strict=True):
        sites = [*patch.sites]
        written = source[:, :, cell.layer, sites]
        if cell.experiment != "cumulative":
            yield cell, _Done(patch, outcome.logits, written, written, sites)
            continue
        had = runner.baseline.resid[:, :, cell.layer] if cell.step == 0 else before
        yield cell, _Done(patch, outcome.logits, written, had[:, :, sites[-1:]], sites[-1:])
        before = outcome.resid[:, :, 0]


def pad_positions(
    logits: Sequence[Float[Tensor, "1 2 _ vocab"]], batch: Batch
) -> Float[Tensor, "pair 2 position vocab"]:
    """Stack runs that were read alone to the answer positions of `batch`, repeating the last position as it does."""
    width = batch.reads.shape[2]
    return torch.cat(
        [torch.cat([each, each[:, :, -1:].expand(-1, -1, width - each.shape[2], -1)], dim=2) for each in logits]
    )


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes; on a GPU, what torch allocated there."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _headline(pair_id: str, table: pa.Table) -> dict[str, object]:
    """What the log says of a pair: its largest recovery, where, and whether the model answers both sides."""
    rows = [
        row
        for row in table.select(["donor", "layer", "site", "step", "recovery", "structural"]).to_pylist()
        if row["donor"] == PAIRED and row["recovery"] is not None and not row["structural"]
    ]
    best = max(rows, key=lambda row: row["recovery"], default=None)
    correct = bool(table["both_correct"][0].as_py()) if len(table) else None
    found = (
        {} if best is None else {"layer": best["layer"], "site": best["site"], "recovery": round(best["recovery"], 3)}
    )
    return {"pair_id": pair_id, "both_correct": correct, **found}
