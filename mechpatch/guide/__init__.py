"""The pages of `mechpatch guide`: Markdown files that can be read in a terminal, or on a forge."""

from importlib.resources import files

from mechpatch.errors import SpecError
from mechpatch.names import not_known

TOPICS = {
    "first-map": "from installation to the first map, in Python and on the command line",
    "definitions": "sites, donors, metrics, columns, and the laws that every run obeys",
    "hooks": "the hook functions in a plain HookedTransformer",
    "hook-points": "attention, MLP, heads, neurons, keys and values, the thought itself; screening where they are many",
    "necessity-and-swaps": "thoughts taken away, counted, swapped, and the third answer",
    "readings": "what a thought says: lens, probes and attention over all pairs, with controls, beside the causal map",
    "your-model": "checkpoints of all families, pairs, screening; every command once",
    "your-experiment": "your own metric, donor and kind of experiment",
    "reading-a-report": "what to believe, and what not",
    "published-studies": "what was published, and the commands that measure the same on your checkpoint",
    "at-scale": "plans, memory, resuming, growing, what is safe, how fast",
    "scale": "Ray: several processes or machines, what they need, what they take, and where it bends",
}


def page(topic: str) -> str:
    """The Markdown text of a page. Raises `SpecError` that names the nearest topic."""
    if topic not in TOPICS:
        raise SpecError(not_known("guide", [topic], list(TOPICS)))
    return files("mechpatch.guide").joinpath(f"{topic}.md").read_text(encoding="utf-8")
