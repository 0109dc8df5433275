"""A page shows few of many neurons, and what it says of them was tested against all."""

import numpy as np
import pyarrow as pa
import pytest
from records import planted
from report_arrays import decoded
from run_directories import with_field, write_run

from mechpatch.stats import summarise
from mechpatch.stats.cells import Group
from mechpatch.views.report.fields import describe_fields
from mechpatch.views.report.grids import describe_grids
from mechpatch.views.report.strongest import SHOWN, shown_columns
from mechpatch.views.report.studies import read_studies
from mechpatch.views.report.tables import describe_tables

NEURONS, PAIRS = 40, 7
THOUGHT, ANSWERS = (
    33,
    range(30),
)  # the one neuron that carries something at a thought, little; those at the answer, more


def of_neurons() -> pa.Table:
    effects = {}
    for donor in ("paired", "other_pair"):
        for neuron in range(NEURONS):
            for site in ("t0", "answer"):
                carries = 0.05 if (neuron, site) == (THOUGHT, "t0") else 0.0
                carries = 0.1 + neuron / 100 if neuron in ANSWERS and site == "answer" else carries
                size = carries if donor == "paired" else 0.0
                effects[f"position@post.{neuron}", "denoise", donor, 1, site] = size + np.linspace(-0.01, 0.01, PAIRS)
    return planted(effects)


def test_the_strongest_neurons_are_shown_and_the_best_thought(tmp_path):
    table = of_neurons()
    (study,) = read_studies([write_run(tmp_path / "run", table)])
    shown = shown_columns(table, include_incorrect=False)
    paired, null = describe_grids(table, shown)
    heads = {column["head"] for column in paired["columns"]}
    assert heads == {THOUGHT, *ANSWERS[-(SHOWN - 1) :]}
    assert paired["columns"] == null["columns"]
    assert (paired["parts"], len(paired["columns"])) == (NEURONS, 2 * SHOWN)

    (found,) = describe_tables(study, [], shown)
    cells = [cell for cell in summarise(table, seed=0).cells if cell.donor == "paired" and cell.head in heads]
    entry = found["grids"][0]
    assert decoded(entry["metrics"]["effect"]["mean"], len(cells)) == pytest.approx(
        [cell.effect.mean for cell in cells], abs=1e-6
    )
    # Over the cells that are shown alone, more of which carry something, q would be smaller.
    q = decoded(entry["q"], len(cells))
    assert q == pytest.approx([np.nan if cell.q is None else cell.q for cell in cells], abs=1e-6, nan_ok=True)


def test_parts_of_a_split_are_told_without_tests(tmp_path):
    """Over neurons that were picked a false discovery rate would be wrong; over all it would take too long."""
    table = with_field(of_neurons(), "entry", [0, 1])
    (study,) = read_studies([write_run(tmp_path / "run", table)])
    fields = [each for each in describe_fields(table, [*range(PAIRS)]) if each["name"] == "entry"]
    whole, *parts = describe_tables(study, fields, shown_columns(table, include_incorrect=False))
    assert len(parts) == 2
    for part in parts:
        paired, null = part["grids"]
        assert null is None
        size = 2 * SHOWN
        assert np.isfinite(decoded(paired["metrics"]["effect"]["mean"], size)).all()
        assert np.isnan(decoded(paired["q"], size)).all()
        assert not decoded(paired["clear"]["effect"], size).any()
    assert decoded(whole["grids"][0]["clear"]["effect"], 2 * SHOWN).any()


def test_heads_are_all_shown():
    table = planted({(f"position@z.{head}", "denoise", "paired", 0, "t0"): [0.1] for head in range(SHOWN + 3)})
    (columns,) = shown_columns(table, include_incorrect=False).values()
    assert len(columns) == SHOWN + 3
    assert [*shown_columns(table, include_incorrect=False)] == [Group("position", "denoise", "paired", "z")]
