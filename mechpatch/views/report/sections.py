"""A study as static HTML: what can be read without any script, and the places in which the script draws."""

from collections.abc import Iterable, Sequence
from typing import Any

from mechpatch.catalogue import DIRECTIONS
from mechpatch.kinds import kind_of
from mechpatch.stats.contrasts import LEVEL
from mechpatch.stats.summary_values import Check
from mechpatch.views.report import facts
from mechpatch.views.report.markup import facts as fact_list
from mechpatch.views.report.markup import foreign, power, table, text
from mechpatch.views.report.studies import Study
from mechpatch.views.words.reading import paragraphs

SECTIONS = (
    ("finding", "Finding"),
    ("heatmap", "Layers and positions"),
    ("profile", "Layers"),
    ("chain", "Chains"),
    ("comparison", "Experiments compared"),
    ("cells", "All cells"),
    ("pairs", "Pairs"),
    ("method", "How to read it"),
)
STRUCTURAL = (
    "Grey, hatched cells are zero by construction, whatever the model has learnt, and are no findings: what the last "
    "layer gives at a position is read by that position’s own prediction alone; and without feedback, a write at one "
    "thought cannot reach the same layer at the next."
)


def study_section(study: Study, number: int, hidden: bool) -> str:
    """One study, from what was asked to how to read it."""
    kinds = {group.experiment for run in study.runs for group in run.groups}
    drawings = {kind_of(name).drawing for name in kinds}
    shown = {
        "profile": "profile" in drawings,
        "chain": "chain" in drawings,
        "comparison": len(kinds) > 1 or bool(study.summary.checks),
    }
    bodies = {
        "finding": _finding(study),
        "heatmap": _place("heatmap", "Each cell is one write. " + STRUCTURAL),
        "profile": _place("profile", "All thoughts of one layer written at once. Lines in grey are null donors."),
        "chain": _place("chain", "One line for each layer; steps that are zero by construction have no point."),
        "comparison": _comparison(study),
        "cells": _place("cells", "Every cell as in the figures above; click a heading to sort."),
        "pairs": _place("pairs", "Open a pair for its questions, its map and its largest cells."),
        "method": _method(study),
    }
    parts = [(key, title) for key, title in SECTIONS if shown.get(key, True)]
    links = "".join(f'<a href="#s{number}-{key}">{text(title)}</a>' for key, title in parts)
    first, *others = (
        f'<section id="s{number}-{key}" data-part="{key}"><h2>{text(title)}</h2>{bodies[key]}</section>'
        for key, title in parts
    )
    nav = f'<nav aria-label="Sections">{links}</nav>'
    toolbar = '<div class="toolbar" data-place="toolbar"></div>'
    return (
        f'<article class="study" data-study="{number}"{" hidden" if hidden else ""}>'
        f"{fact_list(facts.describe_study(study))}{nav}{first}{toolbar}{''.join(others)}</article>"
    )


def _finding(study: Study) -> str:
    notes = "".join(f"<li>{text(note)}</li>" for note in study.summary.run.notes)
    listed = f'<ul class="notes">{notes}</ul>' if notes else ""
    said = "".join(f"<p>{text(each)}</p>" for each in paragraphs(study.summary))
    return f'<div class="finding">{said}</div>{listed}'


def _place(name: str, caption: str) -> str:
    return f'<p class="lead">{text(caption)}</p><div data-place="{name}"></div>'


def _comparison(study: Study) -> str:
    asserted = study.summary.asserted()
    reported = [check for check in study.summary.checks if check.kind == "reported"]
    html = '<div data-place="comparison"></div>'
    if asserted:
        html += "<h3>Where they must agree exactly</h3>"
        heads = ("Law", "Direction", "Largest difference", "Allowed", "Holds")
        html += table("laws", heads, map(_law, asserted))
    if reported:
        html += "<h3>Worth knowing, not asserted</h3>"
        html += table("relations", ("Relation", "Direction", "Value"), map(_relation, reported))
    return html


