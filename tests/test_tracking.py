import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from records import planted

import mechpatch
from mechpatch.errors import MechpatchError
from mechpatch.stats import summarise
from mechpatch.tracking import Mode, Observer, null_observer, wandb_observer
from mechpatch.workflow import headline

CHILD = """
import sys, time
from pathlib import Path
import PIL.Image
from mechpatch.tracking import wandb_observer
folder = Path(sys.argv[1])
image = folder / "layers.png"
PIL.Image.new("RGB", (2, 2)).save(image)
observer = wandb_observer("a-project", "a-run", {"layers": (0, 1), "folder": str(folder)}, folder)
observer.pair_done({"pair": "p0", "recovery": 0.25, "undefined": None})
page = folder / "report.html"
page.write_text("<!DOCTYPE html><title>a-page</title>")
observer.summary({"mean_recovery": 0.125}, [image], page)
time.sleep(1)
observer.finish()
"""


def environment(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    asked = {"WANDB_SAVE_CODE": "true", "WANDB_X_STATS_SAMPLING_INTERVAL": "0.1"}
    return kept | asked | {"HOME": str(home), "PYTHONPATH": str(Path(mechpatch.__file__ or "").parents[1])}


@pytest.fixture
def offline(tmp_path: Path) -> Path:
    """Folder of a run that a fresh process tracked with the defaults; its network calls are in `trace` if it can be."""
    pytest.importorskip("wandb")
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    (tmp_path / "run").mkdir()
    (tmp_path / "private-script.py").write_text(CHILD)
    for command in (["init", "-q"], ["remote", "add", "origin", "https://example.com/private-remote.git"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    strace = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(tmp_path / "trace")]
    allowed = shutil.which("strace") and subprocess.run([*strace, "true"], capture_output=True).returncode == 0
    traced = strace if allowed else []  # a container may have it and forbid it
    child = subprocess.run(
        [*traced, sys.executable, "private-script.py", str(tmp_path / "run")],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (child.returncode, child.stderr) == (0, "")
    return tmp_path / "run"


def test_an_offline_run_is_kept_in_the_folder_and_reaches_no_network(offline: Path):
    (run,) = (offline / "wandb").glob("offline-run-*")
    (record,) = run.glob("*.wandb")
    content = record.read_bytes()
    for told in (b"a-project", b"a-run", b"recovery", b"0.25", b"mean_recovery", b"0.125", b"layers"):
        assert told in content, told
    assert len(list(run.rglob("layers*.png"))) == 1
    (page,) = run.rglob("report*.html")
    assert page.read_text() == "<!DOCTYPE html><title>a-page</title>"
    for private in (b"private-remote", b"private-script", b"system.cpu", b"memory"):
        assert private not in content, private
    assert not list(run.rglob("private-script.py"))
    if (trace := offline.parent / "trace").exists():
        calls = trace.read_text()
        assert "AF_UNIX" in calls  # or the trace saw nothing
        assert "AF_INET" not in calls


def refuse(*args: object, **kwargs: object) -> None:
    raise OSError("no route to host")


class Run:
    """Stands in for a wandb run whose `log` fails from the second call on."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def log(self, row: dict[str, object]) -> None:
        self.calls.append("log")
        if len(self.calls) > 1:
            refuse()

    def finish(self) -> None:
        self.calls.append("finish")


def test_the_first_failure_is_one_warning_and_the_observer_goes_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    wandb = pytest.importorskip("wandb")
    run = Run()
    monkeypatch.setattr(wandb, "init", lambda **settings: run)
    observer = wandb_observer("p", "n", {}, tmp_path)
    for _ in range(3):
        observer.pair_done({"x": 1})
    observer.summary({}, [])
    observer.finish()
    assert run.calls == ["log", "log"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "wandb failed and the run goes on without it: OSError: no route to host" in record.message


def test_a_failure_to_start_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(pytest.importorskip("wandb"), "init", refuse)
    tell_everything(wandb_observer("p", "n", {}, tmp_path))
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("variable", "argument", "expected"),
    [
        (None, None, "offline"),
        ("online", None, "online"),
        ("disabled", None, "disabled"),
        (None, "online", "online"),
        ("online", "offline", "offline"),
    ],
)
def test_the_network_is_used_only_when_asked_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, argument: Mode | None, expected: str
):
    seen = {}
    monkeypatch.setattr(pytest.importorskip("wandb"), "init", lambda **settings: seen.update(settings))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    wandb_observer("p", "n", {}, tmp_path, mode=argument)
    assert seen["mode"] == expected


def test_wandb_that_is_not_installed_is_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MechpatchError, match=r"pip install 'mechpatch\[wandb\]'"):
        wandb_observer("p", "n", {}, tmp_path)


def tell_everything(observer: Observer) -> None:
    observer.pair_done({"x": 1})
    observer.summary({"x": 1}, [Path("absent.png")])
    observer.summary({"x": 1}, [], Path("absent.html"))
    observer.finish()


def test_the_null_observer_does_nothing(caplog: pytest.LogCaptureFixture):
    tell_everything(null_observer())
    assert not caplog.records


def test_the_headline_names_the_cell_that_moved():
    """With corrupted vectors in the clean run, recovery is 1 where nothing moved."""
    still, moved = ("position", "noise", "paired", 1, "t0"), ("position", "noise", "paired", 2, "t1")
    found = headline(summarise(planted({still: [0.0] * 8, moved: [0.8] * 8}), seed=0))
    named = {name: found[f"noise_{name}"] for name in ("layer", "site", "effect", "recovery", "switched")}
    assert named == {
        "layer": 2,
        "site": "t1",
        "effect": pytest.approx(0.8),
        "recovery": pytest.approx(0.2),
        "switched": 1.0,
    }
