import json
from pathlib import Path

import pytest

from mechpatch.errors import StorageError
from mechpatch.storage.sealed import MAX_BYTES, SEAL, read_sealed, write_sealed

VALUE = {"seed": 3, "layers": [0, 1], "name": "é", "nested": {"a": None, "b": [1.5, True]}}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    write_sealed(tmp_path / "x.json", VALUE)
    return tmp_path / "x.json"


def test_what_is_sealed_is_read_back(sealed: Path):
    assert read_sealed(sealed, "again") == VALUE
    write_sealed(sealed, {**VALUE, SEAL: "of before"})  # read with any other reader, changed, and written again
    assert read_sealed(sealed, "again") == VALUE
    sealed.write_text(json.dumps(json.loads(sealed.read_text()), indent=None))
    assert read_sealed(sealed, "again") == VALUE


def test_every_flipped_bit_is_noticed_or_white_space(sealed: Path):
    whole = sealed.read_bytes()
    same = 0
    for at in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            sealed.write_bytes(damaged)
            try:
                found = read_sealed(sealed, "again")
            except StorageError:
                continue
            assert found == VALUE
            same += 1
    assert same < len(whole)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "its sha256 says None"),
        ('{"sha256": 7}', "its sha256 says 7"),
        ("[]", "found a list, expected an object"),
        ('{"a": NaN, "sha256": ""}', "NaN is no JSON"),
        ("[" * 10**5, "recursion"),
        ('{"a":' * 10**5, "recursion"),
        ("9" * 5000, "digits"),
        ('{"a": "\\ud800", "sha256": ""}', "its content has the fingerprint"),
    ],
)
def test_damage_is_named(sealed: Path, content: str, message: str):
    sealed.write_text(content)
    with pytest.raises(StorageError, match=rf"x.json: damaged: .*{message}.*; make it again$"):
        read_sealed(sealed, "make it again")


def test_a_file_that_is_absent_or_too_large(sealed: Path):
    with sealed.open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(StorageError, match=rf"x.json: damaged: found {MAX_BYTES + 1} bytes"):
        read_sealed(sealed, "again")
    sealed.unlink()
    with pytest.raises(StorageError, match=r"x.json: cannot be read: No such file"):
        read_sealed(sealed, "again")
