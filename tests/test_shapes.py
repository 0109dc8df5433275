"""What the tests check in passing, of every call: types in the whole package, and shapes of arrays."""

from typing import Any

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError

from mechpatch.formats import percent
from mechpatch.metrics import kl_divergence
from mechpatch.patching.patch import Patch, RelayStep
from mechpatch.views.words.claims import listed

WRONG: Any = "half"


def test_a_wrong_type_is_noticed_where_there_is_no_array():
    with pytest.raises(BeartypeCallHintViolation, match="'half'"):
        percent(WRONG)
    with pytest.raises(BeartypeCallHintViolation, match="'half'"):
        Patch(WRONG, (0,))


def test_which_item_of_a_list_is_looked_at_is_no_chance():
    wrong_first: Any = [3, "a"]
    wrong_last: Any = ["a", 3]
    for _ in range(20):
        assert listed(wrong_last) == "a and 3"
        with pytest.raises(BeartypeCallHintViolation):
            listed(wrong_first)


def test_a_wrong_shape_is_noticed_where_there_is_one():
    logits, mask = torch.zeros(2, 3, 5), torch.ones(2, 3, dtype=torch.bool)
    assert not kl_divergence(logits, logits, mask).any()
    with pytest.raises(TypeCheckError, match="'baseline'"):
        kl_divergence(logits, logits[:, :2], mask)
    with pytest.raises(TypeCheckError, match="'logits'"):
        RelayStep(torch.zeros(4, 2, 8), torch.zeros(4, 5))
