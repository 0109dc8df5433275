import pytest
import torch
from checkpoints import write_state
from helpers import assert_same

from mechpatch.errors import CheckpointError
from mechpatch.models.files import account, read_tensors, refusing


def test_account_lists_every_kind_of_fault_at_once():
    found = {"both": torch.ones(2, 3), "over": torch.ones(1), "bits": torch.ones(4, dtype=torch.int8)}
    expected = {"both": torch.ones(3, 2), "gone": torch.ones(5), "bits": torch.ones(4)}
    with pytest.raises(CheckpointError) as caught:
        account("file", found, expected, "Look closer")
    assert str(caught.value).splitlines() == [
        "file: 4 tensors do not fit:",
        "  missing: gone 5",
        "  unexpected: over 1",
        "  quantised: bits is torch.int8, expected floating point",
        "  wrong shape: both is 2×3, expected 3×2",
        "Look closer. Unexpected ones that you know to be of no use are left out with --ignore-keys PREFIX",
    ]


def test_account_lets_what_fits_pass():
    account("file", {"a": torch.ones(2, dtype=torch.bfloat16)}, {"a": torch.empty(2, device="meta")}, "")


def test_a_long_list_is_cut():
    with pytest.raises(CheckpointError, match=r"25 tensors(?s:.*) … and 5 more\n"):
        account("file", {}, {f"w{i}": torch.ones(1) for i in range(25)}, "")


def test_refusing_keeps_the_cause_and_its_own_errors():
    with pytest.raises(CheckpointError, match="where: what: KeyError: 'x'") as caught, refusing("where", "what"):
        {}["x"]
    assert isinstance(caught.value.__cause__, KeyError)
    own = CheckpointError("said already")
    with pytest.raises(CheckpointError) as caught, refusing("where", "what"):
        raise own
    assert caught.value is own
    with pytest.raises(MemoryError), refusing("where", "what"):
        raise MemoryError


@pytest.mark.parametrize("name", ["x.safetensors", "x.bin"])
def test_floating_tensors_are_cast_and_others_kept(tmp_path, name):
    state = {"a": torch.randn(3, 4), "b": torch.randn(2).to(torch.bfloat16), "n": torch.arange(3), "s": torch.ones(1)}
    found = read_tensors(write_state(tmp_path / name, state), torch.float64, skip={"s"})
    assert found.keys() == {"a", "b", "n"}
    for each in found:
        assert_same(found[each], state[each].double() if each != "n" else state[each])


@pytest.mark.parametrize("name", ["x.safetensors", "x.bin"])
def test_writing_to_a_tensor_leaves_the_file_alone(tmp_path, name):
    file = write_state(tmp_path / name, {"a": torch.ones(64, 64)})
    before = file.read_bytes()
    read_tensors(file, torch.float32)["a"].zero_()
    assert file.read_bytes() == before
    assert_same(read_tensors(file, torch.float32)["a"], torch.ones(64, 64))
