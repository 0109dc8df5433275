"""A reading is kept whole: no byte of it changes unseen."""

import pytest
from lens_tables import lens_table

from mechpatch.errors import StorageError
from mechpatch.storage.readings import has_reading, read_reading, write_reading


def test_a_reading_is_what_was_written(tmp_path):
    table, about = lens_table({}, pairs=2), {"reading": "lens", "model": "abc"}
    assert not has_reading(tmp_path, "lens")
    path = write_reading(tmp_path, "lens", table, about)
    assert has_reading(tmp_path, "lens")
    found = read_reading(tmp_path, "lens")
    assert found.table.equals(table)
    assert found.about == about
    assert path.read_bytes() == write_reading(tmp_path, "lens", table, about).read_bytes()


def test_damage_and_absence_are_told(tmp_path):
    with pytest.raises(StorageError, match="run mechpatch read lens"):
        read_reading(tmp_path, "lens")
    path = write_reading(tmp_path, "lens", lens_table({}, pairs=2), {})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageError, match="damaged: its bytes have changed; run mechpatch read lens"):
        read_reading(tmp_path, "lens")
