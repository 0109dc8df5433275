"""What is said of published studies: the list, one study, and our figures beside the published ones."""

from collections.abc import Mapping, Sequence

from mechpatch.formats import DASH
from mechpatch.studies import Figure, Study
from mechpatch.studies.ours import Measured
from mechpatch.views.words.accuracy import tenths

NUMBERING = (
    "t0 is the thought that bot feeds. Papers that count what the prefill gives as the first latent thought call our "
    "t2 their third."
)
STAND_IN = (
    "Whether the files that were given are the published ones, nobody has checked; ours are of the model with the "
    "fingerprint"
)


def listed_studies(found: Sequence[Study]) -> list[str]:
    """A line for each study."""
    wide = max(len(study.name) for study in found)
    return [f"{study.name:<{wide}}  {study.title}" for study in found]


def study_told(study: Study, commands: Sequence[str]) -> list[str]:
    """A study whole: source, what it needs, the commands and the published figures."""
    lines = [study.title, f"source: {study.source}", "needs:"]
    lines += [f"  {_option(name)}  {text}" for name, text in study.needs.items()]
    if study.settings:
        settings = ", ".join(f"{_option(name)} {value:g}" for name, value in study.settings.items())
        lines.append(f"run with {settings}, unless you say otherwise")
    if study.note:
        lines.append(f"note: {study.note}")
    if commands:
        lines += ["commands:", *(f"  mechpatch {command}" for command in commands)]
        lines += ["published:", *(f"  {figure.what}: {figure.published}" for figure in study.figures)]
        lines.append(NUMBERING)
    return lines


def figure_told(figure: Figure, ours: Measured) -> dict[str, str]:
    """One figure in words: what it is, what was published, and ours with its interval and where it was found."""
    share = ours.share
    if share is None or share.share is None:
        return {"figure": figure.what, "published": figure.published, "ours": f"{DASH} ({ours.where or 'no pairs'})"}
    between = f"{tenths(share.low)} to {tenths(share.high)}"
    counts = f"{share.count:,} of {share.n:,}; {between}"
    where = f"; {ours.where}" if ours.where else ""
    return {"figure": figure.what, "published": figure.published, "ours": f"{tenths(share.share)} ({counts}{where})"}


def figure_json(figure: Figure, ours: Measured) -> Mapping[str, object]:
    """The same as values, JSON-ready; shares are from 0 to 1, what was published is in per cent."""
    share = ours.share
    found = None if share is None else {name: getattr(share, name) for name in ("share", "low", "high", "count", "n")}
    return {
        "figure": figure.what,
        "published": figure.published,
        "published_percent": figure.value,
        "ours": found,
        "where": ours.where,
    }


def _option(name: str) -> str:
    return "--" + {"n_latents": "latents"}.get(name, name).replace("_", "-")
