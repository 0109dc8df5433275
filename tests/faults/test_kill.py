"""A run killed at any moment and resumed leaves what an uninterrupted one leaves, byte for byte."""

import shutil

from faults.kills import kill_again_and_again, kill_each
from faults.runs import half_written
from faults.unhurt import unhurt


def test_killed_once_and_resumed(demo_model, tmp_path):
    found = list(kill_each(demo_model, tmp_path, count=9, seed=0))
    assert [kill for kill in found if kill.fault] == []
    places = " ".join(kill.moment for kill in found if kill.killed)
    for place in ("write run/shards", "write cache", "write run/effects", "write run/summary", "write run/spec"):
        assert place in places


def test_killed_again_and_again(demo_model, tmp_path):
    kill, fell = kill_again_and_again(demo_model, tmp_path, count=6, seed=1)
    assert fell >= 4
    assert not kill.fault


def test_the_comparison_notices_one_byte(demo_model, tmp_path):
    """What the tests above rest on: every file of a run is watched and compared."""
    whole = unhurt(demo_model)
    done = [each.path for each in whole.operations if each.kind == "rename"]
    assert {path.removeprefix("whole/run/") for path in done if "/run/" in path} == set(whole.left)
    shutil.copytree(whole.folder, tmp_path / "a")
    shard = next((tmp_path / "a" / "run" / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1])
    (tmp_path / "a" / "run" / "summary.json").write_text("{")
    assert {path.name for path in half_written(tmp_path / "a")} == {shard.name, "summary.json"}
