import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mechpatch
from mechpatch.storage import tensor_keys
from mechpatch.storage.keys import canonical_json, digest, file_digest
from mechpatch.storage.tensor_keys import tensor_digest

VALUE = {"b": (1, 2.5, None), "a": {"é": [True, "x"]}}
FINGERPRINT = "45b193bc1626313f"


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"w": torch.randn(3, 4, generator=generator), "b": torch.arange(5)}


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_key_order_does_not_matter(value: dict[str, int | str]):
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


def test_a_tuple_reads_as_a_list():
    assert canonical_json((1, 2)) == "[1,2]"


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf]])
def test_nan_and_infinity_are_refused(value: object):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"x": value})


@pytest.mark.parametrize("value", [Path("x"), {1, 2}, torch.zeros(1)])
def test_what_json_cannot_hold_is_refused(value: object):
    with pytest.raises(TypeError):
        canonical_json({"x": value})


def test_a_fingerprint_is_the_same_in_every_process():
    child = f"from mechpatch.storage.keys import digest; import sys; sys.stdout.write(digest({VALUE!r}))"
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(mechpatch.__file__ or "").parents[1])}
    found = subprocess.run(
        [sys.executable, "-c", child], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert found == digest(VALUE) == FINGERPRINT


@pytest.mark.parametrize("other", [{"a": 1.0}, {"a": True}, {"a": "1"}, {"b": 1}, {"a": [1]}, {}])
def test_different_values_have_different_fingerprints(other: object):
    assert digest(other) != digest({"a": 1})


def test_order_strides_and_chunks_do_not_change_a_tensor_fingerprint(monkeypatch: pytest.MonkeyPatch):
    expected = tensor_digest(weights().items())
    assert tensor_digest(reversed(weights().items())) == expected
    strided = {name: torch.stack([tensor, tensor], -1)[..., 1] for name, tensor in weights().items()}
    assert not any(tensor.is_contiguous() for tensor in strided.values())
    assert tensor_digest(strided.items()) == expected
    monkeypatch.setattr(tensor_keys, "_CHUNK", 17)
    assert tensor_digest(weights().items()) == expected


def edits() -> dict[str, dict[str, torch.Tensor]]:
    new = weights()
    flipped = new["w"].clone()
    flipped.view(torch.uint8)[-1, -1] ^= 1
    return {
        "one bit": new | {"w": flipped},
        "shape": new | {"w": new["w"].reshape(4, 3)},
        "dtype of equal bytes": new | {"w": new["w"].view(torch.int32)},
        "transposed": new | {"w": new["w"].T},
        "name": {"w": new["w"], "c": new["b"]},
        "names exchanged": {"w": new["b"], "b": new["w"]},
        "one fewer": {"w": new["w"]},
    }


@pytest.mark.parametrize("edit", edits())
def test_every_edit_changes_a_tensor_fingerprint(edit: str):
    assert tensor_digest(edits()[edit].items()) != tensor_digest(weights().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.bool, torch.int8, torch.uint8])
@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (2, 3)])
def test_every_dtype_and_shape_has_its_own_fingerprint(dtype: torch.dtype, shape: tuple[int, ...]):
    tensor = torch.ones(shape, dtype=dtype)
    assert tensor_digest([("x", tensor)]) == tensor_digest([("x", tensor.clone())])
    assert tensor_digest([("x", tensor)]) != tensor_digest([("x", tensor.float())])


def test_a_parameter_has_the_fingerprint_of_its_values():
    tensor = weights()["w"]
    assert tensor_digest([("w", torch.nn.Parameter(tensor))]) == tensor_digest([("w", tensor)])


def test_no_tensors_have_a_fingerprint():
    assert tensor_digest([]) == digest([])


def test_a_file_fingerprint_is_what_sha256sum_prints(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
