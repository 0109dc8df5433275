"""The benchmark counts what it should, compares what it measures, loses nothing and repeats nothing."""

import dataclasses
import json
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import bench
import pytest
import torch
from benchmark import contenders, limit, scaling, spent
from benchmark.cases import Case, Model, lay_out, make_case, make_model
from benchmark.clock import CLOCKS
from benchmark.contenders import CONTENDERS
from benchmark.journal import Journal
from benchmark.limit import Work, work_of
from benchmark.measure import Group
from benchmark.table import inexact, show, summarise
from helpers import TOLERANCE

from mechpatch.patching.engine import block
from mechpatch.patching.patch import Patch

SMALL = ["--shape", "tiny", "--thoughts", "2", "--question", "6", "--cells", "1"]


@pytest.fixture(scope="module")
def model() -> Model:
    return make_model("tiny")


@pytest.fixture(params=["static", "latent"])
def case(request: pytest.FixtureRequest, model: Model) -> Case:
    return make_case(model, request.param, 2, question=6)


def count(kind: str, *patches: Patch) -> Work:
    """Two blocks; 0 question, 1 bot, 2 t0, 3 t1, 4 eot, 5-9 prefix, 10 and 11 the answers; sites bot, t0, t1, …"""
    return work_of(lay_out(kind, [10], 2, (10, 11)), patches, depth=2)


def products(work: Work) -> dict[str, int]:
    return {name: work.product(name) for name in ("q", "kv", "o", "mlp")} | dict(work.totals)


def test_without_feedback_a_write_is_read_once():
    # Block 1 reads the new t0: one key and value. Tokens 9, 10 and 11 are read; their own inputs are unchanged.
    expected = {"q": 0, "kv": 1, "o": 3, "mlp": 3, "pairs": 3, "unembed": 3}
    assert products(count("static", Patch(0, (1,)))) == expected
    assert products(count("static", Patch(1, (1,)))) == dict.fromkeys(expected, 0)  # the top's output is read nowhere
    twice = products(count("static", Patch(0, (1,)), Patch(0, (2,))))
    assert twice == {name: 2 * number for name, number in expected.items()}
    both = products(count("static", Patch(0, (1, 2))))
    assert both == expected | {"kv": 2, "pairs": 6}


def test_a_fed_back_thought_is_computed_whole():
    work = count("latent", Patch(0, (1,)))
    assert {key: rows for key, rows in work.rows.items() if rows} == {
        # t0 in block 1, because t1 is made of it; it sees three tokens.
        (1, 1, "q"): 1,
        (1, 1, "kv"): 1,
        (1, 1, "o"): 1,
        (1, 1, "mlp"): 1,
        # t1 whole, seeing four; of its top block only what others read.
        (2, 0, "q"): 1,
        (2, 0, "kv"): 1,
        (2, 0, "o"): 1,
        (2, 0, "mlp"): 1,
        (2, 1, "kv"): 1,
        # Tokens 4 to 11 in block 0: their queries are as before, and one key, that of t1, is new.
        (3, 0, "o"): 8,
        (3, 0, "mlp"): 8,
        # In block 1 all eight have new keys, but 9, 10 and 11 alone are read: they see 10, 11 and 11 tokens.
        (3, 1, "q"): 3,
        (3, 1, "kv"): 8,
        (3, 1, "o"): 3,
        (3, 1, "mlp"): 3,
    }
    assert work.pairs == 3 + 4 + 8 + 32
    assert work.unembed == 3
    assert {stage: heads for stage, heads in work.heads.items() if heads} == {2: 1}


def test_what_is_overwritten_is_not_computed():
    first, both = (count("latent", Patch(0, sites)) for sites in ((1,), (1, 2)))
    assert (first.rows[2, 0, "mlp"], both.rows[2, 0, "mlp"]) == (1, 0)
    assert both.rows[2, 0, "kv"] == 1  # t1 is still fed, and read in block 0


def test_rows_are_multiplied_with_the_weights(model: Model):
    # d_model 64, d_mlp 160, kv 32, vocabulary 512; the head's inner layer has 2048.
    row = {"q": 64 * 64, "kv": 2 * 64 * 32, "o": 64 * 64, "mlp": 3 * 64 * 160}
    expected = 0 * row["q"] + 1 * row["kv"] + 3 * row["o"] + 3 * row["mlp"] + 3 * 64 * 512
    assert limit.flops(count("static", Patch(0, (1,))), model) == 2 * expected + 4 * 3 * 64
    latent = sum(products(count("latent", Patch(0, (1,))))[name] * each for name, each in row.items())
    latent += 2 * 64 * 2048 + 3 * 64 * 512
    assert limit.flops(count("latent", Patch(0, (1,))), model) == 2 * latent + 4 * 47 * 64


