"""When a finding is clear: one predicate for words, bold, ticks, tables, terminal and figures.

A mean or a share is clear where at least six pairs have a value of that very quantity, its interval excludes zero, and
it is beyond every control that was run, at a false discovery rate of at most 5 % over its map. Without a control
nothing is clear, and so is nothing that is zero by construction. `self` is a law and no control; `zero` and `mean` are
effects, which are held against the controls as any other.
"""

from mechpatch.catalogue import role_of
from mechpatch.stats.cell_values import CellSummary, Estimate, Gain, Held, SetDifference, Share, ShareTest, Tested

FALSE_DISCOVERIES = 0.05
SMALLEST = 0.005  # of a mean: a smaller one is written as 0.00
FEWEST_PAIRS = 6  # five pairs that all agree still have p = 2 / 2**5 > 0.05


def is_clear(cell: CellSummary, of: str = "switched") -> bool:
    """Whether a quantity of a cell may be claimed.

    Args:
        of: "switched", "neither", "effect", "answer_logprob_change", or what a set does beyond its parts: "lost",
            "synergy", "gain". Nothing else is held against controls, so nothing else is ever clear.
    """
    if of in ("lost", "synergy", "gain"):
        return _set_is_clear(cell.sets.get(of))
    if of not in ("switched", "neither", "effect", "answer_logprob_change"):
        return False
    return not cell.structural and is_clear_value(getattr(cell, of))


def is_clear_value(found: Share | Held) -> bool:
    """`is_clear` of a share or mean that is not zero by construction."""
    joint = found.beyond_every
    if joint is None or joint.q is None or joint.q > FALSE_DISCOVERIES:
        return False
    return _enough(found) and all(_exceeds(found, donor) for donor in controls(found))


def is_clear_among(found: Share | Held, q: float) -> bool:
    """As `is_clear_value` of one of several cells that nothing was chosen among, so that they alone count as tested.

    Args:
        q: false discovery rate among these; NaN where there is no test.
    """
    return q <= FALSE_DISCOVERIES and _enough(found)


def differs(found: Tested) -> bool:
    """Whether a difference of two runs or two cells may be claimed; there is no control of it but the other side."""
    return found.q is not None and found.q <= FALSE_DISCOVERIES and _enough(found)


def switch_differs(found: ShareTest) -> bool:
    """Whether the shares of two runs may be called different, in whichever direction."""
    return found.n >= FEWEST_PAIRS and found.q is not None and found.q <= FALSE_DISCOVERIES


def moves(cell: CellSummary) -> bool:
    """Whether a cell moves at all, whatever its donor: the effect alone, held against no control."""
    return not cell.structural and differs(cell.effect)


def controls(found: Share | Held) -> list[str]:
    """The controls that were run at a cell; one that has no donor for any of its pairs was not."""
    return [donor for donor, test in found.beyond.items() if role_of(donor) == "control" and test.n]


def unbeaten(found: Share | Held) -> list[str]:
    """The controls that keep a share or mean from being clear; none where there is no control."""
    run = controls(found)
    near = [donor for donor in run if not _exceeds(found, donor)]
    joint = found.beyond_every
    if near or joint is None or joint.q is None or joint.q <= FALSE_DISCOVERIES:
        return near
    return [max(run, key=lambda donor: found.beyond[donor].p or 0.0)]  # all are held against, and the map is large


def _set_is_clear(found: SetDifference | Gain | None) -> bool:
    if found is None:
        return False
    if isinstance(found, SetDifference):
        return not found.structural and is_clear_value(found)
    every = found.over_every_layer.q
    beats = all(each.low is not None and each.low > 0 for each in found.over_layers.values())
    return beats and every is not None and every <= FALSE_DISCOVERIES and is_clear_value(found.over_mean)


def _enough(found: Share | Estimate) -> bool:
    """Whether six pairs have a value, and its interval excludes zero."""
    if found.n < FEWEST_PAIRS or found.low is None or found.high is None:
        return False
    return (found.low > 0 or found.high < 0) and (isinstance(found, Share) or found.size >= SMALLEST)


def _exceeds(found: Share | Held, donor: str) -> bool:
    """Whether the difference to one control is clear and of the same sign."""
    test = found.beyond[donor]
    if test.q is None or test.q > FALSE_DISCOVERIES or test.low is None or test.high is None:
        return False
    if isinstance(test, ShareTest):
        return test.more > test.less
    return (test.low > 0 or test.high < 0) and isinstance(found, Held) and test.sign == found.sign
