"""What is asked for: one frozen value that, with a model and pairs, decides every number of a run."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from mechpatch.catalogue import DIRECTIONS, NULLS, PAIRED
from mechpatch.errors import SpecError
from mechpatch.kinds import KINDS, SHORT
from mechpatch.names import OPTIONS, as_typed, not_known
from mechpatch.points import POINTS, RESID_POST, split_hook
from mechpatch.storage.choices import CANDIDATES

# Cells of the neurons of one hook point. The demo model's 12,288 take three minutes of one processor and 1.7 GB, most
# of the time for summary, figures and page; the neurons of a 1B model would be a million.
MOST_CELLS = 20_000
WINDOW = 3  # layers in a row
THOUGHT_KINDS = ("latent", "text", "placeholder")
ENGINE_NAMES = ("fast", "reference")
BOTH = "both"  # directions
WHOLE, FIRST = DISTANCES = ("answer", "first")
NOTHING_FED_BACK = (
    "latent thoughts need a model that feeds them back, and this one does not: give --codi or --coconut, say what its "
    "family is with --family, or choose --thoughts text or placeholder"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One run.

    Attributes:
        experiments: names of kinds (`mechpatch.kinds.KINDS`); they share every unpatched run.
        hooks: hook points to write, see `mechpatch.points`; one cell for each head of `z`, `k` and `v`, and for each
            neuron of `post`. `z.5` and `post.123` are one head and one neuron, of every layer that is patched.
        layers: blocks to patch; empty for all.
        sites: names as `select_sites` takes them; read by `position`, `pairwise` and `window`.
        subsets: sets of sites to write at once, names as in `sites`; read by `subset`.
        window: layers in a row; read by `window`.
        screen: cells with the largest estimates that are run, of each experiment and hook point with heads or neurons,
            beside some random ones; None for all.
        directions: denoise writes clean vectors into the corrupted run, noise corrupted ones into the clean run.
        nulls: null donors beside the effect.
        thoughts: latent, text or placeholder.
        n_thoughts: latent or placeholder thoughts; None for what the model was trained with.
        prefix: text before the answer; one space follows it, unless it ends in a line break or a tab. None for that of
            the model's family.
        separator: text before a text chain and before the answer prefix that follows it.
        placeholder: token id of placeholder thoughts; None for the pad token.
        distances: where distances from the baseline are read: at all tokens of its answer, or at the first one.
        min_gap: recovery is undefined where clean and corrupted log probability differences are nearer, in nats.
        batch_size: pairs in one forward pass.
        seed: seed of null donors, intervals and checks.
        engine: fast (all patches in a few passes) or reference (one plain hooked run for each).
        expected: teacher-force the answers that the pairs' own field `expected` names, site by site, as a third one.
        say: tokens that each patched run says at most when it goes on by itself, up to eos or a line break; None for
            none.
        checks: cells of each batch that the fast engine's numbers are compared with plain hooks at.
        memory: bytes that the process may take, weights included (on a GPU: what lies there); None for all there is.
        own: what the user made for this run: (what, name, version), see `mechpatch.own.Own`.
    """

    experiments: tuple[str, ...]
    hooks: tuple[str, ...] = (RESID_POST,)
    layers: tuple[int, ...] = ()
    sites: tuple[str, ...] = ("all",)
    subsets: tuple[tuple[str, ...], ...] = ()
    window: int = WINDOW
    screen: int | None = None
    directions: tuple[str, ...] = ("denoise",)
    nulls: tuple[str, ...] = ()
    thoughts: str = "latent"
    n_thoughts: int | None = None
    prefix: str | None = None
    separator: str = ""
    placeholder: int | None = None
    distances: str = WHOLE
    min_gap: float = 0.1
    batch_size: int = 16
    seed: int = 0
    engine: str = "fast"
    expected: bool = False
    say: int | None = None
    checks: int = 3
    memory: int | None = None
    own: tuple[tuple[str, str, str], ...] = ()

    def __repr__(self) -> str:
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        told = [f"{each.name}={given[each.name]!r}" for each in fields(self) if given[each.name] != each.default]
        return f"Spec({', '.join(told)})"

    def __post_init__(self) -> None:
        self._check_names()
        self._check_numbers()
        for field in ("prefix", "separator"):
            text = getattr(self, field)
            if any("\ud800" <= character <= "\udfff" for character in text or ""):  # bytes that are no UTF-8
                raise SpecError(f"{OPTIONS[field]} {text!r} holds bytes that are no text; write it in UTF-8")

    def _check_names(self) -> None:
        known = {
            "experiments": (*KINDS, *self.own_names("kind")),
            "hooks": tuple(POINTS),
            "directions": tuple(DIRECTIONS),
            "nulls": (*NULLS, *self.own_names("donor")),
            "thoughts": THOUGHT_KINDS,
            "engine": ENGINE_NAMES,
            "distances": DISTANCES,
        }
        for field, allowed in known.items():
            value = getattr(self, field)
            found = (value,) if isinstance(value, str) else value
            if field == "hooks":
                found = _hook_points(found)
            if unknown := [as_typed(field, each) for each in found if each not in allowed]:
                raise SpecError(not_known(OPTIONS[field], unknown, [as_typed(field, each) for each in allowed]))
        for field in ("experiments", "hooks", "directions"):
            if not getattr(self, field):
                allowed = ", ".join(as_typed(field, each) for each in known[field])
                raise SpecError(f"{OPTIONS[field]}: nothing was asked for, expected some of {allowed}")
        for field in ("experiments", "hooks", "layers", "directions", "nulls"):
            _each_once(field, getattr(self, field))
        if self.thoughts != "latent" and (fed := [hook for hook in self.points if not POINTS[hook].hooks]):
            raise SpecError(
                f"--hooks {fed[0]}: with --thoughts {self.thoughts} no thought is fed back; expected other hook points"
            )
        for whole in {*self.hooks} & {*self.points}:
            if part := next((each for each in self.hooks if each.startswith(f"{whole}.")), None):
                raise SpecError(f"--hooks {whole},{part}: {whole} is all of them, {part} too; give one of the two")
        if not self.sites:
            raise SpecError(
                "--sites: nothing was asked for, expected all, or some of thoughts, bot, eot, answer, t0, t1, …"
            )
        if "subset" in self.experiments and not self.subsets:
            raise SpecError("subset: no set of sites was given; say which with --sets, for example --sets t0+t2,bot+t1")
        if self.subsets and "subset" not in self.experiments:
            raise SpecError("--sets: only the experiment subset reads it; ask for subset too, or leave --sets out")
        require_distinct(self.subsets, self.subsets)
        if self.screen is not None:
            self._check_screen()

    def _check_screen(self) -> None:
        """Raise a `SpecError` for what has no first-order estimate, and for a metric that is called as a column is."""
        if CANDIDATES in self.own_names("metric"):
            raise SpecError(f"metric {CANDIDATES!r}: a screened run has a column of that name; choose another")
        if not any(POINTS[hook].parts for hook in self.points):
            having = ", ".join(f"{name} ({point.part}s)" for name, point in POINTS.items() if point.parts)
            raise SpecError(
                f"--screen {self.screen}: there is something to choose from at {having} alone, and --hooks "
                f"{as_typed('hooks', self.hooks)} has none of these; leave --screen out, or choose one of them"
            )
        for name in (name for name in self.experiments if name in KINDS):
            why = "hands on what the step before produced" if KINDS[name].hands_on else ""
            why = why or ("does not write what the pair's other side has" if KINDS[name].donors else "")
            if why:
                raise SpecError(
                    f"--screen {self.screen}: {as_typed('experiments', name)} {why}, so that no gradient estimates it; "
                    "run it in another folder, without --screen"
                )

    def _check_numbers(self) -> None:
        least = {
            "window": (2, "2 layers; one layer is what `position` writes"),
            "batch_size": (1, "1 pair"),
            "checks": (0, "0 cells"),
            "memory": (1, "1 MB"),
            "say": (1, "1 token"),
            "screen": (1, "1 cell"),
            "seed": (0, "0"),
        }
        for field, (smallest, said) in least.items():
            if (value := getattr(self, field)) is not None and value < smallest:
                raise SpecError(f"{OPTIONS[field]} is {as_typed(field, value)}, expected at least {said}")
        if not self.min_gap > 0:
            raise SpecError(f"--min-gap is {self.min_gap}, expected more than 0 nats")
        if self.min_gap == math.inf:
            raise SpecError("--min-gap is infinite, so recovery would be undefined everywhere; expected some nats")

    def own_names(self, what: str) -> tuple[str, ...]:
        """Names of the kinds, donors or metrics of the user's own."""
        return tuple(name for each, name, _ in self.own if each == what)

    @property
    def points(self) -> tuple[str, ...]:
        """The hook points that are written, each once, whether whole or in parts."""
        return tuple(dict.fromkeys(split_hook(each)[0] for each in self.hooks))

    def parts(self, hook: str) -> tuple[int, ...]:
        """The heads or neurons of a hook point that are named; empty where it is asked for whole."""
        named = (split_hook(each) for each in self.hooks)
        return tuple(sorted(part for name, part in named if name == hook and part is not None))

    @property
    def donors(self) -> tuple[str, ...]:
        """The effect's donor, then the null donors."""
        return (PAIRED, *self.nulls)

    def select_layers(self, n_layers: int) -> tuple[int, ...]:
        """The layers to patch in a model of `n_layers` blocks."""
        if outside := [layer for layer in self.layers if not 0 <= layer < n_layers]:
            raise SpecError(
                f"--layers {as_typed('layers', outside)}: no such layer; the model has layers 0 to {n_layers - 1}"
            )
        return self.layers or tuple(range(n_layers))


