"""Latent thoughts: question, bot, K positions without tokens, eot, prefix, answer."""

import pytest

from mechpatch.errors import ThoughtError
from mechpatch.models.load import load_tokenizer
from mechpatch.thoughts import Layout, latent_layout

TOKENIZER = load_tokenizer("demo")
BOT, EOT = 1001, 1002


def lay(question: str = "Sam has 3 pens.", n_latents: int = 3, prefix: str = "The answer is:") -> Layout:
    answers = ("148", "14")
    return latent_layout(TOKENIZER, question, answers, prefix=prefix, n_latents=n_latents, bot=BOT, eot=EOT)


def test_the_whole_sequence():
    layout = lay()
    assert TOKENIZER.convert_ids_to_tokens(list(layout.prompt[:-1])) == ["<s>", "Sam", "has", "3", "pens", "."]
    assert layout.prompt[-1] == BOT
    assert layout.question == 1
    assert layout.n_latents == 3
    for tail, answer in zip(layout.tails, (["14", "##8"], ["14"]), strict=True):
        assert tail.tokens[0] == EOT
        assert TOKENIZER.convert_ids_to_tokens(list(tail.tokens[1:])) == ["The", "answer", "is", ":", *answer]
        assert TOKENIZER.convert_ids_to_tokens(list(tail.answer_tokens)) == answer
    sites = dict(zip(layout.sites, layout.positions(0), strict=True))
    assert sites == {"bot": 6, "t0": 7, "t1": 8, "t2": 9, "eot": 10, "answer": 14}


def test_sites_keep_their_names_when_the_question_grows():
    short, long = lay(), lay("Sam has 3 boxes of 5 pens. Sam finds 28 more.")
    assert short.sites == long.sites
    shift = len(long.prompt) - len(short.prompt)
    assert shift > 0
    assert [position + shift for position in short.positions(0)] == list(long.positions(0))


def test_one_thought_and_none():
    assert lay(n_latents=1).sites == ("bot", "t0", "eot", "answer")
    with pytest.raises(ThoughtError, match="0 latent thoughts were asked for; at least 1 is needed"):
        lay(n_latents=0)


def test_without_a_prefix_eot_predicts_the_answer():
    layout = lay(prefix="")
    assert layout.sites == ("bot", "t0", "t1", "t2", "answer")
    assert layout.positions(0)[-1] == len(layout.prompt) + 3
