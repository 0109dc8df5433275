"""The methods paragraph and the citation of a figure say what the run's own files say."""

import re

import pytest
from records import planted
from run_directories import write_run

from mechpatch.families import FAMILIES
from mechpatch.views.report.citations import PAPERS, bibtex
from mechpatch.views.report.methods import describe_methods
from mechpatch.views.report.studies import read_studies


def test_methods_name_what_was_written_where_into_how_many_pairs_beside_which_controls(tmp_path):
    cells = [("position", "paired"), ("position", "other_pair"), ("position", "self"), ("position@attn_out", "paired")]
    effects = {
        (experiment, "denoise", donor, layer, site): [0.9] * 7
        for experiment, donor in cells
        for layer in (0, 1)
        for site in ("t0", "t1", "eot")
    }
    (study,) = read_studies([write_run(tmp_path / "run", planted(effects))])
    methods = describe_methods(study)
    said = methods["written"]["resid_post position denoise"]
    assert "clean vectors into the corrupted run (residual stream after the block, resid_post)" in said
    assert "one layer and position at a time, at 2 layers × 3 places of 7 pairs" in said
    assert said.endswith("As controls, we wrote vectors of another pair at the same places.")
    assert methods["written"]["attn_out position denoise"].endswith("No control was run.")
    assert "McNemar" in methods["measured"]["switched"]
    assert "McNemar" not in methods["measured"]["kl_divergence"]
    assert "(nats)" in methods["measured"]["kl_divergence"]
    for fact in (
        "codi",
        "float32 on cpu",
        "0123456789abcdef",
        "Of 7 pairs (questions.json, abababababababab)",
        "mechpatch 0.1.0",
    ):
        assert fact in methods["rest"], fact


@pytest.mark.parametrize("name", FAMILIES)
def test_a_citation_has_one_whole_entry_for_each_work(name):
    found = bibtex("1.2.3", [name, name])
    papers = FAMILIES[name].papers
    assert set(papers) <= PAPERS.keys()
    assert len(re.findall(r"^@", found, re.MULTILINE)) == 2 + len(papers)
    assert "version = {1.2.3}" in found
    assert all(f"arXiv:{paper}" in found for paper in papers)
    assert found.count("{") == found.count("}")