def recipient(direction: str) -> int:
    """Which run is patched and is the baseline: 0 the clean one (noise), 1 the corrupted one (denoise)."""
    return int(direction == "denoise")


def parse_experiments(names: Iterable[str]) -> tuple[str, ...]:
    """Experiments by name, where `chained` and `all` stand for several and a hyphen for an underscore."""
    plain = [name.replace("-", "_") for name in names]
    return tuple(dict.fromkeys(each for name in plain for each in SHORT.get(name, (name,))))


def parse_directions(names: Iterable[str]) -> tuple[str, ...]:
    """Directions by name, where `both` stands for the two. Raises `SpecError` for other names."""
    found = tuple(names)
    if unknown := [name for name in found if name not in (*DIRECTIONS, BOTH)]:
        raise SpecError(not_known(OPTIONS["directions"], unknown, (*DIRECTIONS, BOTH)))
    return tuple(each for name in found for each in (DIRECTIONS if name == BOTH else (name,)))


def require_distinct(subsets: Sequence[Sequence[str]], written: Sequence[Sequence[str]]) -> None:
    """Refuse two sets of the same sites, in whatever order: they are one cell.

    Args:
        subsets: the sites of each set.
        written: how each was asked for, for the message.
    """
    seen: dict[frozenset[str], Sequence[str]] = {}
    for sites, names in zip(subsets, written, strict=True):
        if (first := seen.get(frozenset(sites))) is not None:
            raise SpecError(f"--sets {'+'.join(first)},{'+'.join(names)}: both are the same sites; give them once")
        seen[frozenset(sites)] = names


