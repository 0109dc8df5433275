"""What an experiment visits: cells, each a set of sites of one layer, and which of them are zero by construction."""

from collections.abc import Sequence
from dataclasses import dataclass

ALL = "all"  # site name of a cell that writes at every thought
JOIN = "+"  # between the names of several sites
BOT, EOT, ANSWER = "bot", "eot", "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One intervention.

    Attributes:
        experiment: name of its kind.
        layer: whose `resid_post` is written; of a window, the first.
        width: layers that are written, from there upwards.
        sites: names of the sites that are written, in the order of the sequence.
        site: the name under which it is reported.
        step: of a chain; 0 elsewhere.
        source: what is written. "donor": the donor's vectors. "step before": what the run of the step before produced
            at this site itself; at step 0 the donor's.
        similarity: of which vector the cosines are reported. "written": of what is written. "before": of what the run
            of the step before had at the last site, before this step writes there.
        structural: nothing can move (or be handed on), whatever the model has learnt.
    """

    experiment: str
    layer: int
    sites: tuple[str, ...]
    site: str
    step: int = 0
    width: int = 1
    source: str = "donor"
    similarity: str = "written"
    structural: bool = False

    @property
    def key(self) -> tuple[str, int, int, str, int]:
        """What tells it from the other cells of a pair, direction and donor, in JSON values."""
        return self.experiment, self.layer, self.width, self.site, self.step


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What decides which cells there are.

    Attributes:
        n_layers: blocks of the model.
        layers: those that are patched.
        sites: sites that were asked for, in the order of the sequence.
        thoughts: the sites that are thoughts.
        feedback: whether thoughts are fed back.
        subsets: sets of sites that were asked for.
        window: layers in a row that were asked for.
    """

    n_layers: int
    layers: tuple[int, ...]
    sites: tuple[str, ...]
    thoughts: tuple[str, ...]
    feedback: bool
    subsets: tuple[tuple[str, ...], ...] = ()
    window: int = 3

    def is_structural(self, layer: int, sites: Sequence[str]) -> bool:
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

    def cell(
        self,
        experiment: str,
        layer: int,
        sites: Sequence[str],
        site: str | None = None,
        *,
        step: int = 0,
        width: int = 1,
    ) -> Cell:
        """A cell that writes the donor's vectors at `sites`, marked where nothing can move.

        Args:
            site: the name under which it is reported; by default the names of its sites, joined with `+`.
        """
        return Cell(
            experiment=experiment,
            layer=layer,
            width=width,
            sites=tuple(sites),
            site=site or JOIN.join(sites),
            step=step,
            structural=self.is_structural(layer, sites),
        )