def _law(check: Check) -> list[tuple[str, object]]:
    holds = check.holds
    explained = check.explanation.replace("answer_logprob_diff", "the answer’s log-probability difference, in nats")
    return [
        (text(explained), check.name),
        (text(check.direction or "all"), check.direction or "all"),
        (power(check.value), check.value),
        (power(check.tolerance), check.tolerance),
        (f'<span class="{"good" if holds else "bad"}">{"✓ yes" if holds else "✗ no"}</span>', int(bool(holds))),
    ]


def _relation(check: Check) -> list[tuple[str, object]]:
    value = check.value
    shown = "undefined" if value is None else f"{value:.2f}".replace("-", "−")
    return [
        (text(_renamed(check.explanation)), check.name),
        (text(check.direction or "all"), check.direction or "all"),
        (text(shown), value),
    ]


def _renamed(explanation: str) -> str:
    """Experiments by the names that the figures use."""
    head, sign, tail = explanation.partition(" by layer of ")
    if not sign:
        return explanation
    names = [kind_of(name).label.lower() for name in tail.removesuffix(".").split(" and ")]
    return f"{head}{sign}{' and '.join(names)}."


def _method(study: Study) -> str:
    seed = study.summary.seed
    said = (
        "Recovery is the share of the gap between the unpatched corrupted and clean run, in log p(clean answer) − "
        "log p(corrupted answer), that a write closes: 0 none, 1 all. Destruction is its mirror when corrupted vectors "
        "are written into the clean run.",
        f"Means are over pairs; intervals are {LEVEL:.0%} bias-corrected and accelerated bootstrap intervals over "
        f"pairs (seed {seed}). Bold numbers in maps: the interval excludes 0.",
        "q is the false discovery rate (Benjamini–Hochberg) of a two-sided sign-flip test that the answer’s "
        "log-probability difference changed at all, among the cells of the map in which it is shown; cells that are "
        "zero by construction are no tests.",
        "Where pairs are split by a field, the page computes means, intervals and q anew for each part, by the same "
        "definitions with its own random numbers; values of single pairs are carried to 1 part in 65,000 of their "
        "range. The exact rows are in effects.parquet.",
        *(f"{name}: {what}." for name, what in DIRECTIONS.items()),
    )
    items = "".join(f"<li>{text(each)}</li>" for each in said)
    return f"<ul class='notes'>{items}</ul>{_dropped(study)}{_runs(study)}"


def _dropped(study: Study) -> str:
    dropped = study.screening.get("dropped", [])
    if not dropped:
        return ""
    rows = [
        [
            (foreign(each["pair_id"]), each["pair_id"]),
            (text(str(each["reason"]).replace("_", " ")), each["reason"]),
            (foreign(details := _details(each)), details),
        ]
        for each in dropped
    ]
    return f"<h3>Pairs dropped before the run</h3>{table('dropped', ('Pair', 'Reason', 'Detail'), rows)}"


def _details(dropped: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in dropped.items() if key not in ("pair_id", "reason"))


def _runs(study: Study) -> str:
    rows: Iterable[Sequence[tuple[str, object]]] = [
        [
            (foreign(run.name), run.name),
            *((text(value), value) for value in (_experiments(run), run.spec.get("created", ""), _versions(run))),
            (f"<code>{foreign(command)}</code>", command),
        ]
        for run in study.runs
        for command in [" ".join(map(str, run.spec.get("command", [])))]
    ]
    return f"<h3>Runs</h3>{table('runs', ('Directory', 'Experiments', 'Created', 'Software', 'Command'), rows)}"


def _experiments(run: Any) -> str:
    return ", ".join(dict.fromkeys(group.experiment for group in run.groups))


def _versions(run: Any) -> str:
    return ", ".join(f"{name} {version}" for name, version in run.spec.get("versions", {}).items())