def test_a_rate_is_that_of_the_best_cut():
    rates = {1: 10.0, 4: 40.0, 16: 20.0, 64: 50.0}
    found = [limit.rate_at(rates, rows) for rows in (1, 2, 4, 8, 16, 64, 1000)]
    assert found == pytest.approx([10, 25, 40, 40, 40, 50, 50])


def test_least_time_is_work_over_rate(model: Model):
    work = count("static", Patch(0, (1,)))
    rates = {name: {1: 1e3, 4: 1e3} for name in ("q", "k", "o", "gate", "down", "unembed")}
    everything = limit.flops(work, model)
    assert limit.seconds(work, model, rates) == pytest.approx(
        {"limit": everything / 1e3, "ideal": everything / 1e3, "best_rate": 1e3}
    )
    rates["unembed"] = {1: 2e3, 4: 2e3}
    found = limit.seconds(work, model, rates)
    assert found["limit"] == pytest.approx((everything - 2 * 3 * 64 * 512 - 4 * 3 * 64) / 1e3 + (196608 + 768) / 2e3)


def group_of(case: Case) -> Group:
    return Group(
        key={"shape": "tiny", "dtype": "float32", "kind": case.kind, "thoughts": 2, "question": 6, "prefix": 5},
        case=case,
        cells=3,
    )


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda each: each.name)
def test_every_contender_gives_the_engines_logits(case: Case, contender: contenders.Contender):
    if case.kind not in contender.kinds:
        assert "no form for latent" in group_of(case)._take(contender.name, 0)[0]["reason"]
        return
    record = group_of(case)._contend(contender, 0)
    if record.get("reason") == "not installed":
        return
    assert record["patches"] == (2 if contender.row else 3)
    assert record["difference"] <= TOLERANCE[torch.float32]


def test_a_wrong_contender_is_noticed(case: Case):
    shared = next(each for each in CONTENDERS if each.name == "shared")

    def one_layer_up(*given: Any) -> contenders.Run:
        run = shared.make(*given)
        return lambda patches: run([Patch((patch.layer + 1) % 3, patch.sites) for patch in patches])

    record = group_of(case)._contend(dataclasses.replace(shared, make=one_layer_up), 0)
    assert record["difference"] > TOLERANCE[torch.float32]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModuleNotFoundError("no pyvene", name="pyvene"), "not installed"),
        (ModuleNotFoundError("no plotnine", name="plotnine"), "does not import here: no plotnine"),
        (ImportError("torch is too new"), "does not import here: torch is too new"),
    ],
)
def test_a_library_that_is_not_there_is_told(case: Case, error: ImportError, reason: str):
    def make(*given: Any) -> contenders.Run:
        raise error

    contender = dataclasses.replace(CONTENDERS[-1], make=make)
    assert contender.name == "pyvene"
    assert group_of(case)._contend(contender, 0) == {"reason": reason}


def test_rounds_visit_other_layers(case: Case):
    row, single = (next(each for each in CONTENDERS if each.row is kind) for kind in (True, False))
    group = group_of(case)
    assert {patch.layer for number in range(3) for patch in group.choose(single, number)} == {0, 1, 2}
    assert {patch.layer for patch in group.choose(single, 0)} == {0, 1, 2}
    assert len({patch.layer for patch in group.choose(row, 0)}) == 1


def run(monkeypatch: pytest.MonkeyPatch, out: Path, *options: str) -> list[dict[str, Any]]:
    """The measurements in the file after a call of the script."""
    monkeypatch.setattr(sys, "argv", ["bench.py", *SMALL, "--out", str(out), *options])
    bench.main()
    return json.loads(out.read_text(encoding="utf-8"))["measurements"]


