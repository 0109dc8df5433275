"""What a notebook prints of our values: one line, and no tensor."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import pytest
import torch

import mechpatch
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair, screen
from mechpatch.pairs.screen import Dropped
from mechpatch.patching.batch import collate
from mechpatch.patching.engine.recording import record
from mechpatch.reprs import short

ARRAYS = ("Tensor", "ndarray", "Table", "HookedTransformer")
SPEC = Spec(experiments=("layer", "relay"), nulls=("self",), memory=2**20)


def dataclasses_of_the_package() -> Iterator[type]:
    for found in pkgutil.walk_packages(mechpatch.__path__, "mechpatch."):
        if found.name != "mechpatch.__main__":
            for each in vars(importlib.import_module(found.name)).values():
                if inspect.isclass(each) and is_dataclass(each) and each.__module__ == found.name:
                    yield each


def is_function(annotation: object) -> bool:
    """A function of arrays holds none, and shows its name."""
    return "Callable[" in str(annotation)


def test_no_dataclass_prints_its_arrays():
    holding = [
        each
        for each in dataclasses_of_the_package()
        if any(name in str(field.type) for field in fields(each) for name in ARRAYS if not is_function(field.type))
    ]
    assert len(holding) > 20
    # What dataclasses make is compiled from text.
    made = {each: inspect.unwrap(each.__repr__).__code__.co_filename == "<string>" for each in holding}
    assert [each.__qualname__ for each in holding if made[each]] == []
    assert inspect.unwrap(Dropped.__repr__).__code__.co_filename == "<string>"


def test_values_show_themselves_in_a_line(demo_model: ThoughtModel, shipped_pairs: list[Pair]):
    layouts = pair_layouts(demo_model, SPEC, shipped_pairs[0])
    experiment = Experiment.prepare(demo_model, SPEC, shipped_pairs)
    recordings = record(demo_model.hooked, demo_model.head, layouts)
    said = {
        type(each).__name__: repr(each)
        for each in (
            demo_model, shipped_pairs[0], shipped_pairs[0].clean, layouts[0], SPEC, experiment, recordings[0],
            collate(layouts), screen(shipped_pairs, []),
        )
    }  # fmt: skip
    for name, text in said.items():
        assert text.startswith(f"{name}("), text
        assert "tensor(" not in text, text
        assert "\n" not in text, text
        assert len(text) < 600, text
    assert said["ThoughtModel"].endswith(
        f"4 layers, 5 latent thoughts, float32 on cpu, fingerprint {demo_model.fingerprint})"
    )
    assert said["Pair"].startswith("Pair('demo-000': ")
    assert "sites bot t0 t1 t2 t3 t4 eot answer" in said["Layout"]
    assert "logits=float32[2×" in said["Recording"]
    assert "pairs=72 items" in said["Experiment"]


def test_a_spec_leaves_its_defaults_out_and_can_be_read_back():
    assert repr(SPEC) == "Spec(experiments=('layer', 'relay'), nulls=('self',), memory=1048576)"
    assert eval(repr(SPEC)) == SPEC


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.zeros(2, 3, dtype=torch.bfloat16), "bfloat16[2×3]"),
        (torch.tensor(1.0), "float32[]"),
        ((1, 2), "(1, 2)"),
        (list(range(100)), "100 items"),
        ([torch.zeros(9)], "1 items"),
        ({"a": 1}, "1 items"),
        ("x" * 100, repr("x" * 40 + "…")),
        (None, "None"),
        (torch.nn.Linear(2, 2), "Linear(in_features=2, out_features=2, bias=True)"),
    ],
)
def test_short_values(value: object, text: str):
    assert short(value) in (text, type(value).__name__)
