"""A study as the page shows it: what can be read without any script, and the places in which the script draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from mechpatch.catalogue import DIRECTIONS
from mechpatch.formats import percent, written
from mechpatch.kinds import kind_of
from mechpatch.reprs import short_repr
from mechpatch.stats.contrasts import LEVEL
from mechpatch.stats.finished import FinishedRun
from mechpatch.stats.summary_values import Check
from mechpatch.views.report import facts
from mechpatch.views.report.answers import AnswerTable, answer_tables
from mechpatch.views.report.methods import citation
from mechpatch.views.report.parts import Part, Row, entry
from mechpatch.views.report.readings import ReadingPart, reading_parts
from mechpatch.views.report.screens import ScreenPart, screen_parts
from mechpatch.views.report.studies import Study
from mechpatch.views.told import told
from mechpatch.views.words.answers import answers_told
from mechpatch.views.words.lines import lines
from mechpatch.views.words.reading import paragraphs

SECTIONS = (
    ("explorer", "Map"),
    ("difference", "Two runs compared"),
    ("answers", "Thoughts taken away, counted and swapped"),
    ("readings", "What can be read in the thoughts"),
    ("screens", "What the screen missed"),
    ("profile", "Layers"),
    ("chain", "Chains"),
    ("comparison", "Experiments compared"),
    ("pairs", "All pairs"),
    ("cells", "All cells"),
    ("sentences", "Experiment by experiment, in words"),
    ("laws", "Laws"),
    ("method", "How to read it"),
    ("run", "What was run"),
)
CAPTIONS = {
    "profile": "All thoughts of one layer written at once.",
    "chain": "A relay asks what one thought hands to the next through one layer alone; cumulative steps write all "
    "thoughts up to that one.",
    "comparison": "Do single thoughts add up to all at once, and does a chain end where it must?",
    "cells": "Every cell as in the figures above, of every experiment in this direction; click a heading to sort.",
    "pairs": "What each pair gives after the write at the chosen cell; click a pair to see it above.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPage:
    """What the template `study.html` shows of one study.

    Attributes:
        number: the place of the study among all; the first one is shown, the others wait behind their tabs.
        name: name of the study.
        mapped: whether an experiment was run that is drawn as maps, with cells and pairs to choose.
        told: what was done, what was found, what to distrust.
        facts: each fact with its name, in parts.
        sections: key and title of each section that has something to show.
        said: what each comparison with another run says, line by line.
        captions: what stands above the figures of a section, by key.
        answers, answers_told: tables and sentences of the experiments that ask for answers.
        paragraphs, notes: the finding in words, and what must be known before it is read.
        laws, relations: rows of the checks that must hold, and of those that need not.
        method: how to read all this, in sentences.
        dropped, runs: rows of the pairs that screening dropped, and of the runs.
        cite: BibTeX entries.
        readings: what was read in the thoughts, with maps beside the causal one.
        screens: what each screen chose and missed, with a picture.
    """

    number: int
    name: str
    mapped: bool
    told: Markup
    facts: list[tuple[str, list[Part]]]
    sections: list[tuple[str, str]]
    said: list[list[str]]
    captions: Mapping[str, str]
    answers: list[AnswerTable]
    answers_told: list[str]
    paragraphs: list[str]
    notes: Sequence[str]
    laws: list[Row]
    relations: list[Row]
    method: list[str]
    dropped: list[Row]
    runs: list[Row]
    cite: str
    readings: Sequence[ReadingPart] = ()
    screens: Sequence[ScreenPart] = ()

    __repr__ = short_repr


def study_page(study: Study, number: int, differences: Sequence[Mapping[str, Any]] = ()) -> StudyPage:
    """One study, from what was asked to how to read it.

    Args:
        differences: the comparisons of all studies, see `describe_differences`.
    """
    said = [each["said"] for each in differences if number in (each["a"], each["b"])]
    every = {group.experiment for run in study.runs for group in run.groups}
    kinds = {name for name in every if not kind_of(name).donors}
    drawings = {kind_of(name).drawing for name in kinds}
    answers, mapped = answer_tables(study.summary), bool(study.summary.cells)
    readings = reading_parts(study)
    shown = {
        "readings": bool(readings),
        "screens": bool(study.summary.screens),
        "answers": bool(answers),
        **dict.fromkeys(("explorer", "pairs", "cells", "sentences"), mapped),
        "difference": bool(said),
        "profile": "profile" in drawings,
        "chain": "chain" in drawings,
        "comparison": len(kinds) > 1,
        "laws": bool(study.summary.checks),
    }
    return StudyPage(
        number=number,
        name=study.name,
        mapped=mapped,
        told=told(lines(study.summary)),
        facts=facts.describe_study(study),
        sections=[(key, title) for key, title in SECTIONS if shown.get(key, True)],
        said=said,
        captions=CAPTIONS,
        answers=answers,
        answers_told=answers_told(study.summary.answers),
        paragraphs=paragraphs(study.summary),
        notes=study.summary.run.notes,
        laws=[_law(check) for check in study.summary.asserted()],
        relations=[_relation(check) for check in study.summary.checks if check.kind == "reported"],
        method=_method(study.summary.seed),
        dropped=[_dropped(each) for each in study.screening.get("dropped", [])],
        runs=[_run(run) for run in study.runs],
        cite=citation(study),
        readings=readings,
        screens=screen_parts(study.summary.screens),
    )


def _law(check: Check) -> Row:
    explained = check.explanation.replace("answer_logprob_diff", "the answer’s log-probability difference, in nats")
    return [
        Part(explained, value=check.name),
        entry(check.direction or "all"),
        entry(check.value, "power"),
        entry(check.tolerance, "power"),
        Part(check.holds, "verdict", int(bool(check.holds))),
    ]


def _relation(check: Check) -> Row:
    value = check.value
    return [
        Part(_renamed(check.explanation), value=check.name),
        entry(check.direction or "all"),
        Part("undefined" if value is None else written(value), value=value),
    ]


def _renamed(explanation: str) -> str:
    """Experiments by the names that the figures use."""
    head, sign, tail = explanation.partition(" by layer of ")
    if not sign:
        return explanation
    names = [kind_of(name).label.lower() for name in tail.removesuffix(".").split(" and ")]
    return f"{head}{sign}{' and '.join(names)}."


def _method(seed: int) -> list[str]:
    return [
        "A pair switches where greedy decoding gives the other side’s answer after the write; only pairs whose two "
        "answers differ and are both given by the unpatched model can. Intervals of shares are exact (Clopper and "
        "Pearson). A switch is clear, and bold, where at least six pairs can switch and more of them do than with "
        "every control, pair by pair: exact McNemar test, false discovery rate at most 5 % over the cells of the map.",
        "Recovery is the share of the gap between the unpatched corrupted and clean run, in log p(clean answer) − "
        "log p(corrupted answer), that a write closes: 0 none, 1 all. Destruction is its mirror when corrupted vectors "
        "are written into the clean run. Its mean cannot tell “half the pairs, wholly” from “all pairs, wrecked”.",
        f"Means are over pairs; intervals are {percent(LEVEL)} bias-corrected and accelerated bootstrap intervals "
        f"over pairs (seed {seed}). A mean is clear, and bold, on the same terms: six pairs have a value, its interval "
        "excludes 0, and it is more than with every control, pair by pair: sign-flip tests of the effect and of each "
        "difference, false discovery rate at most 5 % over the map.",
        "q is the false discovery rate (Benjamini–Hochberg) over the cells of a map; of a cell, that of the largest p "
        "against any control. Cells that are zero by construction are no tests.",
        "Hatched cells are zero by construction, whatever the model has learnt, and are no findings: what the last "
        "layer gives at a position is read by that position’s own prediction alone; and without feedback, a write at "
        "one thought cannot reach the same layer at the next.",
        "Where pairs are split by a field, each part has its own statistics, by the same definitions. Values of single "
        "pairs are carried to 1 part in 65,000 of their range; the exact rows are in effects.parquet.",
        *(f"{name}: {what}." for name, what in DIRECTIONS.items()),
    ]


def _dropped(pair: Mapping[str, Any]) -> Row:
    details = ", ".join(f"{key} {value}" for key, value in pair.items() if key not in ("pair_id", "reason"))
    reason = Part(str(pair["reason"]).replace("_", " "), value=pair["reason"])
    return [entry(pair["pair_id"], "foreign"), reason, entry(details, "foreign")]


def _run(run: FinishedRun) -> Row:
    versions = ", ".join(f"{name} {version}" for name, version in run.spec.get("versions", {}).items())
    return [
        entry(run.name, "foreign"),
        entry(", ".join(dict.fromkeys(group.experiment for group in run.groups))),
        entry(run.spec.get("created", "")),
        entry(versions),
        entry(" ".join(map(str, run.spec.get("command", []))), "foreign code"),
    ]