def test_the_script_measures_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first = run(monkeypatch, tmp_path / "bench.json", "--rounds", "1")
    text = capsys.readouterr().out
    for kind in ("static", "latent"):
        assert f"tiny, float32, question of 6 tokens, 2 {kind} thoughts, prefix of 5: 1 rounds" in text
        records = {each["what"]: each for each in first if each["kind"] == kind}
        assert set(records) == {"rates", "base", "sweep", "job", *(each.name for each in CONTENDERS)}
        assert records["sweep"]["patches"] == 6
        assert records["job"]["runs"] == 2 + 3 * (2 + 1 + 2 + 2)
        assert set(records["rates"]["least"]) == set(CLOCKS)
        for least in records["rates"]["least"].values():
            assert least["limit"] >= least["ideal"] > 0
        assert records["shared"]["patches"] == 1
        assert all(each["seconds"] > 0 for each in records.values() if "reason" not in each)
    assert "pyvene, one batch a layer" in text
    again = run(monkeypatch, tmp_path / "bench.json", "--rounds", "1")
    assert again == first
    more = run(monkeypatch, tmp_path / "bench.json", "--rounds", "2", "--kinds", "static")
    assert more[: len(first)] == first
    assert {(each["round"], each["kind"]) for each in more[len(first) :]} == {(1, "static")}


def test_an_interrupt_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def interrupted(self: Case) -> None:
        raise KeyboardInterrupt

    options = ("--rounds", "1", "--kinds", "static", "--only", "base", "job", "shared")
    with monkeypatch.context() as patched:
        patched.setattr(Case, "run_job", interrupted)
        with pytest.raises(SystemExit) as stopped:
            run(patched, tmp_path / "bench.json", *options)
    assert stopped.value.code == 130
    stored = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))["measurements"]
    assert [each["what"] for each in stored] == ["sweep", "base"]
    whole = run(monkeypatch, tmp_path / "bench.json", *options)
    assert whole[:2] == stored
    assert [each["what"] for each in whole[2:]] == ["job", "shared"]
    assert [each["process"] for each in whole] == [1, 1, 2, 2]


def test_ratios_are_formed_within_a_round(tmp_path: Path):
    journal = Journal(tmp_path / "bench.json")
    key = {"shape": "1b", "dtype": "float32", "kind": "latent", "thoughts": 5, "question": 100, "prefix": 5}

    def took(seconds: float) -> dict[str, float]:
        return {"seconds": seconds, "cpu": seconds**2, "others": seconds / 100}

    for number, (swept, plain) in enumerate([(1.0, 10.0), (2.0, 60.0), (4.0, 80.0)]):
        counted = {"patches": 4, "flops": 8e9, "memory": 5e6}
        journal.add(**key, what="sweep", round=number, **took(swept), **counted)
        journal.add(**key, what="job", round=number, **took(2 * swept), runs=12)
        least = {"limit": swept / 2, "ideal": swept / 4, "best_rate": 1e9}
        journal.add(**key, what="rates", round=number, **took(1.0), least=dict.fromkeys(CLOCKS, least))
        journal.add(**key, what="shared", round=number, **took(plain), patches=2, difference=1e-5 * number)
    journal.add(**key, what="pyvene", round=0, reason="not installed")
    (found,) = summarise(journal)
    row, missing = found["rows"]
    assert row["seconds"] == 4 * 30.0  # median of a run, times the patches
    assert row["ratio"] == [40.0, 800.0]  # medians of 20, 60, 40 and of 200, 1800, 800
    assert row["job_ratio"] == [60.0, 600.0]  # of 30, 90, 60 and of 150, 1350, 600
    assert found["others"] == [pytest.approx(0.03), 0.8]
    assert (row["measured"], row["difference"]) == (6, 2e-5)
    assert missing["reason"] == "not installed"
    assert found["limit_share"] == [0.5, 0.25]  # by CPU time of 1/2, 1/4, 1/8
    assert found["ideal_share"] == [0.25, 0.125]
    assert row["at_most"] == [80.0, 3200.0]
    text = "\n".join(show([found]))
    assert "6 of 12, extrapolated" in text
    assert "two unpatched runs" not in text
    assert inexact([found]) == []
    row["difference"] = 3e-4
    assert inexact([found]) == [
        "1b, latent thoughts: plain hooks, zero-copy load and the engine differ by 3.0e-04 in a logit"
    ]


@pytest.fixture
def scaled(model: Model, tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "bench.json")
    key = {"shape": "tiny", "dtype": "float32"}
    scaling.measure_scaling(model, key, journal, 1, lambda text: None)
    return journal


