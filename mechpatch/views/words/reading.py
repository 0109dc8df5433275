"""A few plain sentences about a run, made from its summary and nothing else.

Only what is clear (`mechpatch.views.words.claims`) is claimed.
"""

from collections.abc import Sequence

from mechpatch.catalogue import DONORS, PAIRED, donor_label, role_of
from mechpatch.formats import significant, written
from mechpatch.points import POINTS, RESID_POST
from mechpatch.stats.cell_values import CellSummary
from mechpatch.stats.summary_values import Check, DirectionPair, Power, Summary
from mechpatch.views.words.claims import (
    FEWEST_PAIRS,
    called,
    can_move,
    differs,
    is_clear,
    largest,
    limits,
    listed,
    place,
    share,
)
from mechpatch.views.words.sentences import sentence
from mechpatch.views.words.switching import switching

NOUN = {"denoise": "recovery", "noise": "destruction"}


def reading(summary: Summary) -> str:
    """Say what was found, what was not, and what cannot count, for a summary made by `summarise`."""
    return " ".join(paragraphs(summary))


def paragraphs(summary: Summary) -> list[str]:
    """The sentences of `reading`: the pairs and the first direction, each other direction, then what cannot count."""
    found, rest = [[_pairs(summary)]], []
    if summary.counts.used:
        paired = [cell for cell in summary.cells if cell.donor == PAIRED]
        for number, direction in enumerate(sorted({cell.direction for cell in paired})):
            written_there = [cell for cell in paired if cell.direction == direction]
            if number:
                found.append([])
            found[-1].append(switching(summary, direction))
            for experiment, hook in dict.fromkeys((cell.experiment, cell.hook) for cell in written_there):
                cells = [cell for cell in written_there if (cell.experiment, cell.hook) == (experiment, hook)]
                found[-1].append(_at_hook(hook, sentence(experiment, cells, NOUN[direction])))
        rest = [_directions(summary.directions, paired), *summary.sets_notes]
        rest += [_structural(paired), _controls(summary.cells), _planning(summary.planning)]
    rest.append(_checks(summary))
    joined = (" ".join(sentence for sentence in sentences if sentence) for sentences in (*found, rest))
    return [paragraph for paragraph in joined if paragraph]


def _at_hook(hook: str, told: str) -> str:
    """A sentence about one hook point, which is named where it is not the usual one."""
    label = POINTS[hook].label if hook in POINTS else hook
    return told if hook == RESID_POST else f"At {label}: {told[:1].lower()}{told[1:]}"


def _pairs(summary: Summary) -> str:
    counts = summary.counts
    if summary.note:
        return summary.note
    used = "all of them" if summary.include_incorrect else "those"
    text = (
        f"The unpatched model answers {counts.both_correct} of {counts.pairs} pairs right on both sides, and "
        f"means are over {used}"
    )
    if counts.undefined_recovery:
        text += f"; in {counts.undefined_recovery} the gap is too small for a share"
    if counts.used - counts.undefined_recovery < FEWEST_PAIRS:
        text += f"; fewer than {FEWEST_PAIRS} pairs cannot make any effect clear"
    return f"{text}."


def _directions(directions: Sequence[DirectionPair], paired: Sequence[CellSummary]) -> str:
    """Where both what clean vectors restore and what corrupted ones destroy is clear, and where the two differ."""
    known = [each for each in directions if not each.structural and each.difference.mean is not None]
    if not known:
        return ""
    clear = {
        direction: {_address(cell) for cell in paired if cell.direction == direction and is_clear(cell)}
        for direction in NOUN
    }
    both = sum(_address(each) in clear["denoise"] & clear["noise"] for each in known)
    text = f"In {both} of {len(known)} cells both directions are clear: what is restored there is destroyed there, too"
    uneven = [each for each in known if differs(each.difference)]
    if not uneven:
        return f"{text}; nowhere do the two shares clearly differ."
    most = max(uneven, key=lambda each: each.difference.size)
    return (
        f"{text}; in {len(uneven)} the two shares clearly differ, most at {called(most.experiment)}, {place(most)}: "
        f"{written(most.sufficiency.mean)} restored, {written(most.necessity.mean)} destroyed (difference "
        f"{written(most.difference.mean)}, 95 % interval {limits(most.difference)})."
    )


def _address(cell: CellSummary | DirectionPair) -> tuple[str, str, int | None, int, str, int]:
    return cell.experiment, cell.hook, cell.head, cell.layer, cell.site, cell.step


def _planning(powers: Sequence[Power]) -> str:
    """What so many pairs find, and twice as many or more would, for one experiment."""
    if not powers:
        return ""
    chosen = next((power for power in powers if power.experiment == "position"), powers[0])
    now, *later = chosen.detectable
    more = next((each for each in later if each.pairs >= 2 * now.pairs), None)
    if now.pairs < FEWEST_PAIRS:
        return ""
    text = (
        f"For planning: {now.pairs} pairs find, four times in five, a mean {NOUN[chosen.direction]} of "
        f"{written(now.typical)} in a cell of {called(chosen.experiment)} with typical spread, and of "
        f"{written(now.worst)} in the one with the widest, tested among all {chosen.cells}"
    )
    if more:
        text += f"; {more.pairs} pairs would find {written(more.typical)} and {written(more.worst)}"
    return f"{text}."


def _structural(paired: Sequence[CellSummary]) -> str:
    counts: dict[str, int] = {}
    for cell in paired:
        if cell.structural:
            counts[cell.experiment] = counts.get(cell.experiment, 0) + 1
    if not counts:
        return ""
    found = listed([f"{n} of {called(name)}" for name, n in counts.items()])
    return f"Zero by construction, and so no findings, are these cells: {found}."


def _controls(cells: Sequence[CellSummary]) -> str:
    run = {cell.donor for cell in cells if role_of(cell.donor) in ("law", "control")}
    donors = [*(donor for donor in DONORS if donor in run), *sorted(run - DONORS.keys())]
    if not donors:
        return "No null donors were run, so nothing says that another vector would not have done the same."
    quiet, loud = [], []
    for donor in donors:
        movable = can_move(cell for cell in cells if cell.donor == donor)
        clear = [cell for cell in movable if is_clear(cell)]
        if clear:
            best = largest(clear)
            where = f"{called(best.experiment)} at {place(best)}"
            loud.append(
                f"{donor_label(donor)} in {len(clear)} of {len(movable)} cells, at most {share(best.effect)}, {where}"
            )
        else:
            quiet.append(donor_label(donor))
    parts = [f"no clear effect anywhere with {listed(quiet)}"] if quiet else []
    parts += [f"a clear effect with {each}" for each in loud]
    return f"Null donors had {'; '.join(parts)}."


def _checks(summary: Summary) -> str:
    asserted, failed = summary.asserted(), summary.failed()
    if failed:
        named = [
            f"{_named(check)} ({significant(check.value, 2)}, at most {significant(check.tolerance, 2)})"
            for check in failed
        ]
        return f"{len(failed)} of {len(asserted)} checks fail, so do not rely on these numbers: {listed(named)}."
    return f"All {len(asserted)} checks of the records hold." if asserted else ""


def _named(check: Check) -> str:
    name = check.name.replace("_", " ")
    hook = None if check.hook == RESID_POST else check.hook
    return ", ".join(part for part in (name, check.direction, hook) if part)
