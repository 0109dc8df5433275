"""What an experiment visits: cells, each a set of sites of one layer, and which of them are zero by construction."""

from collections.abc import Sequence
from dataclasses import dataclass

from mechpatch.points import POINTS, RESID_POST

KEY = ("experiment", "hook", "head", "layer", "width", "site", "step")  # columns of the records, see `Cell.key`
ALL = "all"  # site name of a cell that writes at every thought
JOIN = "+"  # between the names of several sites
BOT, EOT, ANSWER = "bot", "eot", "answer"


def spelt(experiment: str, hook: str, head: int | None) -> str:
    """Experiment, hook point and part as a person types them: `position`, `position@attn_out`, `position@z.5`."""
    if hook == RESID_POST:
        return experiment
    return f"{experiment}@{hook}" + ("" if head is None else f".{head}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One intervention.

    Attributes:
        experiment: name of its kind.
        hook: the hook point that is written, see `mechpatch.points`.
        head: the one head or neuron that is written; None where the hook point has neither.
        layer: the block that is written; of a window, the first. 0 for `thought`, which has none.
        width: layers that are written, from there upwards.
        sites: names of the sites that are written, in the order of the sequence.
        site: the name under which it is reported.
        step: number of the step in a chain; 0 elsewhere.
        source: what is written. "donor": the donor's vectors. "step before": what the run of the step before produced
            at this site itself; at step 0 the donor's.
        similarity: the vector whose cosines are reported. "written": the one that is written. "before": what the run
            of the step before had at the last site, before this step writes there.
        structural: nothing can move (or be handed on), whatever the model has learnt.
        thoughts: how many thoughts are run, where nothing is written and their number is what changes; else None.
        alike: every question has the same vector there, so a donor that comes from a question moves nothing.
    """

    experiment: str
    layer: int
    sites: tuple[str, ...]
    site: str
    hook: str = RESID_POST
    head: int | None = None
    step: int = 0
    width: int = 1
    source: str = "donor"
    similarity: str = "written"
    structural: bool = False
    alike: bool = False
    thoughts: int | None = None

    @property
    def key(self) -> tuple[str, str, int | None, int, int, str, int]:
        """What tells it from the other cells of a pair, direction and donor, in JSON values; named by `KEY`."""
        return self.experiment, self.hook, self.head, self.layer, self.width, self.site, self.step

    @property
    def place(self) -> tuple[int, int, str, int]:
        """What tells it from the other cells of its experiment, hook point and head."""
        return self.layer, self.width, self.site, self.step

    @property
    def name(self) -> str:
        """What an error message calls it."""
        return f"{spelt(self.experiment, self.hook, self.head)}, layer {self.layer}, site {self.site}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What decides which cells there are.

    Attributes:
        n_layers: blocks of the model.
        layers: those that are patched.
        sites: sites that were asked for, in the order of the sequence.
        thoughts: the sites that are thoughts.
        feedback: whether thoughts are fed back.
        hook: the hook point that is written.
        fixed: the sites at which every question has the same token.
        learned_positions: whether positions are learnt vectors, which are added to what enters the first block.
        subsets: sets of sites that were asked for.
        window: layers in a row that were asked for.
        n_steps: the most steps that a question's own chain has, as far as their values are known.
        most: the most thoughts that may be run; None where their number is that of a text.
    """

    n_layers: int
    layers: tuple[int, ...]
    sites: tuple[str, ...]
    thoughts: tuple[str, ...]
    feedback: bool
    hook: str = RESID_POST
    fixed: tuple[str, ...] = ()
    learned_positions: bool = False
    subsets: tuple[tuple[str, ...], ...] = ()
    window: int = 3
    n_steps: int = 0
    most: int | None = None

    def is_structural(self, layer: int, sites: Sequence[str]) -> bool:
        """Whether a write at that layer and upwards can move no answer logit.

        What the last layer gives at a position is read by that position's own prediction alone: at `answer` by the
        first answer token, at a position before a fed-back thought by that thought, elsewhere by nothing. Keys, values
        and what they are made of are read by every later position too, in the last layer as in the others.
        """
        if layer != self.n_layers - 1 or POINTS[self.hook].spreads:
            return False
        read = {ANSWER}
        if self.feedback:
            read |= {BOT, *self.thoughts[:-1]}
        return not read.intersection(sites)

    def is_alike(self, layer: int, width: int, sites: Sequence[str]) -> bool:
        """Whether all questions have the same vector at these sites: it is made of one token alone, and that is fixed.

        A learnt position differs where the questions differ in length.
        """
        from_token = self.hook in ("resid_pre", "k", "v", "kv") and layer == 0 and width == 1
        return from_token and not self.learned_positions and {*sites} <= {*self.fixed}

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
            hook=self.hook,
            structural=self.is_structural(layer, sites),
            alike=self.is_alike(layer, width, sites),
        )