def test_scaling_measures_every_point_once_and_draws_it(scaled: Journal, model: Model):
    points = {(each["axis"], each["value"], each["what"]) for each in scaled.records}
    expected = {"pairs": (1, 2), "layers": (2, 3), "thoughts": (1, 2), "question": (10, 20)}
    assert points == {
        (axis, value, what) for axis in expected for value in expected[axis] for what in ("base", "sweep")
    }
    said: list[str] = []
    scaling.measure_scaling(model, {"shape": "tiny", "dtype": "float32"}, scaled, 1, said.append)
    assert not said
    assert scaling.draw(scaled).startswith(b"\x89PNG")
    assert summarise(scaled) == []


def test_a_slope_is_the_exponent():
    assert scaling.slope_of([1, 2, 4, 8], [9.0, 4.0, 16.0, 64.0]) == pytest.approx(2)
    assert scaling.slope_of([1, 2], [3.0, 3.0]) == pytest.approx(0)


def test_fewer_blocks_share_the_weights(model: Model):
    lower = scaling.first_blocks(model, 2)
    assert lower.depth == 2
    mine, whole = (each.hooked.state_dict() for each in (lower, model))
    assert all(whole[name].data_ptr() == tensor.data_ptr() for name, tensor in mine.items() if "W_" in name)


def test_hook_points_are_measured_against_plain_hooks_and_once(tmp_path, monkeypatch, capsys):
    out = tmp_path / "bench.json"
    asked = [*SMALL, "--rounds", "1", "--hooks", "resid_mid", "z", "kv", "thought", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["bench.py", *asked])
    bench.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["hook", "resid_mid", "z", "kv", "thought"]
    records = json.loads(out.read_text())["measurements"]
    assert all(record["difference"] < TOLERANCE[torch.float32] for record in records)
    assert {record["value"]: record["patches"] for record in records}["thought"] == 2
    bench.main()
    assert json.loads(out.read_text())["measurements"] == records


def test_runs_are_one_until_they_part():
    layout = lay_out("latent", [10], 2, (10, 11))
    first, both = Patch(0, (1,)), Patch(0, (1, 2))
    (alone, _), (other, _) = (limit.rows_apart_and_shared(layout, [each], 2) for each in (first, both))
    # They share the block above the write at t0; from t1 on they write something else.
    assert limit.rows_apart_and_shared(layout, [first, both], 2) == (alone + other, alone + other - 1)
    assert limit.rows_apart_and_shared(layout, [first, first], 2) == (2 * alone, alone)
    assert limit.rows_apart_and_shared(layout, [first, Patch(1, (1,))], 2)[1] == alone + count(
        "latent", Patch(1, (1,))
    ).product("mlp")


def test_a_profile_says_what_the_time_was_for(model, case, monkeypatch, tmp_path):
    found = spent.take(case)
    assert found["spent"].keys() == spent.PURPOSES.keys()
    assert sum(found["spent"].values()) == pytest.approx(found["seconds"])
    assert all(seconds > 0 for seconds in found["spent"].values())
    assert found["spent"][spent.UNEMBED] + found["spent"]["matrix products of the blocks"] < found["seconds"]

    real, large = block.attend, torch.randn(1000, 1000)
    with monkeypatch.context() as patch:
        patch.setattr(block, "attend", lambda *given: (large.softmax(-1).softmax(-1), real(*given))[1])
        slower = spent.take(case)
    takes = chain([found], (spent.take(case) for _ in range(4)))  # whatever interrupts one makes its attention long
    assert any(slower["spent"]["attention"] > 10 * each["spent"]["attention"] for each in takes)

    journal, about = Journal(tmp_path / "bench.json"), {"kind": case.kind, **spent.WHAT}
    for number, each in enumerate((slower, found)):
        journal.add(round=number, **about, **each)
    least = min(found, slower, key=lambda each: each["seconds"])
    title, *lines = spent.show_spent(journal)
    assert f"{least['seconds']:.2f} s" in title
    assert len(lines) == len(spent.PURPOSES) + 5
    assert least["least_flops"] <= least["flops"]
    apart, shared = least["rows"]["pairwise"]
    assert any("pairwise" in line and f"{shared / apart:.2f} of them" in line for line in lines)
    assert f"{least['spent']['attention'] / least['seconds']:.1%}" in lines[2]
