"""Placeholder thoughts: copies of one token in the prompt, and nothing that is fed back."""

import pytest

from mechpatch.errors import ThoughtError
from mechpatch.models.load import load_tokenizer
from mechpatch.thoughts import Layout, placeholder_layout

TOKENIZER = load_tokenizer("demo")
PAD, BOT, EOT = 1000, 1001, 1002


def lay(count: int = 3, bot: int | None = BOT, eot: int | None = EOT) -> Layout:
    answers = ("148", "14")
    return placeholder_layout(
        TOKENIZER, "Sam has 3 pens.", answers, prefix="The answer is:", count=count, token=PAD, bot=bot, eot=eot
    )


def test_the_whole_sequence():
    layout = lay()
    assert layout.prompt == (*TOKENIZER.encode("Sam has 3 pens."), BOT, PAD, PAD, PAD)
    assert layout.n_latents == 0
    assert [layout.prompt[position] for position in layout.thoughts] == [PAD] * 3
    assert all(tail.tokens[0] == EOT for tail in layout.tails)
    sites = dict(zip(layout.sites, layout.positions(0), strict=True))
    assert sites == {"bot": 6, "t0": 7, "t1": 8, "t2": 9, "eot": 10, "answer": 14}


@pytest.mark.parametrize(
    ("bot", "eot", "sites"),
    [
        (None, None, ("t0", "t1", "t2", "answer")),
        (BOT, None, ("bot", "t0", "t1", "t2", "answer")),
        (None, EOT, ("t0", "t1", "t2", "eot", "answer")),
    ],
)
def test_bot_and_eot_are_for_models_that_have_them(bot: int | None, eot: int | None, sites: tuple[str, ...]):
    layout = lay(bot=bot, eot=eot)
    assert layout.sites == sites
    assert [layout.prompt[position] for position in layout.thoughts] == [PAD] * 3
    assert (EOT in layout.tails[0].tokens) == (eot is not None)


def test_at_least_one():
    with pytest.raises(ThoughtError, match="0 placeholder thoughts were asked for; at least 1 is needed"):
        lay(count=0)
