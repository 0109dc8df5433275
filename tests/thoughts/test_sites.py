"""Names of sites, as they are asked for and as they are given back."""

import pytest

from mechpatch.errors import ThoughtError
from mechpatch.thoughts import select_sites, thought_sites

LATENT = ("bot", "t0", "t1", "t2", "eot", "answer")
TEXT = ("t0", "t1", "answer")


@pytest.mark.parametrize(
    ("names", "available", "expected"),
    [
        (["all"], LATENT, LATENT),
        (["thoughts"], LATENT, ("t0", "t1", "t2")),
        (["answer", "bot"], LATENT, ("bot", "answer")),
        (["t1", "thoughts", "t1"], LATENT, ("t0", "t1", "t2")),
        (["t2", "eot", "t0"], LATENT, ("t0", "t2", "eot")),
        (["all"], TEXT, TEXT),
        ([], LATENT, ()),
    ],
)
def test_sites_come_in_the_order_of_the_sequence(
    names: list[str], available: tuple[str, ...], expected: tuple[str, ...]
):
    assert select_sites(names, available) == expected


@pytest.mark.parametrize("name", ["t3", "T0", "", "t-1", "eos"])
def test_an_unknown_name_is_quoted_with_what_there_is(name: str):
    with pytest.raises(ThoughtError, match=f"no site '{name}' here; expected thoughts, all, or some of bot, t0, t1"):
        select_sites(["bot", name], LATENT)
    with pytest.raises(ThoughtError, match="no site 'bot' here; expected thoughts, all, or some of t0, t1, answer"):
        select_sites(["bot"], TEXT)


def test_thoughts_are_told_from_landmarks():
    assert thought_sites(("bot", "t0", "t10", "tail", "eot", "answer")) == ("t0", "t10")
