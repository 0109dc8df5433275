"""The steps for the day a GPU is at hand: what fails, hangs or finds no time is shown, and the rest goes on."""

import json
import sys
from pathlib import Path
from typing import Any

import gpu_check
import pytest
from gpu_check import Step, run_all, steps, table
from typer.main import get_command

from mechpatch.cli import app


def python(name: str, code: str, **given: Any) -> Step:
    return Step(name=name, command=[sys.executable, "-c", code], **{"seconds": 60.0, **given})


def test_each_step_is_shown_with_what_became_of_it(tmp_path: Path):
    todo = [
        python("fine", "print(1.25)", figures=lambda printed: {"figure": float(printed)}),
        python("broken", "import sys; print('half'); sys.exit('no GPU here')"),
        Step(name="hanging", command=["sh", "-c", "echo begun; exec sleep 60"], seconds=2.0),
        python("unread", "print('nothing')", figures=json.loads),
    ]
    done = run_all(todo, 1.0, tmp_path / "out.json")
    assert [each.became for each in done[:3]] == ["ok", "failed: exit code 1", "stopped after 2 s"]
    assert done[3].became.startswith("unread: JSONDecodeError")
    assert done[2].seconds < 30
    first, *others = table(done)
    assert "figure 1.25" in first
    told = "\n".join(others)
    assert all(said in told for said in ("no GPU here", "begun", "nothing"))
    kept = json.loads((tmp_path / "out.json").read_text())["steps"]
    assert [each["name"] for each in kept] == ["fine", "broken", "hanging", "unread"]
    assert kept[0]["figures"] == {"figure": 1.25}
    (late,) = run_all(todo[:1], 0.0, tmp_path / "out.json")
    assert late.became == "no time was left"


@pytest.mark.parametrize("became", ["ok", "failed: exit code 1"])
def test_the_exit_code_says_whether_all_steps_were_fine(tmp_path, monkeypatch, capsys, became):
    code = "pass" if became == "ok" else "raise SystemExit(1)"
    monkeypatch.setattr(gpu_check, "steps", lambda device, folder, small: [python("one", code)])
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--out", str(tmp_path / "out.json")])
    if became == "ok":
        gpu_check.main()
    else:
        with pytest.raises(SystemExit, match="1"):
            gpu_check.main()
    assert became in capsys.readouterr().out


def test_the_steps_are_commands_that_there_are(tmp_path: Path):
    group: Any = get_command(app)
    commands = group.commands
    for small in (False, True):
        for step in steps("cuda", tmp_path, small):
            if "mechpatch" in step.command:
                name, *given = step.command[step.command.index("mechpatch") + 1 :]
                known = {option for each in commands[name].params for option in each.opts}
                assert {each for each in given if each.startswith("--")} <= known
            elif step.command[1].endswith(".py"):
                assert Path(__file__).parents[1].joinpath(step.command[1]).is_file()
