"""What a lens found, in three lines: made from its summary and, where writes were run, from that of the run.

Only what is clear (`mechpatch.stats.clear`) is said to be readable. That a value can be read is never said to be a
cause, and that nothing can be read is never said to be an absence.
"""

from collections.abc import Iterator, Sequence

from mechpatch.catalogue import donor_label
from mechpatch.formats import capital, percent
from mechpatch.points import RESID_POST
from mechpatch.stats.cell_values import Share
from mechpatch.stats.cells import at_thoughts
from mechpatch.stats.clear import FEWEST_PAIRS, controls
from mechpatch.stats.lens import SIDES, Beside, LensCell, LensSummary, Place, beside, strongest
from mechpatch.stats.summary_values import Summary
from mechpatch.views.words.claims import counted, listed, near, portion
from mechpatch.views.words.lines import Lines

SIDE = "clean"  # the side that is told; the other one is beside it
TARGETS = {"clean_answer": "the clean answer", "corrupted_answer": "the corrupted answer"}
NO_CAUSE = "A hit is no cause: the lens says what could be read off a vector, not what the model does with it."
NO_ABSENCE = "Where nothing is hit a value may still be held, in a form that the unembedding does not read."


def lens_lines(lens: LensSummary, run: Summary | None = None, tuned: bool = False) -> Lines:
    """The three lines of one reading.

    Args:
        run: the summary of the run that was read, for what writes at the same thoughts do.
        tuned: whether the residual stream was translated first.
    """
    causal = None if run is None else beside(lens, run)
    return Lines(
        did=" ".join(_did(lens, tuned)),
        found=" ".join(_found(lens, causal)),
        distrust=" ".join(_distrust(lens, causal)),
    )


def target_label(target: str) -> str:
    """A target within a sentence: "step 2", "the clean answer"."""
    return TARGETS.get(target) or f"step {target.removeprefix('step')}"


def place_label(place: Place) -> str:
    """A place within a sentence."""
    hook, layer, site = place
    return f"layer {layer}, {site}" if hook == RESID_POST else f"the thought fed back at {site}"


def hit(lens: LensSummary) -> str:
    """What counts as a hit."""
    return "the likeliest token" if lens.top == 1 else f"among the {lens.top} likeliest tokens"


def _did(lens: LensSummary, tuned: bool) -> Iterator[str]:
    cells = lens.of(SIDE)
    places = dict.fromkeys(cell.place for cell in cells)
    stream = [place for place in places if place[0] == RESID_POST]
    layers, sites = ({place[at] for place in stream} for at in (1, 2))
    fed = len(places) - len(stream)
    also = f" and at {counted(fed, 'fed-back thought')}" if fed else ""
    yield (
        f"Read {'a tuned' if tuned else 'the logit'} lens at {counted(len(layers), 'layer')} × "
        f"{counted(len(sites), 'position')}{also}, both questions of {counted(lens.used, 'pair')}; a hit is "
        f"{hit(lens)}."
    )
    steps = [target for target in dict.fromkeys(cell.target for cell in cells) if target not in TARGETS]
    looked = (
        f"the values of {listed([target_label(each) for each in steps])} and both answers" if steps else "both answers"
    )
    yield f"Looked for {looked}."
    run = lens.controls
    yield f"Controls: {listed([donor_label(name) for name in run])}." if run else "No control was run."


def _found(lens: LensSummary, causal: Beside | None) -> Iterator[str]:
    if not lens.used:
        yield "No pair is answered right on both sides, so no share can be told."
        return
    cells = [cell for cell in lens.of(SIDE) if at_thoughts(cell.site) and cell.target != "corrupted_answer"]
    if not cells:
        yield "No thought was read."
        return
    unread = []
    for target in sorted({cell.target for cell in cells}, key=lambda name: (name in TARGETS, name)):
        of_target = [cell for cell in cells if cell.target == target]
        clear = [cell for cell in of_target if cell.clear]
        if clear:
            yield _readable(target, clear, len(of_target), _elsewhere(lens, clear))
        else:
            unread.append((target, strongest(of_target)))
    for target, best in unread:
        yield _unreadable(target, best)
    if causal is not None:
        yield beside_told(causal)


