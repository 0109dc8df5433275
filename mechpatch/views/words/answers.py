"""What experiments that ask for answers say: is a thought needed, how many are, and whose answer follows from it?

Each sentence has its numbers: how many pairs of how many, and what the controls did. A share of zero comes with what so
many pairs can exclude. That an answer follows the thoughts is said only where it is clear: six pairs or more, and more
of them than with every control (McNemar's exact test, false discovery rate at most 5 % over the map).
"""

from collections.abc import Iterator, Sequence

from mechpatch.catalogue import DONORS, donor_label, role_of
from mechpatch.formats import percent
from mechpatch.kinds import kind_of
from mechpatch.kinds.cells import ALL, JOIN
from mechpatch.points import POINTS
from mechpatch.stats.answers import AnswerCell
from mechpatch.stats.cell_values import Share, ShareTest
from mechpatch.stats.clear import FALSE_DISCOVERIES, FEWEST_PAIRS
from mechpatch.views.words.claims import listed

RUN = {"denoise": "corrupted", "noise": "clean"}


def answers_told(answers: Sequence[AnswerCell]) -> list[str]:
    """Sentences about all such experiments of a run, in the order in which they are run."""
    found: list[str] = []
    for cells in maps(answers):
        tell = {"necessity": _necessity, "count": _count, "early": _early, "swap": _swap}.get(cells[0].experiment)
        if tell is not None:
            found += tell(cells)
    return found


def answers_in_short(answers: Sequence[AnswerCell]) -> list[str]:
    """The first sentence of each such experiment, and the thoughts with which the model computes on, in one."""
    found: list[str] = []
    for cells in maps(answers):
        found += answers_told(cells)[:1]
        best = _followed(cells)
        if best and cells[0].experiment == "swap":
            named = listed([f"{cell.site} (step {cell.step}{_where(cells, cell.layer, ', ')})" for cell in best])
            most = max(cell.followed.share or 0 for cell in best)
            drawn = max(test.share or 0 for cell in best for test in _controls(cell).values())
            found.append(
                f"The model computes on with {named}: up to {percent(most)} of pairs give the answer that follows from "
                f"another question's step and their own, and at most {percent(drawn)} with vectors of no question."
            )
    return list(dict.fromkeys(found))


def maps(cells: Sequence[AnswerCell]) -> list[list[AnswerCell]]:
    """The cells of each experiment, direction and hook point together, in their order."""
    found: dict[tuple[str, str, str], list[AnswerCell]] = {}
    for cell in cells:
        found.setdefault((cell.experiment, cell.direction, cell.hook), []).append(cell)
    return [*found.values()]


def follows_clearly(cell: AnswerCell) -> bool:
    """Whether it may be claimed that the answer follows what was written."""
    share = cell.followed
    tests = [*_controls(cell).values()]
    beaten = all(test.more > test.less and test.q is not None and test.q <= FALSE_DISCOVERIES for test in tests)
    return share.n >= FEWEST_PAIRS and not cell.structural and bool(tests) and beaten


def _controls(cell: AnswerCell) -> dict[str, ShareTest]:
    """Donors that hold no question's steps: with those of a question with an equal answer, others may be followed."""
    return {donor: test for donor, test in cell.followed.beyond.items() if DONORS[donor].made and test.n}


def counted(share: Share) -> str:
    """How many pairs of how many, with the share; of none, what so many can exclude."""
    if not share.n:
        return "no pair that could"
    told = f"{share.count} of {share.n} pairs"
    return f"{told} (at most {percent(share.high)})" if not share.count else f"{told} ({percent(share.share)})"


def _necessity(cells: Sequence[AnswerCell]) -> Iterator[str]:
    whole = [cell for cell in cells if cell.site == ALL] or list(cells)
    layer = min(whole, key=lambda cell: (cell.kept.share if cell.kept.share is not None else 1, cell.layer)).layer
    at = [cell for cell in cells if cell.layer == layer]
    if not any(cell.kept.n for cell in at):
        return
    told = [f"{counted(cell.kept)} with {donor_label(cell.donor)}" for cell in at if cell in whole]
    run = RUN[cells[0].direction]
    yield f"With all thoughts taken away{_where(cells, layer)}, {listed(told)} keep the {run} answer."
    run_with = {cell.donor for cell in at}
    first = next(donor for donor in kind_of(at[0].experiment).donors if donor in run_with)
    singles = [cell for cell in at if cell.donor == first and cell.site != ALL and JOIN not in cell.site]
    if len(singles) > 1:
        least, most = (pick(singles, key=lambda cell: cell.kept.share or 0) for pick in (min, max))
        yield (
            f"Of single thoughts, {donor_label(least.donor)} at {least.site} leaves fewest: {counted(least.kept)}; at "
            f"{most.site} most: {counted(most.kept)}."
        )


