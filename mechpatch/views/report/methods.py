"""What was done to make a figure, in sentences that can stand in a paper: what was written, where, into how many pairs,
beside which controls, tested how, with which versions."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from mechpatch.catalogue import MEASURES, PAIRED, direction_label, donor_label, measure_of, role_of
from mechpatch.formats import percent
from mechpatch.kinds import kind_of
from mechpatch.points import POINTS
from mechpatch.stats import groups, select
from mechpatch.stats.cells import Group
from mechpatch.stats.clear import FALSE_DISCOVERIES, FEWEST_PAIRS
from mechpatch.stats.contrasts import LEVEL
from mechpatch.stats.estimates import RESAMPLES
from mechpatch.stats.switching import SHARES
from mechpatch.views.report.citations import bibtex
from mechpatch.views.report.studies import Study
from mechpatch.views.words.claims import listed

HOW = {
    "layer": "all thoughts of one layer at once",
    "position": "one layer and position at a time",
    "relay": "one thought after the other: at each step the vector that the run of the step before had produced there",
    "cumulative": "the thoughts of one layer up to each step",
    "leave_one_out": "all thoughts of one layer but one",
    "pairwise": "two positions of one layer at once",
    "subset": "sets of positions of one layer at once",
    "window": "one position, at several layers in a row",
}
INTERVALS = f"{percent(LEVEL)} bias-corrected and accelerated bootstrap intervals over pairs ({RESAMPLES:,} resamples)"
FOUND = f"false discoveries over the cells of a map held at {percent(FALSE_DISCOVERIES)} (Benjamini–Hochberg)"


def describe_methods(study: Study) -> dict[str, Any]:
    """Sentences about one study: {written: by "hook experiment direction", measured: by metric, compared, rest, cite}.

    The paragraph of a figure is what was written, how it was measured, and the rest.
    """
    found = groups(study.table)
    return {
        "written": {
            f"{group.hook} {group.experiment} {group.direction}": " ".join(_written(study, group, found))
            for group in found
            if group.donor == PAIRED
        },
        "measured": {name: _measured(name, study.summary.seed) for name in MEASURES},
        "compared": "The two runs were compared on the pairs that both have and can use, cell by cell: the difference "
        f"was taken within each pair. Its mean has {INTERVALS}; tests are over pairs, with {FOUND}.",
        "rest": " ".join(_rest(study)),
        "cite": citation(study),
    }


def citation(study: Study) -> str:
    """BibTeX entries of what was used."""
    return bibtex(_versions(study).get("mechpatch", ""), _families(study))


def _written(study: Study, group: Group, found: Sequence[Group]) -> Iterator[str]:
    cells = select(study.table, group, include_incorrect=True)
    how = HOW.get(group.experiment, f"by {kind_of(group.experiment).label.lower()}")
    point = f"{POINTS[group.hook].label}, {group.hook}" if group.hook in POINTS else group.hook
    columns = len({(column.site, column.step) for column in cells.columns})
    yield (
        f"We wrote {direction_label(group.direction)} ({point}), {how}, at {len(cells.layers)} layers × {columns} "
        f"places of {len(cells.pairs)} pairs, and recomputed all that follows, fed-back thoughts included."
    )
    donors = [each.donor for each in found if each._replace(donor=PAIRED) == group and role_of(each.donor) == "control"]
    told = listed([donor_label(donor) for donor in donors]) if donors else ""
    yield f"As controls, we wrote {told} at the same places." if told else "No control was run."


def _measured(metric: str, seed: int) -> str:
    label = measure_of(metric).label
    if metric in SHARES:
        return (
            "A pair switches where greedy decoding gives the other side’s answer after the write; pairs whose "
            "unpatched answers are wrong or equal cannot and are left out. "
            f"Shares of {label} have exact {percent(LEVEL)} intervals (Clopper and Pearson) and are held against every "
            f"control pair by pair (McNemar’s exact test), with {FOUND}; claims need {FEWEST_PAIRS} pairs."
        )
    if metric in ("effect", "recovery", "destruction"):
        return (
            "Recovery is the share of the gap between the unpatched corrupted and clean run, in log p(clean answer) − "
            f"log p(corrupted answer), that a write closes. Means over pairs have {INTERVALS}, seed {seed}; effects "
            f"are tested by flipping signs of pairs and held against every control pair by pair, with {FOUND}."
        )
    unit = f" ({measure_of(metric).unit})" if measure_of(metric).unit else ""
    return f"Shown is the mean {label}{unit} over pairs, with {INTERVALS}, seed {seed}."


def _rest(study: Study) -> Iterator[str]:
    run, counts = study.runs[0], study.summary.counts
    about = run.spec.get("environment", {}).get("model", {})
    model, asked, pairs = (run.spec.get(name, {}) for name in ("model", "spec", "pairs"))
    name = PurePath(str(about.get("codi") or about.get("coconut") or about.get("base") or "one")).name
    kind = f" ({about['title']})" if about.get("title") else ""
    held = f"{model.get('dtype')} on {about.get('device')}, weights {model.get('fingerprint')}"
    yield f"The model is {name}{kind}, {held}."
    digest = str(pairs.get("sha256") or pairs.get("content") or "")[:16]
    file = PurePath(str(run.spec.get("environment", {}).get("pairs", ""))).name
    yield (
        f"Of {counts.pairs} pairs ({file}, {digest}) the unpatched model answers {counts.both_correct} right on both "
        f"sides; {'all are' if study.summary.include_incorrect else 'these are'} used."
    )
    if asked.get("engine") == "fast" and asked.get("checks"):
        yield f"{asked['checks']} cells of each batch were recomputed with plain hooks."
    yield f"Software: {', '.join(f'{name} {version}' for name, version in _versions(study).items())}."


def _versions(study: Study) -> dict[str, str]:
    return {str(name): str(version) for name, version in study.runs[0].spec.get("versions", {}).items()}


def _families(study: Study) -> list[str]:
    models = [run.spec.get("environment", {}).get("model", {}) for run in study.runs]
    return [str(about["family"]) for about in models if "family" in about]