def _readable(target: str, clear: Sequence[LensCell], places: int, elsewhere: str) -> str:
    best = strongest(clear)
    assert best is not None
    hits = best.hits
    return (
        f"{capital(target_label(target))} can be read at {len(clear)} of {places} places of thoughts, most at "
        f"{place_label(best.place)}: {portion_of(hits)}, at most {_most(hits)} with a control{elsewhere}."
    )


def _unreadable(target: str, best: LensCell | None) -> str:
    start = f"{capital(target_label(target))} can be read at no thought beyond every control"
    if best is None or not best.hits.n:
        return f"{start}; no pair has it."
    if not best.hits.count:
        return f"{start}; it is hit nowhere."
    return f"{start}; most hits at {place_label(best.place)}, {portion_of(best.hits)}{_why_not(best.hits)}."


def _why_not(hits: Share) -> str:
    """Why hits are no claim."""
    if hits.n < FEWEST_PAIRS:
        return f"; fewer than {FEWEST_PAIRS} pairs have it, which makes nothing clear"
    return near(hits) if controls(hits) else "; no control was run"


def _elsewhere(lens: LensSummary, clear: Sequence[LensCell]) -> str:
    """Whether the other side's questions say the same, where both were read; the own answer is another target there."""
    mirrored = {"clean_answer": "corrupted_answer"}
    other = {(cell.target, cell.place) for cell in lens.of("corrupted") if cell.clear}
    if not lens.of("corrupted"):
        return ""
    again = sum((mirrored.get(cell.target, cell.target), cell.place) in other for cell in clear)
    return f"; in the corrupted questions at {again} of the same {len(clear)}"


def beside_told(causal: Beside) -> str:
    """Where something can be read, and where a write moves the answer."""
    vectors = f"{SIDES[causal.direction]} vectors"
    head = f"Of {counted(causal.places, 'place')} of thoughts that were also written ({vectors}, pairs that switch), "
    read, both, moving = len(causal.readable), len(causal.both), len(causal.moving)
    if not read and not moving:
        return f"{head}none can be read, and none moves the answer clearly."
    text = f"{head}{read} can be read and {moving} move the answer; {both} do both"
    alone = [place for place in causal.readable if place not in causal.both]
    silent = [place for place in causal.moving if place not in causal.both]
    if alone:
        text += f". Read, and no clear switch: {_some(alone)}"
    if silent:
        text += f". Moving, and nothing to be read: {_some(silent)}"
    return f"{text}."


def _some(places: Sequence[Place], most: int = 4) -> str:
    named = [place_label(place) for place in places[:most]]
    more = [f"{len(places) - most} more"] if len(places) > most else []
    return "; ".join([*named, *more])


def _distrust(lens: LensSummary, causal: Beside | None) -> Iterator[str]:
    yield NO_CAUSE
    yield NO_ABSENCE
    if causal is not None and causal.fixed:
        yield (
            f"At {counted(len(causal.fixed), 'place')} that can be read a write changes nothing by construction, so "
            "that nothing moves there is no finding."
        )
    cells = lens.of(SIDE)
    if cells and not any(controls(cell.hits) for cell in cells):
        yield "Without a control any value might be hit as often, and nothing is clear."
    elif "twin" not in lens.controls:
        yield "No twin was read (--twin), so what a model that feeds no thought back would show is not known."
    if lens.used < lens.pairs:
        yield (
            f"{lens.pairs - lens.used} of {counted(lens.pairs, 'pair')} that the model gets wrong on either side are "
            "left out."
        )
    if 0 < lens.used < FEWEST_PAIRS:
        yield f"Fewer than {FEWEST_PAIRS} pairs are used, which makes nothing clear."
    if lens.shared:
        yield (
            f"{lens.shared} of {counted(lens.sought, 'target')} are left out: another value of the same question "
            "begins with the same token."
        )
    if lens.several:
        yield (
            f"{lens.several} of {counted(lens.sought, 'target')} have several tokens, of which the first alone is "
            "looked for."
        )


def portion_of(hits: Share) -> str:
    """A share of pairs with its interval."""
    interval = f", 95 % interval {percent(hits.low)} to {percent(hits.high)}" if hits.low is not None else ""
    return f"{hits.count} of {counted(hits.n, 'pair')} ({percent(hits.share)}{interval})"


def _most(hits: Share) -> str:
    """The largest share with any control."""
    return portion(max((hits.beyond[name] for name in controls(hits)), key=lambda test: test.share or 0.0))
