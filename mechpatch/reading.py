"""Reading thoughts: a model and pairs in, a table with its controls out; or the pairs of a finished run."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechpatch.data import pair_path
from mechpatch.errors import SpecError
from mechpatch.experiments.pair_file import screened
from mechpatch.experiments.spec import Spec
from mechpatch.inspection.reopened import Reopened
from mechpatch.library import load_pairs
from mechpatch.models import ThoughtModel
from mechpatch.names import not_known
from mechpatch.pairs import Pair
from mechpatch.readings import Recorded, read_lens
from mechpatch.stats.finished import FinishedRun
from mechpatch.stats.lens import LensSummary, summarise_lens
from mechpatch.stats.summary_values import Summary
from mechpatch.storage.readings import Stored, read_reading, write_reading
from mechpatch.views.figures.lens import lens_maps
from mechpatch.views.told import told
from mechpatch.views.words.lens import lens_lines
from mechpatch.views.words.lines import Lines

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

KINDS = ("lens",)
Tick = Callable[[int], None]


class Reading:
    """What was read in the thoughts of unpatched runs.

    Attributes:
        records: one row per pair, side, place and target; `mechpatch.readings.table` has the columns.
        about: what they are of, JSON values.
        run: the summary of the run that was read; None for pairs that were not patched.
    """

    def __init__(
        self, stored: Stored, run: Summary | None = None, top: int = 1, include_incorrect: bool = False
    ) -> None:
        self.records, self.about, self.run = stored.table, stored.about, run
        self._top, self._incorrect = top, include_incorrect

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
    def summary(self) -> LensSummary:
        """Share of pairs that are hit, for each side, target and place, held against every control."""
        return summarise_lens(self.records, self._top, self._incorrect)

    @property
    def lines(self) -> Lines:
        """What was done, what was found, what to distrust."""
        return lens_lines(self.summary, self.run)

    @property
    def words(self) -> str:
        """The three lines as text."""
        return "\n".join(f"{head}: {text}" for head, text in self.lines.named())

    def plot(self, side: str = "clean") -> "Figure":
        """A map of layers × sites for each target of one side, beside the causal map where there is one."""
        return lens_maps(self.summary, side, self.run)


def read(
    model: ThoughtModel,
    pairs: str | Path | Iterable[Pair | Mapping[str, object]],
    what: str = "lens",
    *,
    top: int = 1,
    guesses: int = 5,
    twin: Reading | None = None,
    limit: int | None = None,
    cache: str | Path | None = None,
    include_incorrect: bool = False,
    **settings: Any,
) -> Reading:
    """Read the thoughts of every pair, both sides, with controls.

    Args:
        pairs: as `load_pairs` takes them.
        what: lens.
        top: a target among so many of the likeliest tokens is a hit.
        guesses: how many of the likeliest tokens are kept as text.
        twin: a reading of the same pairs with another model, such as one that feeds no thought back: one more control.
        limit: read the first so many pairs; the others are controls.
        cache: folder of unpatched runs; None for none.
        settings: fields of `Spec` that say how a question is run: thoughts, n_thoughts, prefix, seed …

    Raises:
        MechpatchError: pairs or settings cannot be run; the message says why and what to do.
    """
    _require_known(what)
    given: dict[str, Any] = {"thoughts": "latent" if model.head is not None else "text", **settings}
    try:
        spec = Spec(experiments=("position",), **given)
    except TypeError as error:
        raise SpecError(f"read(): {str(error).partition('__init__() ')[2] or error}; see the fields of Spec") from error
    name, path = ("given in Python", None)
    if isinstance(pairs, str | Path):
        name, path = str(pairs), pair_path(str(pairs))
    file = screened(load_pairs(pairs), name, model, spec, path, limit)
    if not file.kept:
        raise SpecError(
            f"none of {file.total} pairs can be read: "
            + ", ".join(f"{each.pair.pair_id}: {each.reason}" for each in file.screening.dropped[:5])
        )
    recorded = Recorded.prepare(model, spec, file.kept, file.asked, None if cache is None else Path(cache))
    table = read_lens(recorded, top=guesses, seed=spec.seed, twin=None if twin is None else twin.records)
    about = _about(what, recorded, None if twin is None else twin.about)
    return Reading(Stored(table, about), None, top, include_incorrect)


def read_run(
    finished: FinishedRun,
    run: Reopened,
    model: ThoughtModel,
    what: str = "lens",
    *,
    guesses: int = 5,
    twin: FinishedRun | None = None,
    cache: Path | None = None,
    tick: Tick = lambda questions: None,
) -> Path:
    """Read the pairs of a run into its directory; the path of the table.

    Args:
        run: the same run, see `reopen`; `model` is the one that it ran.
        twin: a run whose reading of the same kind is there already.

    Raises:
        SpecError, StorageError: another model, or no reading of the twin.
    """
    _require_known(what)
    run.check(model)
    other = None if twin is None else read_reading(twin.folder, what)
    asked = [run.index(name) for name in run.names]
    recorded = Recorded.prepare(model, run.spec, run.pairs, asked, cache)
    table = read_lens(recorded, top=guesses, seed=run.spec.seed, twin=None if other is None else other.table, tick=tick)
    about = _about(what, recorded, None if other is None else other.about)
    return write_reading(run.folder, what, table, about)


def open_reading(run: FinishedRun, what: str = "lens", top: int = 1, include_incorrect: bool = False) -> Reading:
    """A reading of a finished run. Raises `StorageError` if there is none, or it is damaged."""
    return Reading(read_reading(run.folder, what), run.summary, top, include_incorrect)


def _require_known(what: str) -> None:
    if what not in KINDS:
        raise SpecError(not_known("what to read", [what], KINDS))


def _about(what: str, recorded: Recorded, twin: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a table of a reading is of."""
    return {
        "reading": what,
        "model": recorded.model.fingerprint,
        "seed": recorded.spec.seed,
        "twin": None if twin is None else twin["model"],
        "pairs": [recorded.pairs[index].pair_id for index in recorded.asked],
    }
