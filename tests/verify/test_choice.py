"""Which two pairs are verified on, and where sites are found again."""

import dataclasses
import gc
import weakref

import pytest
from models_under_test import PAIRS, make_pair, model_under_test

from mechpatch.errors import ThoughtError
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.spec import Spec
from mechpatch.thoughts import Layout, Tail
from mechpatch.verify.choice import choose, make_context
from mechpatch.verify.law import NotApplicable
from mechpatch.verify.places import places

TAILS = (Tail(tokens=(1, 2), answer=1), Tail(tokens=(1, 3), answer=1))


def layout(length: int, thoughts: int = 2) -> Layout:
    return Layout(
        prompt=tuple(range(length)),
        n_latents=0,
        thoughts=tuple(range(length - thoughts, length)),
        tails=TAILS,
        bot=None,
        has_eot=False,
        question=1,
    )


@pytest.mark.parametrize(
    ("lengths", "chosen"),
    [
        ([(9, 8), (9, 9), (9, 9), (7, 7)], [1, 3]),  # of equal length; then of another one
        ([(9, 9), (7, 8), (6, 6)], [0, 2]),  # of another length and of equal length on both sides
        ([(9, 9), (9, 9), (7, 8)], [0, 2]),
        ([(9, 9), (9, 9)], [0, 1]),
        ([(9, 8), (7, 8)], [0, 1]),
        ([(9, 8)], [0]),
    ],
)
def test_choice(lengths, chosen):
    assert choose([(layout(clean), layout(corrupted)) for clean, corrupted in lengths], 32) == chosen


def test_pairs_that_do_not_fit_together_are_not_chosen():
    long, short = layout(30), dataclasses.replace(layout(9), tails=(Tail(tokens=(*range(9),), answer=1),) * 2)
    assert choose([(long, long), (short, short), (layout(20), layout(20))], 32) == [0, 2]
    assert choose([(long, long), (short, short)], 39) == [0, 1]


def test_pairs_of_other_sites_do_not_go_together():
    assert choose([(layout(9), layout(9)), (layout(8, 3), layout(8, 3))], 32) == [0]
    with pytest.raises(ThoughtError, match="nothing to verify on"):
        choose([(layout(9), layout(8, 3))], 32)


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [  # text without a prefix is refused: nothing the same would precede both answers
        *((kind, prefix) for kind in ("latent", "placeholder") for prefix in ("The answer is:", "is", "")),
        *(("text", prefix) for prefix in ("The answer is:", "is")),
    ],
)
def test_sites_are_found_again(kind, prefix):
    model = model_under_test("tiny-float64")
    spec = Spec(experiments=("position",), thoughts=kind, prefix=prefix)
    long = make_pair("long", ("Sam has 3 pens.", "Sam has 30 pens."), ("1480", "1490"), ("<<3*5=15>>", "<<3*6=18>>"))
    for pair in (*PAIRS, long):
        for side, laid_out in enumerate(pair_layouts(model, spec, pair)):
            assert places(model, spec, pair, side, laid_out) == laid_out.positions(side)


def test_a_text_that_is_not_given_back_is_not_counted():
    model, spec = model_under_test("tiny-float64"), Spec(experiments=("position",), prefix="Zounds:")
    laid_out, _ = pair_layouts(model, spec, PAIRS[0])
    with pytest.raises(NotApplicable, match="does not give 'Zounds:43' back"):
        places(model, spec, PAIRS[0], 0, laid_out)


def test_what_was_verified_is_let_go_of():
    """A context holds the model and its runs: gigabytes."""
    spec = Spec(experiments=("position",), thoughts="placeholder", n_thoughts=1)
    context = make_context(model_under_test("tiny-float32"), spec, PAIRS[:1])
    assert context.runs[0].logits.isfinite().all()
    assert context.frame.sites
    alive = weakref.ref(context)
    del context
    gc.collect()
    assert alive() is None
