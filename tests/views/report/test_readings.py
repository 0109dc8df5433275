"""The page of a run shows what was read in its thoughts, beside what writing them does."""

import re

import pytest
from lens_tables import lens_table
from probe_tables import probe_table
from records import planted
from run_directories import write_run

from mechpatch.errors import StorageError
from mechpatch.storage.readings import write_reading
from mechpatch.views.report import write_report

MODEL = "0123456789abcdef"
EFFECTS = {
    ("position", "denoise", donor, layer, site): [1.0 if (donor, layer, site) == ("paired", 1, "t1") else 0.0] * 12
    for donor in ("paired", "other_pair")
    for layer in (0, 1)
    for site in ("t0", "t1")
}


def page(folder, table=None, model: str = MODEL, name: str = "run", what: str = "lens") -> str:
    run = write_run(folder / name, planted(EFFECTS))
    if table is not None:
        write_reading(run, what, table, {"reading": what, "model": model})
    return write_report([run], folder / f"{name}.html").read_text(encoding="utf-8")


def heats(text: str) -> dict[str, list[list[str]]]:
    """Cells of each map, by its title."""
    found = {}
    for table in re.findall(r'<table class="heat">.*?</table>', text, flags=re.DOTALL):
        title = re.findall("<caption>(.*?)</caption>", table)[0]
        rows = re.findall(r"<tr>(<th scope=\"row\">.*?)</tr>", table, flags=re.DOTALL)
        found[title] = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    return found


def test_what_is_read_stands_beside_what_is_written(tmp_path):
    text = page(tmp_path, lens_table({("clean", "step1", 1, "t0"): 12}))
    assert "What can be read in the thoughts" in text
    assert "Step 1 can be read at 1 of 4 places of thoughts" in text
    assert "1 can be read and 1 move the answer; 0 do both" in text
    found = heats(text)
    assert [*found] == ["Step 1", "Step 2", "The clean answer", "Written: pairs that switch"]
    assert found["Step 1"] == [["0", "<strong>100</strong>", "0", "0"], ["0", "0", "0", "0"]]  # layer 1, then layer 0
    assert found["Written: pairs that switch"] == [["", "0", "<strong>100</strong>", ""], ["", "0", "0", ""]]
    other = heats(page(tmp_path, lens_table({("clean", "step1", 0, "t1"): 3}), name="other"))
    assert other["Step 1"] == [["0", "0", "0", "0"], ["0", "0", "25", "0"]]


def test_what_probes_find_stands_beside_what_is_written(tmp_path):
    text = page(tmp_path, probe_table({("step1", 1, "t0"): 0.9, ("step1", 0, "t1"): -0.5}), what="probe")
    assert "Probes: what a linear readout finds" in text
    assert "The value of step 1 is found at 1 of 4 places of thoughts" in text
    assert "A probe is no cause" in text
    found = heats(text)
    assert [*found] == ["The value of step 1", "Written: pairs that switch"]
    assert found["The value of step 1"] == [["0", "<strong>90</strong>", "0", "0"], ["0", "0", "0", "0"]]
    assert found["Written: pairs that switch"] == [["", "0", "<strong>100</strong>", ""], ["", "0", "0", ""]]
    as_good = probe_table({("step1", 1, "t0"): 0.9}, control=0.9)
    other = page(tmp_path, as_good, what="probe", name="other")
    assert "The value of step 1 is found at no thought clearly beyond shuffled labels" in other
    assert heats(other)["The value of step 1"][0] == ["0", "90", "0", "0"]
    assert "Probes: what" not in page(tmp_path, as_good, "another", "foreign", "probe")


def test_a_page_without_a_reading_of_its_run_has_no_such_section(tmp_path):
    assert "What can be read in the thoughts" not in page(tmp_path)
    foreign = page(tmp_path, lens_table({}), model="another", name="foreign")
    assert "What can be read in the thoughts" not in foreign


def test_a_damaged_reading_is_told(tmp_path):
    run = write_run(tmp_path / "run", planted(EFFECTS))
    path = write_reading(run, "lens", lens_table({}), {"reading": "lens", "model": MODEL})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StorageError, match="damaged"):
        write_report([run], tmp_path / "page.html")
