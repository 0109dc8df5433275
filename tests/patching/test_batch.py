"""Layouts as padded tensors: against tensors written by hand, and against the tokens of each layout."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mechpatch.errors import ThoughtError
from mechpatch.patching import collate
from mechpatch.thoughts import Layout, Tail


def layout(
    prompt: list[int], tails: list[list[int]], answer: int = 2, n_latents: int = 2, thoughts: tuple[int, ...] = ()
) -> Layout:
    """Thoughts are the last two positions before the tail, unless they are given; bot is the one before them."""
    end = len(prompt) + n_latents
    first, second = (Tail(tokens=tuple(tokens), answer=answer) for tokens in tails)
    return Layout(
        prompt=tuple(prompt),
        n_latents=n_latents,
        thoughts=thoughts or (end - 2, end - 1),
        tails=(first, second),
        bot=end - 3,
        has_eot=True,
        question=0,
    )


def test_two_questions_of_different_lengths():
    batch = collate(
        [layout([11, 12, 13, 14], [[50, 51, 61, 62], [50, 51, 63]]), layout([21, 22], [[50, 51, 64], [50, 51, 65]])]
    )
    assert batch.prompt.tolist() == [[11, 12, 13, 14], [0, 0, 21, 22]]
    assert batch.real.tolist() == [[True] * 4, [False, False, True, True]]
    assert batch.tails.tolist() == [[[50, 51, 61, 62], [50, 51, 63, 0]], [[50, 51, 64, 0], [50, 51, 65, 0]]]
    assert batch.sites == ("bot", "t0", "t1", "eot", "answer")
    assert batch.columns.tolist() == [[[3, 4, 5, 6, 7]] * 2] * 2
    # Column 7 holds the last token of the prefix; an answer that has ended repeats its last column.
    assert batch.reads.tolist() == [[[7, 8, 9], [7, 8, 8]], [[7, 8, 8], [7, 8, 8]]]
    assert batch.targets.tolist() == [[[61, 62, -1], [63, -1, -1]], [[64, -1, -1], [65, -1, -1]]]
    assert (batch.size, batch.n_latents, batch.tail_start) == (2, 2, 6)


def test_sites_of_a_prompt_move_with_the_padding():
    tails = [[6, 7, 8], [6, 7, 9]]
    batch = collate(
        [
            layout([1, 2, 3, 4, 5], tails, n_latents=0, thoughts=(1,)),
            layout([1, 2, 3], tails, n_latents=0, thoughts=(0,)),
        ]
    )
    assert batch.sites == ("bot", "t0", "eot", "answer")
    assert batch.columns[:, 0].tolist() == [[2, 1, 5, 6], [2, 2, 5, 6]]


lengths = st.tuples(st.integers(3, 9), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))


@given(st.lists(lengths, min_size=1, max_size=5), st.integers(0, 4))
@settings(max_examples=50)
def test_every_column_holds_the_token_that_its_layout_says(sizes: list[tuple[int, int, int, int]], n_latents: int):
    ids = iter(range(1, 10_000))  # every token its own, so that no two columns can be confused

    def take(count: int) -> list[int]:
        return [next(ids) for _ in range(count)]

    layouts = []
    for prompt, prefix, first, second in sizes:
        before, prompts = take(prefix + 1), take(prompt)
        tails = [before + take(first), before + take(second)]
        layouts.append(layout(prompts, tails, answer=prefix + 1, n_latents=max(2, n_latents) if n_latents else 0))
    batch = collate(layouts)
    for row, each in enumerate(layouts):
        latents = [-2] * each.n_latents
        for answer, tail in enumerate(each.tails):
            padded = torch.tensor([*batch.prompt[row].tolist(), *latents, *batch.tails[row, answer].tolist()])
            tokens = torch.tensor([*each.prompt, *latents, *tail.tokens])
            assert torch.equal(padded[batch.columns[row, answer]], tokens[list(each.positions(answer))])
            count = len(tail.answer_tokens)
            assert batch.targets[row, answer, :count].tolist() == list(tail.answer_tokens)
            assert (batch.targets[row, answer, count:] == -1).all()
            assert padded[batch.reads[row, answer, :count] + 1].tolist() == list(tail.answer_tokens)
            assert (padded[batch.reads[row, answer, count:]] == tail.tokens[-1]).all()
        assert batch.prompt[row][batch.real[row]].tolist() == list(each.prompt)


@pytest.mark.parametrize(
    "layouts",
    [
        [],
        [layout([1, 2, 3], [[4, 5, 6]] * 2, n_latents=2), layout([1, 2, 3], [[4, 5, 6]] * 2, n_latents=0)],
        [layout([1, 2, 3], [[4, 5, 6]] * 2), layout([1, 2, 3], [[4, 5]] * 2, answer=1)],  # without prefix, no eot site
    ],
)
def test_questions_with_different_sites_do_not_share_a_batch(layouts: list[Layout]):
    with pytest.raises(ThoughtError, match="the same sites, found"):
        collate(layouts)
