"""An inspection is whole or absent, and nothing is read that its description does not vouch for."""

import json
from pathlib import Path

import numpy as np
import pytest

from mechpatch.errors import StorageError
from mechpatch.storage import inspections
from mechpatch.storage.inspections import Inspection, read_inspection, read_inspections, write_inspection


def inspection(value: float = 1.0) -> Inspection:
    return Inspection(
        {"pair_id": "a\u2028é</script>", "list": [1, 2.5, None]},
        {"half": np.full((2, 3), value, np.float16), "flag": np.array([True, False]), "strided": np.arange(8)[::2]},
    )


def written(folder: Path, value: float = 1.0, index: int = 12) -> Path:
    return write_inspection(folder, index, inspection(value))


def test_what_was_written_is_read(tmp_path: Path):
    path = written(tmp_path)
    found = read_inspection(tmp_path, 12)
    assert path == tmp_path / "inspect" / "000012.json"
    assert found.about == inspection().about
    assert {name: (array.dtype, array.tolist()) for name, array in found.arrays.items()} == {
        name: (array.dtype, array.tolist()) for name, array in inspection().arrays.items()
    }
    assert not any("a" in each.name.partition(".")[0].partition("-")[0] for each in path.parent.iterdir())


def test_writing_again_replaces_and_leaves_one(tmp_path: Path):
    written(tmp_path)
    written(tmp_path, index=13)
    path = written(tmp_path, value=2.0)
    assert read_inspection(tmp_path, 12).arrays["half"].tolist() == [[2.0] * 3] * 2
    assert len(list(path.parent.iterdir())) == 4
    assert list(read_inspections(tmp_path)) == [12, 13]


def test_no_inspections_are_none(tmp_path: Path):
    assert read_inspections(tmp_path) == {}
    with pytest.raises(StorageError, match=r"000012\.json: cannot be read: No such file .* mechpatch inspect"):
        read_inspection(tmp_path, 12)


def arrays_of(description: Path) -> Path:
    (path,) = description.parent.glob("*.safetensors")
    return path


def test_changed_arrays_are_refused(tmp_path: Path):
    path = arrays_of(written(tmp_path))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageError, match="its bytes have changed"):
        read_inspections(tmp_path)


def test_a_larger_file_is_not_read(tmp_path: Path):
    path = arrays_of(written(tmp_path))
    with path.open("ab") as file:
        file.truncate(2**32)  # sparse
    with pytest.raises(StorageError, match="has more than the"):
        read_inspection(tmp_path, 12)


def test_a_description_that_is_larger_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written(tmp_path)
    monkeypatch.setattr(inspections, "MAX_DESCRIPTION", 100)
    with pytest.raises(StorageError, match="has more than the 100 bytes"):
        read_inspection(tmp_path, 12)
    with pytest.raises(StorageError, match="inspect a shorter question"):
        written(tmp_path)


CHANGES = {
    "another pair": lambda found: found["about"].update(pair_id="b"),
    "no arrays": lambda found: found.update(sha256="../../../etc/passwd"),
    "huge": lambda found: found.update(bytes=2**60),
    "another version": lambda found: found.update(schema=0),
    "no checksum": lambda found: found.pop("checksum"),
    "NaN": lambda found: found["about"].update(pair_id=float("nan")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_description_is_refused(tmp_path: Path, change: str):
    path = written(tmp_path)
    found = json.loads(path.read_text())
    CHANGES[change](found)
    path.write_text(json.dumps(found))
    with pytest.raises(StorageError, match=r"000012\.json: .*run mechpatch inspect for this pair again"):
        read_inspection(tmp_path, 12)


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", "[" * 100_000, "null"])
def test_what_is_no_description_is_refused(tmp_path: Path, text: str):
    written(tmp_path).write_text(text)
    with pytest.raises(StorageError, match=r"000012\.json: "):
        read_inspection(tmp_path, 12)


def test_too_large_arrays_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inspections, "MAX_ARRAYS", 10)
    with pytest.raises(StorageError, match="at most 10 are kept; inspect a shorter question"):
        written(tmp_path)
    assert not (tmp_path / "inspect").exists()
