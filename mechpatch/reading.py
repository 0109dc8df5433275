"""Reading thoughts: a model and pairs in, a table with its controls out; or the pairs of a finished run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa

from mechpatch.errors import SpecError
from mechpatch.experiments.given import Settings, keywords, loaded, spec_of
from mechpatch.inspection.reopened import Reopened
from mechpatch.library import pairs_to_run
from mechpatch.models import ThoughtModel
from mechpatch.names import not_known
from mechpatch.pairs import Pair
from mechpatch.readings import Recorded, TunedLens, read_attention, read_lens, read_probes
from mechpatch.readings import fit_lens as fit
from mechpatch.readings.tuned import STEPS
from mechpatch.stats.attention import summarise_attention
from mechpatch.stats.finished import FinishedRun
from mechpatch.stats.lens import summarise_lens
from mechpatch.stats.probes import summarise_probes
from mechpatch.stats.summary_values import Summary
from mechpatch.storage.readings import Stored, read_reading, write_reading
from mechpatch.views.figures.attention import attention_figure
from mechpatch.views.figures.lens import lens_maps, probe_maps
from mechpatch.views.told import told
from mechpatch.views.words.attention import attention_lines
from mechpatch.views.words.lens import lens_lines
from mechpatch.views.words.lines import Lines
from mechpatch.views.words.probes import probe_lines

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a table is understood.

    Attributes:
        top: of a lens, a rank of at most this is a hit.
        include_incorrect: whether pairs that the model gets wrong are used.
        side: whose questions a figure shows, and the words of attention are about.
    """

    top: int = 1
    include_incorrect: bool = False
    side: str = "clean"


