from pathlib import Path

import pytest

from mechpatch.errors import StorageError
from mechpatch.storage.questions import read_questions
from mechpatch.storage.sealed import write_sealed


def side(question: str, **more: object) -> dict:
    return {"question": question, "answer": 3, **more}


def test_questions_are_read_by_pair(tmp_path: Path):
    pairs = [{"pair_id": "a", "clean": side("One?", cot="1+1"), "corrupted": side("Two?"), "layout": {}}]
    write_sealed(tmp_path / "pairs.json", {"screening": {}, "pairs": pairs})
    assert read_questions(tmp_path) == {
        "a": {
            "clean question": "One?", "clean answer": 3, "clean cot": "1+1",
            "corrupted question": "Two?", "corrupted answer": 3, "corrupted cot": None,
        }
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pairs": []}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str):
    (tmp_path / "pairs.json").write_text(text)
    with pytest.raises(StorageError, match=r"pairs\.json: damaged"):
        read_questions(tmp_path)


@pytest.mark.parametrize("pairs", [3, [{"pair_id": "a"}], ["a"]])
def test_a_file_that_no_run_wrote_is_named(tmp_path: Path, pairs: object):
    write_sealed(tmp_path / "pairs.json", {"pairs": pairs})
    with pytest.raises(StorageError, match=r"pairs\.json: damaged \("):
        read_questions(tmp_path)


def test_a_folder_that_is_no_run_is_named(tmp_path: Path):
    with pytest.raises(StorageError, match=r"pairs\.json: cannot be read.*name the directory of a run"):
        read_questions(tmp_path)
