"""What an experiment visits: cells, each a set of sites of one layer, and which of them are zero by construction."""

from collections.abc import Sequence
from dataclasses import dataclass

from mechpatch.patching.patch import Patch
from mechpatch.thoughts.layout import ANSWER, BOT

ALL = "all"  # site name of a cell that writes at every thought
JOIN = "+"  # between the names of several sites


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One intervention.

    Attributes:
        experiment: as in `Spec.experiments`.
        layer: whose `resid_post` is written; of a window, the first.
        width: layers that are written, from there upwards.
        sites: names of the sites that are written, in the order of the sequence.
        site: the name under which it is reported.
        step: of a chain; 0 elsewhere.
        structural: nothing can move (or, in a relay, be handed on), whatever the model has learnt.
    """

    experiment: str
    layer: int
    sites: tuple[str, ...]
    site: str
    step: int = 0
    width: int = 1
    structural: bool = False

    @property
    def key(self) -> tuple[str, int, int, str, int]:
        """What tells it from the other cells of a pair, direction and donor, in JSON values."""
        return self.experiment, self.layer, self.width, self.site, self.step

    def patch(self, sites: Sequence[str]) -> Patch:
        """What it writes in questions that have these sites."""
        return Patch(self.layer, tuple(sites.index(site) for site in self.sites), self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What decides which cells there are: the model's depth, the sites, and whether thoughts are fed back."""

    n_layers: int
    layers: tuple[int, ...]
    sites: tuple[str, ...]
    thoughts: tuple[str, ...]
    feedback: bool

    def dead(self, layer: int, sites: Sequence[str]) -> bool:
        """Whether a write at that layer and upwards can move no answer logit.

        What the last layer gives at a position is read by that position's own prediction alone: at `answer` by the
        first answer token, at a position before a fed-back thought by that thought, elsewhere by nothing.
        """
        if layer != self.n_layers - 1:
            return False
        read = {ANSWER}
        if self.feedback:
            read |= {BOT, *self.thoughts[:-1]}
        return not read.intersection(sites)
