"""The command line as a person meets it: what it prints, what it refuses, and that nothing is left half-written."""

import json
import os
import resource
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from commands import mechpatch
from typer.testing import CliRunner

from mechpatch import cli
from mechpatch.data import DEMO_FOLDER, pair_path
from mechpatch.storage.results import read_effects
from mechpatch.storage.sealed import read_sealed, write_sealed

COMMANDS = typer.main.get_group(cli.app).commands
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def process(*arguments, **env) -> subprocess.CompletedProcess:
    """A command in a process of its own, where that matters."""
    command = [sys.executable, "-m", "mechpatch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT | env, check=False)


def test_help_answers_at_once():
    """In time of the processor, so that what else the machine does is not counted: 0.6 seconds of a usual one."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert process("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 1.5  # with torch it would be three


def test_pairs_as_json_prints_one_object_and_nothing_else(tmp_path):
    found = mechpatch("pairs", "demo", "--json", "--out", tmp_path / "screened.json")
    described = json.loads(found.stdout)
    assert described["total"] == described["kept"] + len(described["dropped"]) == 72
    assert set(described["answer_difference"]) == {"min", "mean", "max"}
    assert set(described["answer_tokens"]) == {"1", "2"}
    again = json.loads(mechpatch("pairs", tmp_path / "screened.json", "--json").stdout)
    assert again["kept"] == described["kept"]
    assert again["answer_tokens"] is None  # no model was named


def test_pairs_lists_what_was_dropped_and_why(tmp_path):
    pairs = json.loads(pair_path("demo").read_text())[:3]
    pairs[1]["corrupted"]["answer"] = pairs[1]["clean"]["answer"]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    found = mechpatch("pairs", tmp_path / "pairs.json")
    assert "2 of 3 pairs kept" in found.stdout
    assert f"dropped demo-001: same_answer (clean_answer {pairs[1]['clean']['answer']}" in found.stdout
    (tmp_path / "all.json").write_text(json.dumps(pairs[1:2]))
    none = mechpatch("pairs", tmp_path / "all.json")
    assert none.returncode == 0, none.stderr
    assert "0 of 1 pairs kept" in none.stdout
    assert "warning" not in found.stderr
    pairs[0]["clean"]["question"] += " "
    pairs[2]["corrupted"]["question"] = "  " + pairs[2]["corrupted"]["question"]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    kept = mechpatch("pairs", tmp_path / "pairs.json", "--keep-same-answer")
    assert "warning: 2 of 6 questions have two blanks in a row" in kept.stderr
    assert "flagged demo-000: odd_blanks" in kept.stdout
    assert "3 of 3 pairs kept" in kept.stdout
    assert "flagged demo-001: same_answer" in kept.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    folder = tmp_path_factory.mktemp("cli")
    command = ("run", "position", "--limit", 8, "--nulls", "self", "--cache", folder / "cache")
    found = mechpatch(*command, "--out", folder / "run")
    assert found.returncode == 0, found.stderr
    return folder / "run", found


def test_run_leaves_what_it_promises(finished):
    folder, found = finished
    names = {path.name for path in folder.iterdir()}
    assert names >= {"spec.json", "effects.parquet", "summary.json", "run.log", "pairs.json", "figures", "shards"}
    spec = json.loads((folder / "spec.json").read_text())
    assert spec["model"]["fingerprint"] in found.stderr
    assert spec["spec"]["seed"] == 0
    assert spec["versions"]["torch"]
    assert spec["command"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["run"]["peak_memory_bytes"] > 1e8
    assert all(check["holds"] is not False for check in summary["checks"])
    lines = found.stdout.splitlines()
    assert len(lines) <= 24
    assert lines[0].endswith("8 run, 8 answered right on both sides.")
    assert all(any(line.startswith(f"{head}: ") for line in lines) for head in ("Did", "Found", "Distrust"))
    assert any(line.startswith("position:") for line in lines)
    assert "No control was run" in found.stdout
    assert f"figures in {folder / 'figures'}" in found.stdout
    assert read_effects(folder).num_rows == 8 * 4 * 8 * 2
    log = (folder / "run.log").read_text()
    assert log.count("pair_id=") == log.count("cell=position:") == log.count("switched=") == log.count("seconds=") == 8


def test_a_run_as_json(finished):
    folder, _ = finished
    command = ("run", "position", "--limit", 8, "--nulls", "self", "--out", folder, "--cache", folder / "none")
    found = mechpatch(*command, "--json", "--report")
    described = json.loads(found.stdout)
    assert described["run"] == str(folder)
    assert described["report"] == str(folder / "report.html")
    assert described["counts"] == json.loads((folder / "summary.json").read_text())["counts"]
    assert described["checks_failed"] == []
    assert "8 of 72 are asked for" in found.stderr


def test_a_plan_is_held_to_its_run(tmp_path):
    command = ("layer", "--limit", 2, "--layers", "0,1", "--out", tmp_path / "run")
    planned = mechpatch("plan", *command)
    assert planned.returncode == 0, planned.stderr
    assert "2 pairs × 2 cells = 4 patched runs" in planned.stdout
    assert json.loads((tmp_path / "run" / "plan.json").read_text())["counts"]["records"] == 4
    ran = mechpatch("run", *command, "--cache", tmp_path / "cache")
    assert ran.returncode == 0, ran.stderr
    assert "were predicted from its plan" in ran.stdout
    other = mechpatch("run", *command[:-1], tmp_path / "other", "--batch-size", 1, "--cache", tmp_path / "cache")
    assert "were predicted" not in other.stdout  # nobody needs to know beforehand what a few seconds will be
    found = json.loads(mechpatch("plan", *command[:-2], "--json").stdout)
    assert found["seconds"] > 0


def test_the_same_command_again_finds_everything_done(finished):
    folder, _ = finished
    before = (folder / "effects.parquet").read_bytes()
    command = ("run", "position", "--limit", 8, "--nulls", "self", "--out", folder, "--cache", folder / "none")
    found = mechpatch(*command, "--quiet")
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{folder}\n", "")
    assert (folder / "effects.parquet").read_bytes() == before
    assert not (folder / "none").exists()


def test_another_run_is_refused_with_the_difference(finished):
    folder, _ = finished
    options = ("--seed", 1, "--answer-prefix", r"So:\n", "--dtype", "float64", "--max-memory", 9000)
    found = mechpatch("run", "position", "--limit", 8, "--out", folder, *options)
    assert found.returncode == 1
    assert found.stderr.splitlines()[1:5] == [
        "  --dtype: the run has float32, asked for float64",
        r'  --answer-prefix: the run has "The answer is:", asked for "So:\n"',
        "  --seed: the run has 0, asked for 1",
        "  --max-memory: the run has (not given), asked for 9000",
    ]
    assert found.stderr.startswith(f"error: {folder}: holds another run:\n")  # no word of a model: none was loaded


def test_plot_draws_into_another_folder(finished, tmp_path):
    found = mechpatch("plot", finished[0], "--out", tmp_path / "figures", every_format=True)
    assert found.returncode == 0
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".png", ".svg", ".pdf"}


def test_plot_draws_any_metric_and_names_those_it_knows(finished, tmp_path):
    found = mechpatch("plot", finished[0], "--out", tmp_path / "more", "--metric", "clean_score,bias")
    names = {path.stem for path in (tmp_path / "more").iterdir()}
    assert names == {f"position-denoise{end}" for end in ("", "-recovery", "-clean_score", "-bias")}, found.stderr
    refused = mechpatch("plot", finished[0], "--out", tmp_path / "none", "--metric", "recovery,beauty")
    assert refused.returncode == 1
    assert "--metric: 'beauty' is not known; expected effect" in refused.stderr
    assert not (tmp_path / "none").exists()


def test_wandb_offline(tmp_path):
    found = mechpatch(
        "run", "layer", "--limit", 2, "--out", tmp_path / "run", "--cache", tmp_path / "cache", "--wandb",
        env={"WANDB_MODE": "offline"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_compare_two_cells_and_two_runs(finished, tmp_path):
    folder, _ = finished
    cells = mechpatch("compare", folder, "--cells", "position:1:t2", "position:1:t3", "--out", tmp_path / "cells.json")
    assert "A position-wise patching, layer 1, t2: " in cells.stdout
    assert json.loads((tmp_path / "cells.json").read_text())["cells"][0]["difference"]["n"] == 8
    runs = mechpatch(
        "compare", folder, folder, "--control", "--metric", "kl_divergence", "--out", tmp_path / "runs.json"
    )
    assert runs.stdout.startswith("Found: A nowhere clearly exceeds its control B; the largest difference is 0 %")
    assert "0 of 30 cells clearly differ" in runs.stdout
    compared = json.loads((tmp_path / "runs.json").read_text())
    assert {cell["difference"]["mean"] for cell in compared["cells"]} == {0.0}


def test_compare_leaves_out_other_pairs_and_refuses_halves_of_a_question(finished, tmp_path, monkeypatch, capsys):
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "other")
    pairs = json.loads((tmp_path / "other" / "pairs.json").read_text())
    pairs["pairs"][2]["clean"]["question"] = "How many?"
    write_sealed(tmp_path / "other" / "pairs.json", pairs)
    found = mechpatch("compare", folder, tmp_path / "other", "--json")
    assert json.loads(found.stdout)["counts"] | {"used_a": 0, "used_b": 0} == {
        "pairs": 7, "only_in_a": 0, "only_in_b": 0, "unlike": 1, "used_a": 0, "used_b": 0,
    }  # fmt: skip
    said = mechpatch("compare", folder, tmp_path / "other").stdout
    assert "7 pairs in both" in said
    assert "Pairs left out: 1 with one id and other questions or answers." in said
    for arguments, message in (
        ([folder], "compare takes two runs, or one run and --cells"),
        ([folder, folder, "--cells", "position:1:t2", "position:1:t3"], "compare takes two runs, or one run"),
        ([folder, "--cells", "position:1:t2", "position:1:t3", "--control"], "--control: the control twin is a run"),
        ([folder, tmp_path], "holds no run (no spec.json); name the directory of a run"),
        ([folder, tmp_path / "none"], "none: no such directory; name the directory of a run"),
        ([folder, folder, "--metric", "recovry"], "--metric: 'recovry' is not known; did you mean recovery?"),
        ([folder, "--cells", "position:1:t2", "position:1:t77"], "has no cell position:1:t77"),
        ([folder, "--cells", "positon:1:t2", "position:1:t3"], "no cell positon:1:t2:paired; it has position\n"),
    ):
        monkeypatch.setattr(sys, "argv", ["mechpatch", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        assert exit_.value.code == 1
        assert message in capsys.readouterr().err


def test_a_run_of_another_format_is_neither_drawn_nor_compared(finished, tmp_path, monkeypatch, capsys):
    """What a column means may have changed since."""
    folder = tmp_path / "old"
    shutil.copytree(finished[0], folder)
    write_sealed(folder / "spec.json", {**read_sealed(folder / "spec.json", ""), "format": 4})
    for arguments in (["compare", folder, finished[0]], ["compare", finished[0], folder], ["plot", folder]):
        monkeypatch.setattr(sys, "argv", ["mechpatch", *map(str, arguments)])
        with pytest.raises(SystemExit):
            cli.main()
        assert "has format 4, and this version of mechpatch reads format" in capsys.readouterr().err


FAULTY = [
    {"pair_id": "a", "clean": {"question": "Q one?", "answer": None}, "corrupted": {"question": "Q two?", "answer": 3}},
    {"pair_id": "b", "clean": {"question": "", "answer": 3}, "corrupted": {"question": "Q four?", "answer": ["many"]}},
]


def test_a_pair_file_with_three_faults_names_all_three(tmp_path):
    (tmp_path / "pairs.json").write_text(json.dumps(FAULTY))
    for command in (("pairs", tmp_path / "pairs.json"), ("run", "layer", "--pairs", tmp_path / "pairs.json")):
        found = mechpatch(*command, *(("--out", tmp_path / "run") if command[0] == "run" else ()))
        assert found.returncode == 1
        assert "Traceback" not in found.stderr
        assert all(word in found.stderr for word in ("clean.answer", "clean.question", "corrupted.answer", "a list"))
        assert not (tmp_path / "run").exists()


BASE, CODI = str(DEMO_FOLDER / "base"), str(DEMO_FOLDER / "codi")
MISTAKES = {
    "no such adapter": (["--model", BASE, "--adapter", "nowhere"], "nowhere: no such directory"),
    "no such model": (["--model", "./nowhere"], "nowhere: no such directory"),
    "no such codi": (["--model", BASE, "--codi", "nowhere"], "nowhere: no such file"),
    "a CODI checkpoint as an adapter": (["--model", BASE, "--adapter", CODI], "A CODI checkpoint is given with --codi"),
    "a CODI checkpoint as a model": (["--model", CODI], "given with --codi or --adapter beside it"),
    "one thought to leave out": (["leave-one-out", "--latents", "1"], "leave-one-out needs two thoughts or more"),
    "two adapters": (["--model", BASE, "--codi", "a", "--adapter", "b"], "--adapter and --codi were both given"),
    "a directory without a model": (["--model", str(Path(__file__).parent)], "config.json: no such file"),
    "latent without codi": (["--model", BASE], "latent thoughts need a model that feeds them back"),
    "no such pairs": (["--pairs", "nowhere.json"], "nowhere.json"),
    "layer out of range": (["--layers", "0-9"], "--layers 4,5,6,7,8,9: no such layer; the model has layers 0 to 3"),
    "layers not numbers": (["--layers", "all"], "expected for example 0-3,7"),
    "unknown site": (["--sites", "t9"], "--sites: 't9' is not known; expected all, thoughts, bot"),
    "a site of another kind": (["--thoughts", "text", "--sites", "t0,bot"], "--sites: 'bot' is not known"),
    "unknown site of a set": (["subset", "--sets", "t0+eott"], "--sets: 'eott' is not known; did you mean eot?"),
    "a set twice": (["subset", "--sets", "t0+t1,t1+t0"], "--sets t0+t1,t1+t0: both are the same sites"),
    "unknown null": (["--nulls", "nobody"], "--nulls: 'nobody' is not known; expected self, other-pair, same-value"),
    "null nearly right": (["--nulls", "other-pairs"], "--nulls: 'other-pairs' is not known; did you mean other-pair?"),
    "unknown direction": (["--direction", "denois"], "--direction: 'denois' is not known; did you mean denoise?"),
    "unknown thoughts": (["--thoughts", "latents"], "--thoughts: 'latents' is not known; did you mean latent?"),
    "unknown engine": (["--engine", "quick"], "--engine: 'quick' is not known; expected fast, reference"),
    "unknown experiment": (["leave-one-ot"], "experiments: 'leave-one-ot' is not known; did you mean leave-one-out?"),
    "placeholder without a number": (
        ["--model", BASE, "--thoughts", "placeholder"],
        "placeholder thoughts: say how many with --latents",
    ),
    "soft thoughts without a number": (
        ["--model", BASE, "--family", "soft"],
        "latent thoughts: say how many with --latents",
    ),
    "no such coconut": (["--model", BASE, "--coconut", "nowhere"], "expected a Coconut checkpoint"),
    "no token ids": (["--special-ids", "1,x"], "--special-ids '1,x': 'x' is no token id"),
    "a window too wide": (["window", "--window", "5"], "--window 5: no 5 layers in a row begin at layer 0 of 4"),
    "a window that nothing reads": (
        ["--window", "2"],
        "--window: only the experiment window reads it, which is not asked for; ask for it, or leave --window out",
    ),
    "a placeholder that nothing reads": (["--placeholder-token", "3"], "--placeholder-token: only --thoughts placeho"),
    "a separator that nothing reads": (["--separator", "x"], "--separator: only --thoughts text reads it"),
    "sets that nothing reads": (["--sets", "t0+t1"], "--sets: only the experiment subset reads it; ask for subset too"),
    "a subset without sets": (["subset"], "subset: no set of sites was given; say which with --sets, for example"),
    "limit of nothing": (["--limit", "0"], "--limit is 0"),
    "no latents": (["--latents", "0"], "--latents is 0, expected at least 1 thought"),
    "unknown dtype": (["--dtype", "float23"], "--dtype: 'float23' is not known; did you mean float32?"),
    "unknown device": (["--device", "gpu"], "--device: 'gpu' is not known; expected auto, cpu, cuda, cuda:1 or mps"),
    "a device that holds nothing": (["--device", "meta"], "--device: 'meta' is not known"),
    "a home of nobody": (["--model", "~nobody-has-this-name/x"], "not a path"),
    "a name too long": (["--model", "x" * 5000], "not a path"),
    "an adapter's name too long": (["--model", BASE, "--adapter", "x" * 5000], "not a path"),
    "a checkpoint's name too long": (["--model", BASE, "--codi", "x" * 5000], "not a path"),
    "a file of pairs that is too long a name": (["--pairs", "x" * 5000], "File name too long"),
    "a negative seed": (["--seed", "-1"], "seed is -1"),
    "workers without a cluster": (["--workers", "2"], "--workers 2: belongs to a cluster; say which one with --ray"),
    "a project without wandb": (
        ["--wandb-project", "mine"],
        "--wandb-project: only --wandb reads it, which is not asked for; ask for it, or leave --wandb-project out",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_one_clear_message(mistake, tmp_path, monkeypatch, capsys):
    arguments, message = MISTAKES[mistake]
    monkeypatch.setattr(sys, "argv", ["mechpatch", "run", "position", "--out", str(tmp_path / "run"), *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code not in (0, None)
    found = capsys.readouterr().err
    assert message in found
    assert found.count("error:") == 1
    assert not (tmp_path / "run").exists()


def test_what_is_seen_when_the_model_is_there(tmp_path, monkeypatch, capsys):
    pair = {"pair_id": "a"} | {
        side: {"question": f"Tom has {number} pens.", "answer": 3} for side, number in (("clean", 3), ("corrupted", 4))
    }
    (tmp_path / "pairs.json").write_text(json.dumps([pair]))
    (tmp_path / "peft").mkdir()
    (tmp_path / "peft" / "adapter_config.json").write_text("{}")
    pairs = ["--pairs", str(tmp_path / "pairs.json")]
    for arguments, message in (
        (pairs, "none of 1 pairs can be run: 1 same_answer (--keep-same-answer runs them all the same)"),
        ([*pairs, "--keep-same-answer", "--thoughts", "text"], "1 no_cot (text thoughts need a field `cot`"),
        (["--latents", "5000"], "--latents 5000: too many, the model runs at most 512 tokens"),
        (
            ["--thoughts", "placeholder", "--placeholder-token", "999"],
            "--placeholder-token 999: no such token; the vocabulary has 0 to 162",
        ),
        (["--model", BASE, "--codi", str(tmp_path / "peft")], "is a PEFT adapter"),
        (
            ["--model", BASE, "--codi", CODI, "--placeholder-token", "999", "--thoughts", "placeholder"],
            "not given, so taken as published: --lora-alpha 32 and --latents 6\n",
        ),
    ):
        monkeypatch.setattr(sys, "argv", ["mechpatch", "plan", "position", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        assert exit_.value.code == 1
        assert message in capsys.readouterr().err


SINGLE = {
    "no such run": ["inspect", "runs/none", "--top", "1"],
    "no run to plot": ["plot", "runs/none"],
    "no run to report": ["report", "runs/none"],
    "no run to compare": ["compare", "runs/none", "runs/none"],
    "out is no run": ["run", "position", "--out", str(Path(__file__).parent)],
    "out is a file": ["run", "position", "--out", __file__],
    "out lies in a file": ["run", "position", "--out", f"{__file__}/run"],
    "out of the demo is no run": ["demo", "--out", str(Path(__file__).parent)],
    "verify in bfloat16": ["verify", "--dtype", "bfloat16"],
    "a plan of no pairs": ["plan", "all", "--pairs", "nowhere.json"],
    "an unknown criterion": ["pairs", "demo", "--screen", "both-rigt"],
    "nobody to ask": ["pairs", str(pair_path("demo")), "--screen", "both-right"],
    "no place for kept pairs": ["pairs", "demo", "--screen", "both-right", "--out", "nowhere/kept.json"],
    "no thoughts to screen by": ["pairs", "demo", "--model", BASE, "--screen", "needs-thoughts"],
    "more pairs than anyone needs": ["make-pairs", "nowhere.jsonl", "--out", "x.json", "--per-question", "1000000"],
    "no such command": ["rn", "position"],
    "no such option": ["run", "position", "--ou", "x"],
    "a limit of the cache that is no number": ["cache"],
}


def test_mistakes_are_told_before_torch_is_imported(tmp_path):
    """In one process, so that what one mistake imports is seen by the next; the first that needs torch is named."""
    code = (
        "import json, sys; from mechpatch import cli\n"
        "for name, arguments in json.load(sys.stdin).items():\n"
        "    sys.argv = ['mechpatch', *arguments]\n"
        "    try: cli.main()\n"
        "    except SystemExit as exit: assert exit.code, name\n"
        "    assert not {'torch', 'transformers'} & sys.modules.keys(), name\n"
        "print('told')"
    )
    mistakes = {
        name: ["run", "position", "--out", str(tmp_path / "run"), *arguments]
        for name, (arguments, _) in MISTAKES.items()
    }
    found = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(mistakes | SINGLE),
        capture_output=True,
        text=True,
        env=ENVIRONMENT | {"MECHPATCH_CACHE_LIMIT": "much"},
        cwd=tmp_path,
        check=False,
    )
    assert found.stdout == "told\n", found.stderr
    assert found.stderr.count("rror") >= len(mistakes | SINGLE)
    assert not list(tmp_path.iterdir())


def test_a_terminal_that_lacks_a_sign_shows_its_code():
    found = process("pairs", "demo", PYTHONIOENCODING="latin-1")
    assert found.returncode == 0, found.stderr
    assert r"|clean \u2212 corrupted|" in found.stdout


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(5, "Input/output error", "/a/file"), "error: /a/file: Input/output error"),
        (OSError("no number"), "error: no number"),
        (MemoryError(), "error: the memory of this machine does not suffice; choose a smaller --batch-size"),
    ],
)
def test_what_the_machine_refuses_is_one_line(monkeypatch, capsys, error, message):
    def fail() -> None:
        raise error

    monkeypatch.setattr(sys.modules["mechpatch.cli.app"], "app", fail)  # the package's `app` is the application
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 1
    assert message in capsys.readouterr().err


def test_a_command_that_is_interrupted_says_so(monkeypatch, capsys):
    def interrupted(*given: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mechpatch.cli.request.load", interrupted)
    with pytest.raises(SystemExit) as exit_:
        cli.app(["plan", "position"])
    assert exit_.value.code == 130
    assert capsys.readouterr().err == "stopped\n"


def test_an_output_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    found = mechpatch("run", "layer", "--limit", 1, "--out", tmp_path / "file" / "run", "--cache", tmp_path / "cache")
    assert found.returncode == 1
    assert f"{tmp_path / 'file' / 'run'}" in found.stderr
    assert "Traceback" not in found.stderr
    assert (tmp_path / "file").read_text() == "in the way"


def test_no_space_left_for_a_shard(tmp_path):
    """A limit on the size of files stands in for a full disk: every write past it fails in the same place."""
    arguments = ["run", "layer", "--limit", "2", "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]
    found = mechpatch(*arguments, largest_file=9000)
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "run" / "effects.parquet").exists()
    leftovers = [path.name for path in (tmp_path / "run" / "shards").iterdir()]
    assert not leftovers
    done = mechpatch(*arguments)
    assert done.returncode == 0, done.stderr


def test_placeholder_says_that_no_thought_was_rolled_out(tmp_path):
    found = mechpatch(
        "run", "chained", "--thoughts", "placeholder", "--limit", 2, "--out", tmp_path / "run", "--cache", tmp_path
    )
    assert "No thought was rolled out" in found.stdout
    assert "zero by construction" in found.stdout
    assert "Without feedback a write at one thought cannot reach" in found.stdout
    notes = json.loads((tmp_path / "run" / "summary.json").read_text())["run"]["notes"]
    assert "says nothing about whether thoughts depend on each other" in notes[-1]


def test_options_are_what_scripts_rely_on():
    """Renaming or dropping an option breaks users' scripts: change this list knowingly."""
    found = {name for each in COMMANDS["run"].params for name in each.opts}
    options = (
        "model adapter codi lora-alpha lora-targets latents pairs out thoughts answer-prefix separator layers sites",
        "sets window placeholder-token direction nulls limit keep-same-answer include-incorrect min-gap batch-size",
        "seed dtype device cache wandb engine check max-memory quiet json report inspect",
        "coconut family special-ids bos question-format ignore-keys tie soft-top-k soft-temperature",
    )
    assert {f"--{option}" for option in " ".join(options).split()} <= found


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_option_whole_at_80_columns(command):
    result = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "80", "TERM": "dumb"})
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in result.output
    assert "Example: mechpatch" in result.output.replace("\n ", " ")
    for name in (name for each in COMMANDS[command].params for name in each.opts if name.startswith("-")):
        assert any(name in line.split() for line in lines), name
    titles = [line.split("─ ")[1].split(" ─")[0] for line in lines if line.startswith("╭")]
    assert {*titles} <= {"Arguments", "Options", "Model", "Pairs and thoughts", "Experiment", "Running", "Output"}
    panel = result.output.split("─ Options ")[1].split("╰")[0]  # what no panel was named for
    assert "--help" in panel
    assert panel.count("--") == 1


def test_versions_are_told():
    result = CliRunner().invoke(cli.app, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith(f"mechpatch {version('mechpatch')}\nPython ")
    assert f"torch {version('torch')}" in result.output
