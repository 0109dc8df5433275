"""What is said of a model that answered questions alone."""

from mechpatch.formats import DASH
from mechpatch.stats.cell_values import Share


def accuracy_told(found: Share) -> str:
    """How many questions are answered rightly, with the interval of the share."""
    noun = "question is" if found.n == 1 else "questions are"
    between = f"{tenths(found.low)} to {tenths(found.high)}"
    return f"{tenths(found.share)} of {found.n:,} {noun} answered rightly ({found.count:,}; 95 % interval {between})."


def tenths(share: float | None) -> str:
    """Per cent with one decimal, as accuracies are published."""
    return DASH if share is None else f"{100 * share:.1f} %"
