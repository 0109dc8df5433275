"""What README and guide show is run: their scripts, and every command and option that they name."""

import re
import shlex
from pathlib import Path

import pytest
from commands import mechpatch
from typer.main import get_command

import mechpatch as mp
from mechpatch.cli.app import app
from mechpatch.errors import SpecError
from mechpatch.guide import TOPICS, page
from mechpatch.points import POINTS

ROOT = Path(__file__).parent.parent
PAGES = {
    path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "mechpatch/guide").glob("*.md"))
}
EVERYTHING = "\n".join(PAGES.values())


def scripts(name: str) -> list[str]:
    (page,) = (text for path, text in PAGES.items() if path.name == name)
    return re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)


def test_the_first_example_of_the_readme_begins_by_line_15_and_runs(tmp_path, monkeypatch, demo_model, shipped_pairs):
    readme = PAGES[ROOT / "README.md"]
    assert readme[: readme.index("```python")].count("\n") < 15
    assert readme.count("\n") < 120
    (script,) = scripts("README.md")
    run(script, tmp_path, monkeypatch, demo_model, shipped_pairs)
    assert {path.name for path in tmp_path.iterdir()} == {"map.png", "report.html"}


@pytest.mark.parametrize("name", ["first-map.md", "your-experiment.md", "hooks.md", "hook-points.md"])
def test_the_scripts_of_the_guide_run(name, tmp_path, monkeypatch, demo_model, shipped_pairs, capsys):
    script = scripts(name)[-1]
    assert len(script.splitlines()) <= 40
    run(script, tmp_path, monkeypatch, demo_model, shipped_pairs)
    said = capsys.readouterr().out
    assert said
    for printed, promised in re.findall(r'print\("([^"]+)".*# (\d+)$', script, flags=re.MULTILINE):
        assert f"{printed} {promised}" in said


def run(script: str, folder: Path, monkeypatch, demo_model, shipped_pairs) -> None:
    """As a user would, in an empty folder, on four of the pairs."""
    monkeypatch.setattr(mp, "load_model", lambda name: demo_model)
    monkeypatch.setattr(mp, "load_pairs", lambda name: shipped_pairs[:4])
    monkeypatch.chdir(folder)
    exec(compile(script, "script", "exec"), {"__name__": "__main__"})


def test_the_script_patches_one_position(capsys):
    script, _ = scripts("hooks.md")
    assert len(script.strip().splitlines()) <= 15
    exec(compile(script, "script", "exec"), {"__name__": "__main__"})
    (promised,) = re.findall(r"# (\d+(?:, \d+)+)$", script.strip())
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()] == promised.split(", ")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^mechpatch ([\w-]+)", EVERYTHING, flags=re.MULTILINE))))
def test_commands_exist_with_the_options_shown(command):
    found = mechpatch(command, "--help")
    assert found.returncode == 0
    lines = EVERYTHING.replace("\\\n", " ")
    for usage in re.findall(rf"^mechpatch {command} [^#\n]*", lines, flags=re.MULTILINE):
        for option in re.findall(r"--[a-z-]+", usage):
            assert option in found.stdout, f"{option} is not an option of {command}"


USAGES = sorted({*re.findall(r"^(?: {4})?mechpatch ([^#\n]*)", EVERYTHING.replace("\\\n", " "), flags=re.MULTILINE)})


def test_commands_that_are_shown_can_be_typed():
    """Nothing that a command requires is missing, such as --out, and no value is of the wrong kind."""
    commands = vars(get_command(app))["commands"]
    assert len(USAGES) > 30
    for usage in USAGES:
        name, *given = shlex.split(usage.replace("…", ""))
        commands[name].make_context(name, given).close()
    with pytest.raises(Exception, match="Missing parameter: out"):
        commands["run"].make_context("run", ["position"])


def test_files_that_pages_name_exist():
    for path, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (path.parent / target).is_file(), (path, target)


def test_the_guide_has_every_hook_point():
    table = re.findall(r"^\| (`.*?) \|", page("hooks"), flags=re.MULTILINE)
    assert [name for row in table[1:] for name in re.findall(r"`(\w+)`", row)] == [*POINTS]


def test_the_guide_prints_its_pages():
    assert {path.stem for path in PAGES} == {"README", *TOPICS}
    assert all(page(topic) == PAGES[ROOT / f"mechpatch/guide/{topic}.md"] for topic in TOPICS)
    with pytest.raises(SpecError, match="'hook' is not known; did you mean hooks"):
        page("hook")
    said = mechpatch("guide")
    assert all(topic in said.stdout for topic in TOPICS)
