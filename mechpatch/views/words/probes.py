"""What probes found, in three lines. That a probe finds something is never said to be use."""

from collections.abc import Iterator, Sequence

from mechpatch.formats import capital, written
from mechpatch.stats.cells import at_thoughts
from mechpatch.stats.clear import FEWEST_PAIRS
from mechpatch.stats.lens import Beside, beside
from mechpatch.stats.probes import ProbeCell, ProbeSummary
from mechpatch.stats.summary_values import Summary
from mechpatch.views.words.claims import counted, limits, listed
from mechpatch.views.words.lens import beside_told, place_label
from mechpatch.views.words.lines import Lines

NO_USE = (
    "A probe is no cause: it says that a readout could be trained, not that the model reads so; and it may compute "
    "what it finds from what is there."
)


def probe_lines(found: ProbeSummary, run: Summary | None = None) -> Lines:
    """The three lines.

    Args:
        run: the summary of the run that was read, for what writes at the same thoughts do.
    """
    causal = None if run is None else beside(found, run)
    return Lines(did=_did(found), found=" ".join(_found(found, causal)), distrust=" ".join(_distrust(found)))


def probe_label(target: str) -> str:
    """A target within a sentence: "the value of step 1"."""
    for name, label in (
        ("step", "the value of step"),
        ("parity", "the parity of step"),
        ("operation", "the operation of step"),
    ):
        if target.startswith(name) and target.removeprefix(name).isdecimal():
            return f"{label} {target.removeprefix(name)}"
    return f"the field {target.removeprefix('field.')}" if target.startswith("field.") else f"the {target}"


def _did(found: ProbeSummary) -> str:
    targets = list(dict.fromkeys(cell.target for cell in found.cells))
    kinds = {cell.numeric: "ridge" if cell.numeric else "logistic" for cell in found.cells}
    places = len({cell.place for cell in found.cells})
    return (
        f"Trained {' and '.join(sorted(kinds.values()))} probes at {counted(places, 'place')} for "
        f"{listed([probe_label(target) for target in targets])}; tested on pairs that they had not seen, {found.used} "
        "in all. Control: the same probes with labels shuffled between pairs."
    )


def _found(found: ProbeSummary, causal: Beside | None) -> Iterator[str]:
    if not found.used:
        yield "No pair is answered right on both sides, so no score can be told."
        return
    for target in dict.fromkeys(cell.target for cell in found.cells):
        cells = [cell for cell in found.cells if cell.target == target and at_thoughts(cell.site)]
        if cells:
            yield _of_target(target, cells)
    if causal is not None:
        yield beside_told(causal)


def _of_target(target: str, cells: Sequence[ProbeCell]) -> str:
    name = capital(probe_label(target))
    clear = [cell for cell in cells if cell.clear]
    best = max(clear or cells, key=lambda cell: cell.score.mean or float("-inf"))
    where = f"at {place_label(best.place)}: {_score(best)} against {written(best.control)} with shuffled labels"
    if clear:
        return f"{name} is found at {len(clear)} of {len(cells)} places of thoughts, best {where}."
    few = f"; fewer than {FEWEST_PAIRS} pairs have it" if best.score.n < FEWEST_PAIRS else ""
    return f"{name} is found at no thought clearly beyond shuffled labels; best {where}{few}."


def _score(cell: ProbeCell) -> str:
    kind = "R²" if cell.numeric else "accuracy"
    interval = "" if cell.score.low is None else f" (95 % interval {limits(cell.score)})"
    return f"{kind} {written(cell.score.mean)}{interval}"


def _distrust(found: ProbeSummary) -> Iterator[str]:
    yield NO_USE
    yield "Where nothing is found, it may be held in a way that is not linear, or these pairs may be too few."
    yield "The best of several places is told with an interval that does not know it was chosen."
    if found.used < found.pairs:
        left = found.pairs - found.used
        yield f"{left} of {counted(found.pairs, 'pair')} that the model gets wrong trained probes and are not scored."
    if 0 < found.used < FEWEST_PAIRS:
        yield f"Fewer than {FEWEST_PAIRS} pairs are scored, which makes nothing clear."
