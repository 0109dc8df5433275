"""A planted linear readout is found and noise is not; a split that leaks would be noticed."""

import sys

import numpy as np
import pyarrow as pa
import pytest
from planted import PREFIX, Circuit, planted_model, planted_pairs

import mechpatch as mp
from mechpatch.errors import SpecError
from mechpatch.readings.probes import out_of_fold
from mechpatch.stats.probes import summarise_probes
from mechpatch.views.words.probes import NO_USE, probe_lines

PAIRS, WIDTH = 30, 12
GROUPS = [f"pair-{index}" for index in range(PAIRS) for _ in (0, 1)]


def test_a_planted_readout_is_found_and_noise_is_not():
    random = np.random.default_rng(0)
    truth = random.integers(0, 40, 2 * PAIRS)
    noise = random.standard_normal((2 * PAIRS, WIDTH))
    planted = noise + 0.3 * truth[:, None] * random.standard_normal(WIDTH)
    texts, parity = [str(each) for each in truth], [str(each % 2) for each in truth]
    with_parity = noise + 6.0 * (truth % 2)[:, None] * random.standard_normal(WIDTH)
    assert out_of_fold(planted, texts, GROUPS, True)[1].mean() > 0.9
    assert out_of_fold(noise, texts, GROUPS, True)[1].mean() < 0.2
    assert out_of_fold(with_parity, parity, GROUPS, False)[1].mean() > 0.9
    assert 0.2 < out_of_fold(noise, parity, GROUPS, False)[1].mean() < 0.75


def test_a_split_that_leaks_would_be_noticed():
    """The two questions of a pair are alike in vector and label, and nothing else tells the label."""
    random = np.random.default_rng(0)
    vectors = np.repeat(random.standard_normal((PAIRS, 200)), 2, axis=0)
    labels = [str(each) for each in np.repeat(random.integers(0, 2, PAIRS), 2)]
    whole = out_of_fold(vectors, labels, GROUPS, False)[1].mean()
    leaking = out_of_fold(vectors, labels, [str(at) for at in range(2 * PAIRS)], False)[1].mean()
    assert whole < 0.75
    assert leaking > 0.9


def test_a_probe_sees_what_a_lens_does_not_and_neither_is_a_cause():
    """Of the planted circuit a probe finds the number at the decoy's thought and where the circuit put it."""
    circuit = Circuit(thought=0, write=1, decoy=2)
    reading = mp.read(
        planted_model(circuit), planted_pairs(16), "probe", targets=("step1",), thoughts="text", prefix=PREFIX
    )
    found = {cell.place for cell in reading.summary.cells if cell.clear}
    written = {("resid_post", layer, site) for layer in (1, 2, 3) for site in ("t0", "t2")}
    assert {place for place in found if place[2] != "answer"} == written
    assert "found at 6 of 12 places of thoughts" in reading.words
    assert NO_USE in reading.words
    with pytest.raises(SpecError, match="probes need a target that 10 pairs have; 9 pairs were read"):
        mp.read(planted_model(circuit), planted_pairs(9), "probe", thoughts="text", prefix=PREFIX)
    missing = {"targets": ("step9",), "thoughts": "text", "prefix": PREFIX}
    few = "--targets step9: fewer than 10 of the {} pairs that are read have it; {}"
    with pytest.raises(SpecError, match=few.format(16, "expected some of step1")):
        mp.read(planted_model(circuit), planted_pairs(16), "probe", **missing)
    with pytest.raises(SpecError, match=few.format(9, "and so with every target: read more pairs")):
        mp.read(planted_model(circuit), planted_pairs(9), "probe", **missing)


def test_without_scikit_learn_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(SpecError, match=r"pip install 'mechpatch\[probes\]'"):
        out_of_fold(np.zeros((4, 2)), ["1", "2", "3", "4"], ["a", "a", "b", "b"], True)


def table(score: float, control: float, pairs: int = 12, wrong: int = 0) -> pa.Table:
    spread = np.linspace(-0.05, 0.05, pairs)
    return pa.Table.from_pylist(
        [
            {"pair_index": pair, "both_correct": pair >= wrong, "side": side, "hook": "resid_post", "layer": 1}
            | {"site": "t0", "target": "parity2", "numeric": False}
            | {"score": score + spread[pair], "control": control}
            for pair in range(pairs)
            for side in ("clean", "corrupted")
        ]
    )


def said(*args, **options):
    return probe_lines(summarise_probes(table(*args, **options)))


def test_only_what_exceeds_shuffled_labels_is_found():
    assert "The parity of step 2 is found at 1 of 1 places of thoughts, best at layer 1, t0" in said(0.9, 0.5).found
    assert "is found at no thought clearly beyond shuffled labels" in said(0.9, 0.9).found
    assert "is found at no thought" in said(0.5, 0.9).found
    few = said(0.9, 0.5, pairs=5)
    assert "is found at no thought" in few.found
    assert "Fewer than 6 pairs are scored" in few.distrust
    assert (
        "2 of 12 pairs that the model gets wrong trained probes and are not scored" in said(0.9, 0.5, wrong=2).distrust
    )
    assert "not scored" not in said(0.9, 0.5).distrust
    assert "No pair is answered right" in said(0.9, 0.5, wrong=12).found
