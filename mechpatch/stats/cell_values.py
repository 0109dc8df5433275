"""What a summary holds of one cell, as values; the names of their fields are those of `summary.json`.

A number is None where it is not defined: no pair, one pair and no interval, a cell that was not tested.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mechpatch.reprs import short_repr


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The mean of one cell over pairs.

    Attributes:
        mean, low, high: the mean and the limits of its interval, in the unit of the values.
        n: how many pairs have a value.
        method: how the interval was made: "BCa", "percentile", "adjusted Wald" (a difference of two shares) or "none".
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    method: str

    @property
    def size(self) -> float:
        """How far the mean is from zero; 0 where there is no mean."""
        return abs(self.mean or 0.0)

    @property
    def sign(self) -> int:
        """1 for a mean above zero, −1 for one below, 0 where there is none or it is zero."""
        return ((self.mean or 0.0) > 0) - ((self.mean or 0.0) < 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested(Estimate):
    """The mean of a difference, tested.

    Attributes:
        p: two-sided p of "the mean is zero".
        q: the false discovery rate among the cells that were tested together; None for a structural cell.
    """

    p: float | None
    q: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JointTest:
    """A test of several claims at once: the largest p of any of them, and its false discovery rate over the map."""

    p: float | None
    q: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Tested):
    """A tested mean that is held against the null donors, pair by pair.

    Attributes:
        beyond: the values minus those of each null donor, by name; empty for a null donor itself.
        beyond_every: the test that the mean is not zero and is beyond every control; None where no control was run.
    """

    beyond: Mapping[str, Tested]
    beyond_every: JointTest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDifference(Held):
    """What a set of sites does beyond its parts: `lost`, a share of the gap, or `synergy`, nats.

    Attributes:
        structural: True where the difference is zero by construction.
        whole, parts: the two means that are compared, over the same pairs; `mean` is `whole` − `parts`.
    """

    structural: bool
    whole: float | None
    parts: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What a window of layers does beyond its layers alone, a share of the gap.

    Attributes:
        over_mean: the effect of the window minus the mean effect of its layers; held against that of the null donors.
        over_layers: the effect of the window minus that of each layer, by the layer's number.
        over_every_layer: the test of all of these at once.
    """

    over_mean: Held
    over_layers: Mapping[str, Tested]
    over_every_layer: JointTest


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareTest:
    """The share of a null donor beside that of the effect, over the pairs that have both.

    Attributes:
        n: how many pairs have both.
        share: which part of them does it with the null donor.
        more, less: how many pairs do it with the effect alone, and with the null donor alone.
        low, high: the limits of the difference, the share of the effect minus that of the null donor.
        p, q: McNemar's exact test of `more` against `less`, and its false discovery rate over the map.
    """

    n: int
    share: float | None
    more: int
    less: int
    low: float | None
    high: float | None
    p: float | None
    q: float | None

    @property
    def difference(self) -> float | None:
        """The share of the effect minus that of the null donor."""
        return (self.more - self.less) / self.n if self.n else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many pairs change their answer at a cell, and in which way.

    Attributes:
        count: how many pairs do.
        n: how many pairs can.
        share: `count` / `n`.
        low, high: the limits of the share's interval.
        beyond: the same with each null donor, by name; empty for a null donor itself.
        beyond_every: the test that more pairs do than with every control; None where no control was run.
    """

    count: int
    n: int
    share: float | None
    low: float | None
    high: float | None
    beyond: Mapping[str, ShareTest]
    beyond_every: JointTest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlace:
    """Which cell of a model and its thoughts a value is about.

    Attributes:
        hook, head: the hook point that is written, and its head or neuron; None where it has neither.
        layer: the first layer that is written.
        width: how many layers are written, from there upwards.
        site, step: the column of the grid.
    """

    experiment: str
    hook: str
    head: int | None
    layer: int
    width: int
    site: str
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CellAddress(CellPlace):
    """A cell that was patched in one direction with the vectors of one donor."""

    direction: str
    donor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSummary(CellAddress):
    """What the records say of one cell with one donor.

    Attributes:
        structural: True where the cell is zero by construction.
        switched, neither: pairs whose answer becomes the other side's, and pairs whose answer becomes neither side's.
        effect: the share of the gap that the patch moves.
        recovery: the share of the gap that is closed; for noise it is 1 − `effect`.
        answer_logprob_change: nats, against the run that was patched.
        kl_divergence: nats.
        effect_size: mean over standard deviation of `effect`.
        minimum_detectable_effect: the smallest mean that so many pairs would find four times in five.
        sets: what a set does beyond its parts, by the name of the difference: `lost`, `synergy` or `gain`; None where
            the parts were not run. Empty for a cell that is no set.
    """

    structural: bool
    switched: Share
    neither: Share
    effect: Held
    recovery: Estimate
    answer_logprob_change: Held
    kl_divergence: Estimate
    effect_size: float | None
    minimum_detectable_effect: float | None
    sets: Mapping[str, SetDifference | Gain | None]

    __repr__ = short_repr

    @property
    def q(self) -> float | None:
        """The false discovery rate of the headline: that more pairs switch than with every control."""
        return self.switched.beyond_every and self.switched.beyond_every.q

    @property
    def beyond(self) -> Mapping[str, Tested]:
        """The effect minus that of each null donor, by name."""
        return self.effect.beyond

    @property
    def lost(self) -> SetDifference | None:
        """What leaving this thought out costs."""
        return self._difference("lost")

    @property
    def synergy(self) -> SetDifference | None:
        """What the sites of this set do beyond the sum of each alone."""
        return self._difference("synergy")

    @property
    def gain(self) -> Gain | None:
        """What this window does beyond its layers alone."""
        found = self.sets.get("gain")
        return found if isinstance(found, Gain) else None

    def _difference(self, name: str) -> SetDifference | None:
        found = self.sets.get(name)
        return found if isinstance(found, SetDifference) else None
