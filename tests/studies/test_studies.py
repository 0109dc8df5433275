"""Published studies: each one's commands are commands, and each figure is read from the cells that it is about."""

import shlex
from dataclasses import replace
from typing import Any

import pytest
import typer

from mechpatch.cli import app
from mechpatch.cli.model import arguments_of
from mechpatch.errors import SpecError
from mechpatch.kinds import KINDS
from mechpatch.source import ModelSource
from mechpatch.stats.answers import AnswerCell
from mechpatch.stats.cell_values import Estimate, Share
from mechpatch.stats.lens import LensCell
from mechpatch.studies import Figure, Ours, studies
from mechpatch.studies.ours import Measured, chosen, read_at
from mechpatch.studies.study import study_of
from mechpatch.views.words.studies import figure_json, figure_told, listed_studies, study_told

NOTHING: Any = Estimate(mean=None, low=None, high=None, n=0, method="none")
COMMANDS: Any = typer.main.get_command(app)


def share(count: int, n: int = 20) -> Share:
    part = count / n if n else None
    return Share(count=count, n=n, share=part, low=part, high=part, beyond={}, beyond_every=None)


def cell(site: str, kept: int, n: int = 20, **place: Any) -> AnswerCell:
    given: dict[str, Any] = {
        "experiment": "necessity",
        "direction": "denoise",
        "donor": "zero",
        "hook": "resid_post",
        "head": None,
    }
    given |= {"layer": 0, "width": 1, "step": 0, "structural": False, "site": site, **place}
    shares = dict.fromkeys(("switched", "neither", "followed"), share(3))
    given |= shares | dict.fromkeys(("expected_logprob_change", "answer_logprob_change"), NOTHING)
    return AnswerCell(**given, kept=share(kept, n))


@pytest.mark.parametrize("study", studies().values(), ids=lambda study: study.name)
def test_every_command_is_one_and_every_figure_has_its_step(study):
    steps = {step.name: step for step in study.steps}
    assert study.source
    assert study.needs
    ModelSource(base="demo", **study.settings)
    for step in study.steps:
        command, *arguments = shlex.split(step.command)
        known = {name for each in COMMANDS.commands[command].params for name in each.opts}
        assert {each for each in arguments if each.startswith("--")} <= known
        assert step.makes in (None, "pairs")
    for figure in study.figures:
        step = steps[figure.ours.step]
        asked = figure.ours.experiment
        reading = figure.ours.reading
        assert asked is None or (asked in KINDS and asked in step.command.split())
        assert step.command.split()[0] == ("run" if asked or reading else "accuracy")
        assert reading is None or f"read {reading} {{out}}/{step.name}" in [each.command for each in study.steps]
        assert f"{{out}}/{step.name}" in step.command
        assert (
            figure.value is None
            or str(figure.value).removesuffix(".0") in figure.published
            or "all" in figure.published
        )


def test_a_figure_is_of_the_cell_that_it_names():
    cells = [cell("all", 4), cell("all", 9, donor="gaussian"), cell("t0", 7), cell("all", 2, experiment="count")]
    ours = Ours(step="run", experiment="necessity", share="kept", site="all", donor="zero")
    assert chosen(ours, cells) == Measured(share=share(4))
    assert chosen(replace(ours, donor="gaussian"), cells) == Measured(share=share(9))
    assert chosen(replace(ours, site="t1"), cells) == Measured(share=None, where="no such cell in the run")
    assert chosen(ours, [cell("all", 0, 0)]) == Measured(share=None, where="no pair that counts")
    with pytest.raises(SpecError, match="2 cells of the run fit"):
        chosen(ours, [cell("all", 4), cell("all", 5, layer=1)])


def test_a_lens_is_told_by_its_best_place_and_named():
    def hit(target: str, site: str, count: int, layer: int = 0) -> LensCell:
        place: dict[str, Any] = {"side": "clean", "target": target, "hook": "thought", "layer": layer, "site": site}
        return LensCell(**place, hits=share(count), median_rank=1.0)

    cells = [hit("step1", "t0", 12), hit("step1", "t1", 3), hit("step2", "t1", 7), hit("clean", "t1", 19)]
    cells.append(hit("step1", "bot", 20))
    ours = Ours(step="run", reading="lens", target="step1", sites="thoughts", over="largest")
    assert read_at(ours, cells) == Measured(share=share(12), where="step1, thought, layer 0, t0, of 2 cells")
    assert read_at(replace(ours, sites=None), cells).share == share(20)
    assert read_at(replace(ours, target=None, site="t1"), cells).share == share(7)  # an answer is no step
    assert read_at(replace(ours, target="step3"), cells) == Measured(share=None, where="no such cell in the run")