def _count(cells: Sequence[AnswerCell]) -> Iterator[str]:
    yield from _by_number(cells, "With")


def _early(cells: Sequence[AnswerCell]) -> Iterator[str]:
    yield from _by_number(cells, "Asked for the answer after")


def _by_number(cells: Sequence[AnswerCell], opening: str) -> Iterator[str]:
    """The fewest thoughts with which at least nine tenths of the best number keep their answer, and what fewer do."""
    known = [cell for cell in cells if cell.kept.n]
    if not known:
        return
    best = max(known, key=lambda cell: (cell.kept.count, -cell.step))
    none, run = known[0], RUN[known[0].direction]
    if not best.kept.count:
        yield f"{opening} no number of thoughts a pair keeps the {run} answer: {counted(best.kept)} at any."
        return
    enough = next(cell for cell in known if cell.kept.count >= 0.9 * best.kept.count)
    text = f"{opening} {_thoughts(best)} most pairs keep the {run} answer: {counted(best.kept)}"
    if enough.step < best.step:
        text += f"; {_thoughts(enough)} do nearly as well: {counted(enough.kept)}"
    if none.step == 0 and best.step:
        text += f"; with none, {counted(none.kept)}"
    last = known[-1]
    if last.step > best.step:
        text += f"; with {_thoughts(last)}, {counted(last.kept)}"
    yield f"{text}."


def _swap(cells: Sequence[AnswerCell]) -> Iterator[str]:
    run = RUN[cells[0].direction]
    written = [cell for cell in cells if role_of(cell.donor) == "effect"]
    whole = [cell for cell in written if cell.site == ALL and cell.followed.n]
    if whole:
        cell = max(whole, key=lambda each: (each.followed.share or 0, -each.layer))
        yield (
            f"With all thoughts of another question{_where(cells, cell.layer)}, {counted(cell.followed)} give that "
            f"question's answer, and {counted(cell.kept)} keep the {run} one{_beside(cell, cells)}."
        )
    singles = [cell for cell in written if cell.site != ALL and cell.followed.n]
    clear = _followed(cells)
    if not singles:
        return
    if not clear:
        best = max(singles, key=lambda each: each.followed.share or 0)
        yield (
            "At no single thought does the answer clearly follow another question's step: the most is "
            f"{counted(best.followed)}, {kind_of('swap').place(best)}."
        )
    for best in clear:
        controls = [f"{percent(test.share)} with {donor_label(donor)}" for donor, test in _controls(best).items()]
        yield (
            f"The model computes on with {best.site}{_where(cells, best.layer)}: with another question's value of step "
            f"{best.step}, {counted(best.followed)} give the answer that follows from it and their own question "
            f"({listed(controls)})."
        )


def _followed(cells: Sequence[AnswerCell]) -> list[AnswerCell]:
    """For each step of the question, the thought with which most pairs follow another question's, if that is clear."""
    clear = [cell for cell in cells if role_of(cell.donor) == "effect" and cell.site != ALL and follows_clearly(cell)]
    steps = sorted({cell.step for cell in clear})
    return [
        max((cell for cell in clear if cell.step == step), key=lambda cell: cell.followed.share or 0) for step in steps
    ]


def _beside(cell: AnswerCell, cells: Sequence[AnswerCell]) -> str:
    """What pairs keep with thoughts of questions with the same answer."""
    found = [
        each
        for each in cells
        if each.donor == "same_value" and (each.layer, each.site, each.step) == (cell.layer, cell.site, cell.step)
    ]
    if not found or not found[0].kept.n:
        return ""
    return f"; with thoughts of a question with the same answer, {counted(found[0].kept)} keep it"


def _where(cells: Sequence[AnswerCell], layer: int, joined: str = "") -> str:
    """Layer and hook point, where there are layers; in brackets, unless they are joined to what stands in some."""
    hook = cells[0].hook
    if not POINTS[hook].hooks:
        return ""
    return f"{joined}layer {layer}, {hook}" if joined else f" (layer {layer}, {hook})"


def _thoughts(cell: AnswerCell) -> str:
    return f"{cell.step} thought{'' if cell.step == 1 else 's'}" if cell.step else "no thought"