def _hook_points(hooks: Iterable[str]) -> list[str]:
    try:
        return [split_hook(each)[0] for each in hooks]
    except SpecError as error:
        raise SpecError(f"--hooks: {error}") from error


def require_runnable(hook: str, layers: int, parts: int, cells: int) -> None:
    """Refuse more cells of neurons than can be run at one hook point. Raises `SpecError` that says how many, and the
    ways out.

    Args:
        layers: that are patched.
        parts: heads or neurons that are written one by one, in each layer.
        cells: all that there would be.
    """
    if POINTS[hook].of_neurons and cells > MOST_CELLS:
        raise SpecError(
            f"--hooks {hook}: {parts:,} {'neuron' if parts == 1 else 'neurons'} of {layers} "
            f"{'layer' if layers == 1 else 'layers'} are at least {cells:,} cells for each pair, and at most "
            f"{MOST_CELLS:,} can be run. Name neurons (--hooks {hook}.5,{hook}.77), take fewer layers and positions "
            "(--layers 8 --sites t2), or let gradients choose (--screen 200)"
        )


def _each_once(field: str, found: Sequence[object]) -> None:
    if len({*found}) < len(found):
        raise SpecError(f"{OPTIONS[field]} {as_typed(field, tuple(found))}: expected each once")


def parse_layers(text: str) -> tuple[int, ...]:
    """Layers from "0-3,7": ranges are inclusive; repeats count once.

    Raises:
        SpecError: not of that form.
    """
    layers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or "-" not in part)):
            raise SpecError(
                f"--layers {text!r}: {part.strip()!r} is not a number or a range; expected for example 0-3,7"
            )
        if max(len(first), len(last)) > 5:
            raise SpecError(f"--layers: {part.strip()[:20]!r} is more than any model has; expected for example 0-3,7")
        start, stop = int(first), int(last or first)
        if stop < start or stop > 10_000:
            raise SpecError(f"--layers {text!r}: {part.strip()!r} is not a range of layers; expected for example 0-3,7")
        layers.update(range(start, stop + 1))
    return tuple(sorted(layers))
