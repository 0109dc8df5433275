"""All laws, tried one after the other, and what is said of them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mechpatch.experiments.running.numerics import drowned
from mechpatch.formats import scientific
from mechpatch.verify import causes, parity, patches, points, runs
from mechpatch.verify.context import Context, Floors
from mechpatch.verify.law import Law, NotApplicable, Verdict

LAWS = (
    Law(1, "self-patch", "a run's own vectors change nothing", patches.self_patch),
    Law(1, "self-patch-fast", "nor do they in the fast engine", patches.self_patch_fast),
    Law(1, "hooks", "hooks leave their input alone", causes.hooks_leave_input),
    Law(2, "clean-everywhere", "clean vectors everywhere: the clean run", patches.clean_everywhere),
    Law(3, "chains", "chains begin and end as the others", patches.chains),
    Law(3, "same-point", "hook points that hold the same write the same", points.same_point),
    Law(4, "handed-on", "what was handed on can be written back", patches.handed_on),
    Law(5, "last-layer", "no feedback: last-layer patches are silent", patches.last_layer),
    Law(6, "engine", "fast engine = plain hooks", patches.fast_engine),
    Law(6, "hook-points", "fast engine = plain hooks at every hook point", points.hook_points),
    Law(7, "weights", "weights = files, merged once by formula", parity.weights),
    Law(7, "base", "share of the adapter that the base holds", parity.base),
    Law(7, "alpha", "nats that another alpha would gain", parity.alpha),
    Law(7, "logits", "logits = Hugging Face", parity.logits),
    Law(7, "latents", "latents = Hugging Face loop", parity.latents),
    Law(7, "sites", "sites = blocks' outputs in Hugging Face", parity.sites),
    Law(7, "patched", "patched runs = Hugging Face, patched there", parity.patched),
    Law(8, "batch", "batch = each question alone", patches.batch_of_one),
    Law(9, "baselines", "unpatched runs of all experiments agree", runs.baselines),
    Law(10, "resumed", "resumed = uninterrupted, bytes that differ", runs.resumed),
)
ANYWHERE = frozenset(law.key for law in LAWS)
OF_FILES = frozenset({"weights", "base", "alpha", "logits", "latents", "sites", "patched"})
# Which laws each fault can break; the first causes explain the most.
CAUSES: tuple[tuple[Callable[[Context], str], frozenset[str]], ...] = (
    (causes.hooks, ANYWHERE),
    (causes.processing, ANYWHERE),
    (causes.adapter, OF_FILES),
    (causes.behaviour, frozenset({"alpha"})),
    (causes.feedback, ANYWHERE - {"weights", "base", "alpha"}),
    (causes.shift, ANYWHERE - {"weights", "base", "alpha", "latents"}),
    (causes.padding, frozenset({"engine", "hook-points", "batch", "baselines", "chains", "self-patch-fast"})),
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What all laws gave.

    Attributes:
        verdicts: one for each law, in order.
        relations: what is reported and not asserted.
        floors: what rounding does to this model; None where that could not be measured.
        rounding: the same in words.
    """

    verdicts: list[Verdict]
    relations: list[dict[str, Any]]
    floors: Floors | None = None
    rounding: str = ""

    @property
    def failed(self) -> list[Verdict]:
        """The laws that do not hold."""
        return [verdict for verdict in self.verdicts if verdict.failed]

    @property
    def causes(self) -> list[str]:
        """What probably made them fail, each once."""
        return list(dict.fromkeys(cause for verdict in self.failed for cause in verdict.causes))

    def as_json(self) -> dict[str, Any]:
        """Plain values; a deviation that is not finite is null."""
        laws = [asdict(verdict) | {"deviation": _finite(verdict.deviation)} for verdict in self.verdicts]
        floors = self.floors and {name: _finite(value) for name, value in self.floors._asdict().items()}
        found = {"holds": not self.failed, "laws": laws, "causes": self.causes, "reported": self.relations}
        return found | {"noise_floor": floors}


def verify(context: Context, tick: Callable[[str], None] = lambda key: None, laws: Sequence[Law] = LAWS) -> Findings:
    """Try every law, and look for the cause of those that fail.

    Args:
        tick: told of each law after it was tried.
        laws: to try.
    """
    verdicts = []
    for law in laws:
        verdicts.append(try_law(law, context))
        tick(law.key)
    if any(verdict.failed for verdict in verdicts):
        found = [(_quietly(cause, context), keys) for cause, keys in CAUSES]
        verdicts = [_explained(verdict, found) for verdict in verdicts]
    return Findings(verdicts, _relations(context), *_rounding(context))


def try_law(law: Law, context: Context) -> Verdict:
    """One law. Whatever a broken model makes the libraries raise is a failure of the law."""
    said: dict[str, Any] = {"number": law.number, "key": law.key, "says": law.says}
    try:
        found = law.measure(context)
    except NotApplicable as reason:
        return Verdict(**said, verdict="not applicable", note=str(reason))
    except Exception as error:  # see the docstring
        return Verdict(**said, verdict="FAILS", note=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    holds = found.deviation <= found.tolerance  # NaN fails
    return Verdict(
        **said,
        verdict="holds" if holds else "FAILS",
        deviation=found.deviation,
        tolerance=found.tolerance,
        note=found.where,
    )


def _quietly(cause: Callable[[Context], str], context: Context) -> str:
    try:
        return cause(context)
    except Exception:  # a model too broken for this question leaves it open
        return ""


def _explained(verdict: Verdict, found: list[tuple[str, frozenset[str]]]) -> Verdict:
    if not verdict.failed:
        return verdict
    named = tuple(says for says, keys in found if says and verdict.key in keys)
    return Verdict(**{**asdict(verdict), "causes": named})


def _relations(context: Context) -> list[dict[str, Any]]:
    try:
        return runs.relations(context)
    except Exception:  # the laws have said what is wrong
        return []


def _rounding(context: Context) -> tuple[Floors | None, str]:
    """The noise floor, and what it means for the laws."""
    try:
        floors = context.floors
        kind = str(context.unpatched.logits.dtype).removeprefix("torch.")
        said = f"Two plain {kind} computations of this model differ by {scientific(floors.logits)} in a logit."
        tables = [table for (_, direction), table in context.tables.items() if direction == "denoise"]
        return floors, " ".join([said, *filter(None, (drowned(table, kind, floors.logits) for table in tables[:1]))])
    except Exception:  # the laws have said what is wrong
        return None, ""


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None
