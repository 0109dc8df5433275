"""What the README shows is run: its script, and every command and option that it names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_script_patches_one_position():
    (script,) = SCRIPTS
    assert len(script.strip().splitlines()) <= 15
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    (promised,) = re.findall(r"# (\d+(?:, \d+)+)$", script.strip())
    assert [line.split(": ")[1] for line in found.stdout.splitlines()] == promised.split(", ")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^mechpatch ([\w-]+)", README, flags=re.MULTILINE))))
def test_commands_exist_with_the_options_shown(command):
    found = subprocess.run(
        [sys.executable, "-m", "mechpatch", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
    )
    lines = README.replace("\\\n", " ")
    for usage in re.findall(rf"^mechpatch {command} [^#\n]*", lines, flags=re.MULTILINE):
        for option in re.findall(r"--[a-z-]+", usage):
            assert option in found.stdout, f"{option} is not an option of {command}"


def test_files_that_it_names_exist():
    root = Path(__file__).parent.parent
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (root / target).is_file(), target
