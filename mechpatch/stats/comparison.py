"""What a comparison holds, as values; the names of their fields are those of what `mechpatch compare --out` writes."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from mechpatch.catalogue import PAIRED
from mechpatch.errors import SpecError
from mechpatch.points import RESID_POST
from mechpatch.reprs import short_repr
from mechpatch.stats.cell_values import CellAddress, Estimate, Share, ShareTest, Tested

FORM = (
    "experiment:layer:site, and if needed :direction, :donor; for example position:1:t2 or position:1:t2:noise; "
    "position@attn_out:1:t2, position@z.5:1:t2 (head 5) and position@post.5:1:t2 (neuron 5) name another hook point "
    "than resid_post"
)
OTHER_RUN = "the second run"  # stands beside the null donors in `ComparedCell.switched.beyond`


class Place(NamedTuple):
    """One cell of a run, as a person names it.

    Attributes:
        direction: None for the first direction that was run.
        hook, head: the hook point, and its head or neuron where it has some.
    """

    experiment: str
    layer: int
    site: str
    direction: str | None = None
    donor: str = PAIRED
    hook: str = RESID_POST
    head: int | None = None

    @property
    def step(self) -> None:
        """A person names no step."""

    @property
    def width(self) -> None:
        """A person names no width."""


def parse_place(text: str) -> Place:
    """A place from `experiment[@hook[.part]]:layer:site[:direction[:donor]]`, where a hyphen stands for an underscore.

    Raises:
        SpecError: not of that form.
    """
    first, *rest = text.split(":")
    named = re.fullmatch(r"([^@]+)(?:@([a-z_]+)(?:\.(\d+))?)?", first.replace("-", "_"))
    if not 2 <= len(rest) <= 4 or not all(rest) or not rest[0].isdecimal() or not named:
        raise SpecError(f"cell {text!r} is not of the form {FORM}")
    experiment, hook, head = named.groups()
    layer, site, *more = rest
    direction, donor = (*more, *(None, PAIRED)[len(more) :])
    return Place(
        experiment,
        int(layer),
        site,
        direction,
        str(donor).replace("-", "_"),
        hook or RESID_POST,
        None if head is None else int(head),
    )


@dataclass(frozen=True, kw_only=True)  # without slots: two bases of one class cannot both have them
class Compared:
    """The means of a and b, and a − b pair by pair.

    Attributes:
        structural: True where both cells are zero by construction.
        effect_size: mean over standard deviation of the difference.
        minimum_detectable_difference: the smallest mean difference that so many pairs would find four times in five.
    """

    structural: bool
    a: Estimate
    b: Estimate
    difference: Tested
    effect_size: float | None
    minimum_detectable_difference: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPlaces(Compared):
    """Two cells of one run, compared."""

    places: tuple[Place, Place]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCell(CellAddress, Compared):
    """One cell of two runs, compared.

    Every q is the false discovery rate among the cells of the same experiment, direction, donor and hook point.

    Attributes:
        switched: the pairs that switch in A; its `beyond` holds B under `OTHER_RUN`, by McNemar's exact test over the
            pairs that can switch in both, and the controls that A ran at the cell. `beyond_every` is the joint test
            that A exceeds B and every one of these controls.
    """

    switched: Share

    @property
    def against(self) -> ShareTest:
        """The pairs that switch in A, held against those in B."""
        return self.switched.beyond[OTHER_RUN]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedAnswers(CellAddress):
    """What pairs answer at one cell of an experiment that asks for answers, in two runs.

    Each share is of the pairs that count in both runs. Its `beyond` holds B under `OTHER_RUN`, by McNemar's exact test,
    and the controls that A ran at the cell and that hold no question's steps. Every q is the false discovery rate among
    the cells of the same experiment, direction, donor and hook point.

    Attributes:
        structural: True where the cell of either run cannot move by construction.
        kept: pairs that keep their run's own right answer in A.
        followed: pairs that give the expected answer in A, of those whose expected answer is not their own.
    """

    structural: bool
    kept: Share
    followed: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCounts:
    """Numbers of pairs of two runs.

    Attributes:
        pairs: pairs in both runs.
        only_in_a, only_in_b: pairs in one run alone.
        unlike: pairs with one id and other questions or answers.
        used_a, used_b: pairs in both runs that each of them uses.
    """

    pairs: int
    only_in_a: int
    only_in_b: int
    unlike: int
    used_a: int
    used_b: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CellComparison:
    """Two cells of one run, compared by `compare_cells`."""

    metric: str
    seed: int
    level: float
    cells: tuple[ComparedPlaces]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Two runs, compared by `compare_runs`.

    Attributes:
        only_in_a, only_in_b: how many cells one run alone has.
        cells: the cells of both runs.
        answers: those of experiments that ask for answers.
    """

    metric: str
    seed: int
    level: float
    counts: PairCounts
    only_in_a: int
    only_in_b: int
    cells: tuple[ComparedCell, ...]
    answers: tuple[ComparedAnswers, ...] = ()

    __repr__ = short_repr