@pytest.mark.parametrize(("over", "count", "layer"), [("largest", 9, 1), ("smallest", 2, 2)])
def test_a_cell_that_was_chosen_is_named(over, count, layer):
    cells = [cell("all", 4), cell("all", 9, layer=1), cell("all", 2, layer=2), cell("all", 0, 0, layer=3)]
    ours = Ours(step="run", experiment="necessity", share="kept", site="all", over=over)
    assert chosen(ours, cells) == Measured(share=share(count), where=f"layer {layer}, all thoughts, of 3 cells")


def test_zeros_by_construction_are_counted_after_the_first_step():
    cells = [cell("t0", 1, experiment="relay")]
    cells += [cell(f"t{step}", 1, experiment="relay", step=step, structural=step < 3) for step in (1, 2, 3, 4)]
    found = chosen(Ours(step="run", experiment="relay", share="structural"), cells).share
    assert found is not None
    assert (found.count, found.n) == (2, 4)


def test_landmarks_are_no_thoughts():
    cells = [
        cell("bot", 9, experiment="early"),
        cell("t0", 5, experiment="early"),
        cell("answer", 8, experiment="early"),
    ]
    ours = Ours(step="run", experiment="early", over="largest")
    assert chosen(ours, cells).share == share(9)
    assert chosen(replace(ours, sites="thoughts"), cells).share == share(5)


def test_figures_are_told_with_their_interval_and_without_pairs_with_a_dash():
    figure = Figure(what="still right", published="4 %", value=4.0, ours=Ours(step="run"))
    interval = replace(share(1), low=0.001, high=0.249)
    told = figure_told(figure, Measured(share=interval, where="layer 1, of 4 cells"))
    assert told == {
        "figure": "still right",
        "published": "4 %",
        "ours": "5.0 % (1 of 20; 0.1 % to 24.9 %; layer 1, of 4 cells)",
    }
    assert (
        figure_told(figure, Measured(share=None, where="no such cell in the run"))["ours"]
        == "– (no such cell in the run)"
    )
    assert figure_told(figure, Measured(share=share(0, 0)))["ours"] == "– (no pairs)"
    values = figure_json(figure, Measured(share=interval))
    assert values["published_percent"] == 4.0
    assert values["ours"] == {"share": 0.05, "low": 0.001, "high": 0.249, "count": 1, "n": 20}


def test_a_study_is_told_whole_and_needs_what_it_reads():
    study = study_of("swap-codi-1b")
    told = "\n".join(study_told(study, [step.command for step in study.steps]))
    for said in (
        study.title,
        study.source,
        "--codi  bcywinski/codi_llama1b-answer_only",
        "--latents 6, --lora-alpha 32",
    ):
        assert said in told
    assert "mechpatch run swap {model} --pairs {pairs} --hooks thought --out {out}/run" in told
    assert listed_studies([study]) == [f"{study.name}  {study.title}"]
    assert [step.name for step in study.steps_for({"questions": "q"})] == ["pairs", "run"]
    assert [step.name for step in study.steps_for({"pairs": "p"})] == ["run"]  # pairs that are given are not made
    with pytest.raises(SpecError, match=r"needs --questions \(GSM8K, or questions of several steps"):
        study.steps_for({})
    with pytest.raises(SpecError, match=r"there is nothing to run\. No recipe"):
        study_of("low-rank-directions").steps_for({"pairs": "p"})
    with pytest.raises(SpecError, match="did you mean swap-codi-1b"):
        study_of("swap-codi")


def test_a_model_is_named_as_a_person_would():
    source = ModelSource(
        base="llama",
        codi="codi dir",
        lora_alpha=32.0,
        n_latents=6,
        bos=False,
        special_ids=(7, 8, 9),
        ignore_keys=("a.", "b."),
    )
    assert arguments_of(source) == [
        *("--model", "llama", "--codi", "codi dir", "--lora-alpha", "32.0", "--latents", "6", "--special-ids", "7,8,9"),
        *("--no-bos", "--ignore-keys", "a.", "--ignore-keys", "b."),
    ]  # fmt: skip
