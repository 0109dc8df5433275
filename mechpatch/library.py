"""The library's own surface: pairs in, a run out, everything in between as in the command line."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa

from mechpatch import workflow
from mechpatch.catalogue import PAIRED
from mechpatch.data import pair_path
from mechpatch.errors import SpecError
from mechpatch.experiments.given import Settings, keywords, loaded, metrics_of, several, spec_of
from mechpatch.experiments.pair_file import PairFile, screened
from mechpatch.experiments.spec import Spec, parse_experiments
from mechpatch.kinds import Kind, kind_of
from mechpatch.models import ThoughtModel
from mechpatch.own import Donor, Metric, Own
from mechpatch.pairs import Pair, pairs_from
from mechpatch.pairs import load_pairs as read_file
from mechpatch.points import point_of, split_hook
from mechpatch.progress import progress
from mechpatch.scale import Cluster
from mechpatch.stats import RunSummary
from mechpatch.stats.finished import FinishedRun
from mechpatch.stats.frames import answers_frame, cells_frame
from mechpatch.storage.remote import local_run
from mechpatch.views.figures import files as figures
from mechpatch.views.report import write_report
from mechpatch.views.told import told
from mechpatch.views.words.lines import lines
from mechpatch.views.words.reading import reading

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Run:
    """A finished run.

    Attributes:
        records: one row per pair, cell, step and donor, as an Arrow table.
        summary: shares that switch, means, intervals, tests and checks of every cell, as `summary.json` holds them.
        folder: its directory; None for a run in memory.
    """

    def __init__(self, kept: workflow.Kept | FinishedRun) -> None:
        self._kept, self.folder = kept, kept.folder

    def __repr__(self) -> str:
        counts = self.summary.counts
        return f"Run({counts.pairs} pairs, {self.records.num_rows:,} rows, {self.folder or 'in memory'})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the three lines that the page and the terminal have, too."""
        return told(lines(self.summary))

    @property
    def words(self) -> str:
        """The run in words: what was done, found and is to be distrusted, and what each experiment says."""
        return reading(self.summary)

    @property
    def records(self) -> pa.Table:
        """One row per pair, cell, step and donor."""
        return self._kept.records

    @property
    def summary(self) -> RunSummary:
        """What the records say, cell by cell, as attributes; `mechpatch.stats.summary_values` names them all."""
        return self._kept.summary

    @property
    def effects(self) -> "pd.DataFrame":
        """The records as a DataFrame: `mechpatch guide definitions` says what each column means."""
        return self.records.to_pandas()

    @property
    def cells(self) -> "pd.DataFrame":
        """One row per cell and donor: share of pairs that switch and mean effect, each with its interval, and q."""
        return cells_frame(self.summary.cells)

    @property
    def answers(self) -> "pd.DataFrame":
        """One row per cell and donor of necessity, count, early and swap: shares of pairs that keep their answer, give
        the other side's or neither, and that give the expected one; of how many pairs, and each with its interval."""
        return answers_frame(self.summary.answers)

    def plot(
        self,
        metric: str = "switched",
        experiment: str | None = None,
        direction: str | None = None,
        donor: str = PAIRED,
        hook: str | None = None,
    ) -> "Figure":
        """A figure of one experiment: a map, a profile over layers, the steps of a chain, triangles of two sites, or
        shares of pairs, of necessity, count, early and swap.

        Args:
            metric: a column of the records, or switched, neither, effect, recovery.
            experiment: by default the first that was run.
            direction: by default the first that was run.
            hook: the hook point that was written, by default the first; those with heads have a map of layers × heads
                for every position, and of neurons the cells with the largest means are drawn.

        Raises:
            SpecError: the run has no such experiment, direction, donor or hook point.
        """
        spec = self._kept.spec["spec"]
        experiment, direction = str(experiment or spec["experiments"][0]), str(direction or spec["directions"][0])
        first = split_hook(spec["hooks"][0])[0]
        if kind_of(experiment).donors and metric == "switched":
            hook = "thought" if experiment in ("count", "early") else hook or first
            return figures.answer_figure(self.records, experiment, direction, hook)
        point = point_of(hook or first)
        drawing, incorrect = kind_of(experiment).drawing, self.summary.include_incorrect
        if donor == PAIRED and point.parts is None:
            if drawing == "profile":
                return figures.layer_profile(self.records, metric, direction, incorrect, point.name)
            if drawing == "chain":
                return figures.trajectories(self.records, experiment, direction, incorrect, point.name, metric)
            if drawing == "triangle":
                return figures.pair_maps(self.records, metric, direction, incorrect, point.name)
        return figures.heatmap(self.records, metric, experiment, direction, donor, incorrect, point.name)

    def save(self, folder: str | Path) -> Path:
        """Write the run as a directory, which `mechpatch report`, `plot` and `compare` take.

        Raises:
            SpecError, StorageError: the folder holds something else, or cannot be written.
        """
        workflow.write_run(self._kept, Path(folder))
        return Path(folder)

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the page of the run, which opens offline, and return its path."""
        if self.folder is not None:
            return write_report([self.folder], Path(path))
        with tempfile.TemporaryDirectory() as folder:
            return write_report([self.save(Path(folder) / "run")], Path(path))


def load_pairs(source: str | Path | Pair | Iterable[Pair | Mapping[str, object]]) -> list[Pair]:
    """Pairs of a file, of "demo", or of dicts `{"pair_id", "clean": {"question", "answer"}, "corrupted": {…}}`.

    A single `Pair` is a list of one.

    Raises:
        PairError: lists every fault there is.
    """
    if isinstance(source, str | Path):
        return read_file(pair_path(str(source)))
    return pairs_from([source] if isinstance(source, Pair) else source)


def run(
    model: ThoughtModel,
    pairs: str | Path | Pair | Iterable[Pair | Mapping[str, object]],
    experiments: str | Kind | Sequence[str | Kind] = "position",
    *,
    nulls: str | Donor | Sequence[str | Donor] = (),
    metrics: Mapping[str, Callable[..., Any]] | Sequence[Metric] = (),
    limit: int | None = None,
    out: str | Path | None = None,
    cache: str | Path | None = None,
    include_incorrect: bool = False,
    mixed: bool = False,
    product: str = "auto",
    ray: str | None = None,
    workers: int | None = None,
    gpus_per_worker: int | float | None = None,
    quiet: bool = False,
    **settings: Unpack[Settings],
) -> Run:
    """Patch every pair, in memory or into a directory.

    Args:
        pairs: as `load_pairs` takes them.
        experiments: names of kinds (`mechpatch.kinds.KINDS`; all and chained stand for several), or kinds of your own.
        nulls: null donors beside the effect, by name (`mechpatch.catalogue.NULLS`), or donors of your own.
        metrics: metrics of your own, by the name of their column, see `Metric`.
        limit: run the first so many pairs; the others are donors.
        out: directory that keeps the run and lets it grow; None for memory alone.
        cache: folder of unpatched runs; None for none.
        include_incorrect: let pairs that the unpatched model gets wrong into means and figures.
        mixed: go on with a run that was begun with other threads, libraries or devices; recorded, and reported.
        product: library of the engine's products on a CPU: torch, onednn, or auto for the faster one.
        ray: run the batches on a Ray cluster: local, auto or HOST:PORT, see `mechpatch guide scale`; None for here.
        workers, gpus_per_worker: of that cluster, see `mechpatch.scale.Cluster`.
        quiet: show no bar on a terminal or in a notebook.
        settings: further fields of `mechpatch.experiments.spec.Spec`: hooks, layers, sites, subsets, window, screen,
            directions, thoughts, n_thoughts, prefix, batch_size, seed, engine, checks, memory …

    Returns:
        The run: `effects`, `cells`, `summary`, `plot()`, `report()`.

    Raises:
        MechpatchError: pairs or settings cannot be run; the message says why and what to do.
    """
    model, kinds, donors = loaded(model), several("experiments", experiments, Kind), several("nulls", nulls, Donor)
    own = Own(
        metrics=metrics_of(metrics),
        donors=tuple(each for each in donors if isinstance(each, Donor)),
        kinds=tuple(each for each in kinds if isinstance(each, Kind)),
    )
    spec = spec_of(
        "run",
        keywords(run),
        {"thoughts": "latent" if model.head is not None else "text", **settings},
        experiments=parse_experiments([each.name if isinstance(each, Kind) else each for each in kinds]),
        nulls=tuple(each.name if isinstance(each, Donor) else each.replace("-", "_") for each in donors),
        own=own.described(),
    )
    file = pairs_to_run(model, pairs, spec, limit)
    where = None if cache is None else Path(cache)
    cluster = None
    if ray is not None:
        cluster = Cluster(address=ray, workers=workers, gpus_per_worker=gpus_per_worker, cache=where, mixed=mixed)
    bar = None if quiet else progress
    if out is None:
        kept = workflow.run_in_memory(
            model,
            spec,
            file,
            cache=where,
            include_incorrect=include_incorrect,
            own=own,
            progress=bar,
            product=product,
            run_batches=cluster,
        )
        return Run(kept)
    workflow.run_to_directory(
        model,
        spec,
        file,
        Path(out),
        cache=where,
        include_incorrect=include_incorrect,
        own=own,
        progress=bar,
        drawn=False,
        mixed=mixed,
        product=product,
        run_batches=cluster,
    )
    return open_run(out)


def open_run(folder: str | Path) -> Run:
    """A finished run, from its directory, or from a URL that fsspec knows, of which a copy is read.

    Raises:
        StorageError: it is not finished, is damaged, or is none.
    """
    finished = FinishedRun(local_run(folder))
    finished.require_whole()
    return Run(finished)


def pairs_to_run(
    model: ThoughtModel,
    pairs: str | Path | Pair | Iterable[Pair | Mapping[str, object]],
    spec: Spec,
    limit: int | None,
) -> PairFile:
    """Pairs as `load_pairs` takes them, screened. Raises `SpecError`: none is left."""
    name, path = ("given in Python", None)
    if isinstance(pairs, str | Path):
        name, path = str(pairs), pair_path(str(pairs))
    file = screened(load_pairs(pairs), name, model, spec, path, limit)
    if not file.kept:
        raise SpecError(
            f"none of {file.total} pairs can be run: "
            + ", ".join(f"{each.pair.pair_id}: {each.reason}" for each in file.screening.dropped[:5])
        )
    return file
