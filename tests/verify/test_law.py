"""The worst difference: of any shape, piece by piece as at once, and never lost in a number that is none."""

import math

import pytest
import torch

from mechpatch.verify import law
from mechpatch.verify.law import NotApplicable, Worst


@pytest.mark.parametrize("piece", [1, 6, 2**22])
@pytest.mark.parametrize("shape", [(), (1,), (7, 5), (5, 4, 3)])
def test_the_largest_difference_is_found_wherever_it_is(shape, piece, monkeypatch):
    monkeypatch.setattr(law, "PIECE", piece)
    expected = torch.arange(float(math.prod(shape))).reshape(shape)
    for place in {0, expected.numel() // 2, expected.numel() - 1}:
        found = expected.clone()
        found.view(-1)[place] += 2
        worst = Worst()
        worst.show(found, expected, "here", unit=4.0)
        worst.show(expected, expected, "elsewhere")
        assert (worst.deviation, worst.where) == (0.5, "here")
        found.view(-1)[place] = math.nan
        worst.show(found, expected, "nan")
        assert (worst.deviation, worst.where) == (math.inf, "nan")


def test_views_with_their_axes_in_another_order_are_compared():
    expected = torch.randn(4, 5, 6).transpose(0, 2)
    worst = Worst()
    worst.show(expected.contiguous() + 1, expected, "")
    assert worst.deviation == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_nothing_is_no_difference_and_another_shape_is_infinitely_far(shape):
    worst = Worst()
    with pytest.raises(NotApplicable):
        worst.measured(0.0)
    worst.show(torch.empty(shape), torch.empty(shape), "")
    assert worst.measured(0.0).deviation == 0
    worst.show(torch.empty(shape), torch.zeros(1), "shape")
    assert worst.deviation == math.inf
