"""What a published study is: its source, what it needs, the commands that measure the same, and its figures.

The studies themselves are data: `mechpatch/data/studies.toml`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from mechpatch.data import HERE
from mechpatch.errors import SpecError
from mechpatch.names import not_known

FILE = HERE / "studies.toml"
GIVEN = ("questions", "pairs")  # files that a reader gives


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Where our figure stands in what a step has left.

    Attributes:
        step: the step by its name; without an experiment and a reading it counts right answers.
        reading: a lens that was given to the run of the step; its share is that of the pairs whose target is hit.
        target: of a lens; None for the values of all steps.
        share: of `AnswerCell` or `CellSummary`; `structural` is the share of cells after the first step of a relay that
            cannot move.
        site, donor: which cells; None for every one. `sites` is `thoughts` to leave the landmarks out.
        over: which of several cells is told; one that was chosen is named with the figure.
    """

    step: str
    experiment: str | None = None
    reading: Literal["lens"] | None = None
    target: str | None = None
    share: Literal["kept", "switched", "neither", "followed", "structural"] = "kept"
    site: str | None = None
    donor: str | None = None
    sites: Literal["thoughts"] | None = None
    over: Literal["only", "largest", "smallest"] = "only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A published figure, in the words of its source, and where ours is.

    Attributes:
        value: the same in per cent; None where no number was published.
    """

    what: str
    published: str
    ours: Ours
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command of mechpatch, with {model}, {questions}, {pairs} and {out} in it.

    Attributes:
        makes: the file that it makes; the step is left out where that one is given.
    """

    name: str
    command: str
    makes: Literal["pairs"] | None = None

    def needs(self, name: str) -> bool:
        """Whether it reads a file that is given."""
        return f"{{{name}}}" in self.command and self.makes != name


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A published study.

    Attributes:
        needs: option or file, and what was used for it there; checkpoints by their hub names.
        settings: fields of `ModelSource` with which its model is loaded, unless they are given.
        note: what a reader must know to compare the figures.
    """

    name: str
    title: str
    source: str
    needs: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    steps: tuple[Step, ...] = ()
    figures: tuple[Figure, ...] = ()

    def steps_for(self, given: Mapping[str, Any]) -> list[Step]:
        """The steps to run where some files are given by name. Raises `SpecError`: one that is needed is missing."""
        if not self.steps:
            raise SpecError(f"{self.name}: there is nothing to run. {self.note}")
        steps = [step for step in self.steps if step.makes is None or not given.get(step.makes)]
        made = {step.makes for step in steps}
        missing = [
            name for name in GIVEN if name not in made and not given.get(name) and any(s.needs(name) for s in steps)
        ]
        if missing:
            wanted = ", ".join(f"--{name} ({self.needs.get(name, 'see --list')})" for name in missing)
            raise SpecError(f"{self.name}: needs {wanted}")
        return steps


@cache
def studies() -> Mapping[str, Study]:
    """Every study by its name, in the order of the file."""
    rows = tomllib.loads(FILE.read_text(encoding="utf-8"))["study"]
    return {row["name"]: _study(row) for row in rows}


def study_of(name: str) -> Study:
    """A study by its name. Raises `SpecError`: there is none."""
    if name not in studies():
        raise SpecError(not_known("reproduce", [name], [*studies()]))
    return studies()[name]


def _study(row: Mapping[str, Any]) -> Study:
    steps = tuple(Step(**step) for step in row.get("step", ()))
    figures = tuple(Figure(**{**each, "ours": Ours(**each["ours"])}) for each in row.get("figure", ()))
    return Study(
        **{name: value for name, value in row.items() if name not in ("step", "figure")}, steps=steps, figures=figures
    )