USUAL = Options()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One kind of reading: from a table to what is said and drawn, beside the summary of the run that was read."""

    summarise: Callable[[pa.Table, Options], Any]
    lines: Callable[[Any, Summary | None, bool], Lines]
    plot: Callable[[Any, Options, Summary | None], Any]


_KINDS = {
    "lens": _Kind(
        summarise=lambda table, options: summarise_lens(table, options.top, options.include_incorrect),
        lines=lens_lines,
        plot=lambda found, options, run: lens_maps(found, options.side, run),
    ),
    "probe": _Kind(
        summarise=lambda table, options: summarise_probes(table, options.include_incorrect),
        lines=lambda found, run, tuned: probe_lines(found, run),
        plot=lambda found, options, run: probe_maps(found, run),
    ),
    "attention": _Kind(
        summarise=lambda table, options: summarise_attention(table, options.side, options.include_incorrect),
        lines=lambda found, run, tuned: attention_lines(found),
        plot=lambda found, options, run: attention_figure(found),
    ),
}
KINDS = tuple(_KINDS)


class Reading:
    """What was read in the thoughts of unpatched runs.

    Attributes:
        records: one row per pair, side, place and target; `mechpatch.readings.table` has the columns.
        about: what they are of, JSON values.
        run: the summary of the run that was read; None for pairs that were not patched.
    """

    def __init__(self, stored: Stored, run: Summary | None = None, options: Options = USUAL) -> None:
        self.records, self.about, self.run, self._options = stored.table, stored.about, run, options
        self._kind = _KINDS[str(stored.about["reading"])]

    def __repr__(self) -> str:
        return f"Reading({self.about['reading']}, {self.summary.used} pairs, {self.records.num_rows:,} rows)"

    def _repr_html_(self) -> str:
        """What a notebook shows: three lines."""
        return told(self.lines)

    @property
    def table(self) -> "pd.DataFrame":
        """The records as a DataFrame."""
        return self.records.to_pandas()

    @cached_property
    def summary(self) -> Any:
        """What the records say over pairs: `stats.lens.LensSummary`, or `stats.attention.AttentionSummary`."""
        return self._kind.summarise(self.records, self._options)

    @property
    def lines(self) -> Lines:
        """What was done, what was found, what to distrust."""
        return self._kind.lines(self.summary, self.run, bool(self.about.get("tuned")))

    @property
    def words(self) -> str:
        """The three lines as text."""
        return "\n".join(f"{head}: {text}" for head, text in self.lines.named())

    def plot(self) -> "Figure":
        """Maps of a lens beside the causal map where there is one; bars of what attention rests on."""
        return self._kind.plot(self.summary, self._options, self.run)


def read(
    model: ThoughtModel,
    pairs: str | Path | Pair | Iterable[Pair | Mapping[str, object]],
    what: str = "lens",
    *,
    top: int = 1,
    guesses: int = 5,
    targets: Sequence[str] = (),
    twin: Reading | None = None,
    tuned: TunedLens | None = None,
    limit: int | None = None,
    cache: str | Path | None = None,
    include_incorrect: bool = False,
    side: str = "clean",
    **settings: Unpack[Settings],
) -> Reading:
    """Read the thoughts of every pair, both sides, with controls.

    Args:
        pairs: as `load_pairs` takes them.
        what: lens, probe or attention.
        top: of a lens, a target among so many of the likeliest tokens is a hit.
        guesses: how many of the likeliest tokens are kept as text.
        targets: of probes, what they are trained for, see `mechpatch.readings.probes.read_probes`.
        twin: a reading of the same pairs with another model, such as one that feeds no thought back: one more control.
        tuned: a lens that was trained on this model, see `fit_lens`; pairs that it was trained on are not read.
        limit: read the first so many pairs; the others are controls.
        cache: folder of unpatched runs; None for none.
        side: whose questions the figure shows; clean or corrupted.
        settings: fields of `mechpatch.experiments.spec.Spec` that say how a question is run: thoughts, n_thoughts,
            prefix, seed …

    Raises:
        MechpatchError: pairs or settings cannot be run; the message says why and what to do.
    """
    _require_known(what)
    recorded = _recorded(model, pairs, limit, cache, settings)
    other = None if twin is None else Stored(twin.records, twin.about)
    options = Options(top=top, include_incorrect=include_incorrect, side=side)
    return Reading(_read(what, recorded, guesses, targets, other, tuned), None, options)


def fit_lens(
    model: ThoughtModel,
    pairs: str | Path | Pair | Iterable[Pair | Mapping[str, object]],
    *,
    share: float = 0.5,
    steps: int = STEPS,
    limit: int | None = None,
    cache: str | Path | None = None,
    **settings: Unpack[Settings],
) -> TunedLens:
    """Train a tuned lens on part of the pairs; `read(…, tuned=lens)` reads the others with it.

    Args:
        share: of the pairs that it is trained on.
        steps: of training; about 250 are enough for the models that are shipped.
        limit, cache, settings: as `read` has them.

    Raises:
        MechpatchError: as `read`; or there are too few pairs.
    """
    recorded = _recorded(model, pairs, limit, cache, settings)
    return fit(recorded, share=share, steps=steps, seed=recorded.spec.seed)


def fit_run(finished: Reopened, model: ThoughtModel, *, share: float, cache: Path | None, tick: Tick) -> TunedLens:
    """The same on the pairs of a finished run. Raises `SpecError`, `StorageError`: another model, or too few pairs."""
    return fit(_of_run(finished, model, cache), share=share, seed=finished.spec.seed, tick=tick)


def _recorded(
    model: ThoughtModel,
    pairs: str | Path | Pair | Iterable[Pair | Mapping[str, object]],
    limit: int | None,
    cache: str | Path | None,
    settings: Mapping[str, Any],
) -> Recorded:
    """Pairs that can be read, laid out."""
    thoughts = "latent" if loaded(model).head is not None else "text"
    spec = spec_of("read", keywords(read), {"thoughts": thoughts, **settings}, experiments=("position",))
    file = pairs_to_run(model, pairs, spec, limit)
    return Recorded.prepare(model, spec, file.kept, file.asked, None if cache is None else Path(cache))


def _of_run(run: Reopened, model: ThoughtModel, cache: Path | None) -> Recorded:
    """The pairs of a finished run, laid out. Raises `SpecError`: it ran another model."""
    run.check(model)
    return Recorded.prepare(model, run.spec, run.pairs, [run.index(name) for name in run.names], cache)


def read_run(
    finished: FinishedRun,
    run: Reopened,
    model: ThoughtModel,
    what: str = "lens",
    *,
    guesses: int = 5,
    targets: Sequence[str] = (),
    twin: FinishedRun | None = None,
    tuned: TunedLens | None = None,
    cache: Path | None = None,
    tick: Tick = lambda questions: None,
) -> Path:
    """Read the pairs of a run into its directory; the path of the table.

    Args:
        run: the same run, see `reopen`; `model` is the one that it ran.
        twin: a run whose reading of the same kind is there already.
        tuned: see `read`.

    Raises:
        SpecError, StorageError: another model, or no reading of the twin.
    """
    _require_known(what)
    recorded = _of_run(run, model, cache)
    other = None if twin is None else read_reading(twin.folder, what)
    found = _read(what, recorded, guesses, targets, other, tuned, tick)
    return write_reading(run.folder, what, found.table, found.about)


def open_reading(run: FinishedRun, what: str = "lens", options: Options = USUAL) -> Reading:
    """A reading of a finished run. Raises `StorageError` if there is none, or it is damaged."""
    return Reading(read_reading(run.folder, what), run.summary, options)


def _read(
    what: str,
    recorded: Recorded,
    guesses: int,
    targets: Sequence[str],
    twin: Stored | None,
    tuned: TunedLens | None,
    tick: Tick = lambda questions: None,
) -> Stored:
    """A reading with what it is of."""
    if tuned is not None:
        recorded = _unseen(what, recorded, tuned)
    about = {
        "reading": what,
        "model": recorded.model.fingerprint,
        "seed": recorded.spec.seed,
        "twin": None if twin is None else twin.about["model"],
        "tuned": None if tuned is None else tuned.about,
        "pairs": [recorded.pairs[index].pair_id for index in recorded.asked],
    }
    if what != "lens":
        if twin is not None:
            raise SpecError(f"{what} has no twin: read two runs, and look at both")
        if what == "attention":
            return Stored(read_attention(recorded, tick), about)
        return Stored(read_probes(recorded, tuple(targets), recorded.spec.seed, tick), about)
    seed, table = recorded.spec.seed, None if twin is None else twin.table
    found = read_lens(recorded, top=guesses, seed=seed, translate=tuned, twin=table, tick=tick)
    return Stored(found, about)


def _unseen(what: str, recorded: Recorded, tuned: TunedLens) -> Recorded:
    """The pairs that a lens was not trained on."""
    if what != "lens":
        raise SpecError(f"{what} has no tuned lens; read lens with it")
    tuned.require(recorded.model)
    trained = {*tuned.about["pairs"]}
    asked = [index for index in recorded.asked if recorded.pairs[index].pair_id not in trained]
    if not asked:
        raise SpecError(f"the tuned lens was trained on all {len(recorded.asked)} pairs; train one on a part of them")
    return replace(recorded, asked=asked)


def _require_known(what: str) -> None:
    if what not in KINDS:
        raise SpecError(not_known("what to read", [what], KINDS))
