"""Removal: is a thought needed, how many are, and from when on is the answer there?

`necessity` writes what takes a thought away (the zero vector, the mean, Gaussian vectors, another question's) at each
thought alone, at the first ones up to each, and at all. `count` rolls out fewer or more thoughts than the model was
trained with, and `early` goes on to the answer after each thought (Lanham et al. 2023, "Measuring Faithfulness in
Chain-of-Thought Reasoning", do so with text). Neither of these two writes anything. What is asked is how many pairs
still get the answer that is right for the question that is run.
"""

from mechpatch.catalogue import NOTHING
from mechpatch.errors import SpecError
from mechpatch.kinds.cells import ALL, JOIN, Cell, Frame
from mechpatch.kinds.kind import Kind, Placed


def necessity_cells(frame: Frame) -> list[Cell]:
    """For each layer: each thought, the first thoughts up to each, and all."""
    thoughts = frame.thoughts
    firsts = [thoughts[:stop] for stop in range(2, len(thoughts))]
    return [
        frame.cell("necessity", layer, sites, ALL if sites == thoughts and len(thoughts) > 1 else JOIN.join(sites))
        for layer in frame.layers
        for sites in (*((each,) for each in thoughts), *firsts, *([thoughts] if len(thoughts) > 1 else []))
    ]


def count_cells(frame: Frame) -> list[Cell]:
    """One cell for each number of thoughts, from none to twice as many as there are."""
    if frame.most is None:
        raise SpecError("count: a text chain has the thoughts that it has; expected early, or other thoughts")
    return [_run_with("count", number) for number in range(frame.most + 1)]


def early_cells(frame: Frame) -> list[Cell]:
    """One cell for each number of thoughts, from none to all."""
    return [_run_with("early", number) for number in range(len(frame.thoughts) + 1)]


def _run_with(kind: str, number: int) -> Cell:
    return Cell(experiment=kind, hook="thought", layer=0, sites=(), site=f"n{number}", step=number, thoughts=number)


def at_sites(cell: Placed) -> str:
    """Where thoughts are taken away, in words."""
    sites = cell.site.split(JOIN)
    named = "all thoughts" if cell.site == ALL else cell.site if len(sites) == 1 else f"{sites[0]} to {sites[-1]}"
    return f"layer {cell.layer}, {named}"


def with_thoughts(cell: Placed) -> str:
    """How many thoughts are run, in words; the site of a cell is n and their number."""
    number = cell.site.removeprefix("n")
    return f"{number} thought{'' if number == '1' else 's'}"


NECESSITY = Kind(
    name="necessity",
    label="Necessity",
    phrase="With thoughts taken away",
    cells=necessity_cells,
    donors=("zero", "mean", "gaussian", "other_pair"),
    place=at_sites,
    across="Thoughts taken away",
)
COUNT = Kind(
    name="count",
    label="Number of thoughts",
    phrase="With fewer or more thoughts",
    cells=count_cells,
    donors=(NOTHING,),
    place=with_thoughts,
    across="Thoughts rolled out",
)
EARLY = Kind(
    name="early",
    label="Early answer",
    phrase="With the answer after each thought",
    cells=early_cells,
    donors=(NOTHING,),
    place=with_thoughts,
    across="Thoughts before the answer",
)
