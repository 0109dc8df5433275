"""Text thoughts: which token of a written chain is the site of a step, and which chains are refused."""

from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from mechpatch.errors import ThoughtError
from mechpatch.models.load import load_tokenizer
from mechpatch.thoughts import Layout, text_layout
from mechpatch.thoughts.text import step_ends

DEMO = load_tokenizer("demo")


def characters(*merges: tuple[str, str], drop: str = "") -> PreTrainedTokenizerFast:
    """One token for each character, but for the merges; characters to drop are not in the vocabulary."""
    pieces = [c for c in "abcdehilnorstwA 0123456789.:=+-<>\n" if c not in drop]
    pieces += ["".join(merge) for merge in merges]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=list(merges)))
    )


def lay(
    cot: str | None,
    tokenizer: PreTrainedTokenizerFast = DEMO,
    separator: str = "",
    indices: Sequence[int] | None = None,
) -> Layout:
    question = "Sam has 3 pens." if tokenizer is DEMO else "a 3"
    return text_layout(tokenizer, question, cot, ("8", "9"), prefix="is:", separator=separator, indices=indices)


def words(ids: Sequence[int], tokenizer: PreTrainedTokenizerFast = DEMO) -> list[str]:
    return [tokenizer.backend_tokenizer.id_to_token(each) or "" for each in ids]


def sites(layout: Layout, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """The token at each thought."""
    return words([layout.prompt[position] for position in layout.thoughts], tokenizer)


@pytest.mark.parametrize(
    ("cot", "ends"),
    [
        ("<<3*5=15>><<15+3=18>>", [10, 21]),
        ("He has <<1+1=2>> 2. Then\n<<2+1=3>> 3.", [16, 34]),  # lines do not count where there are calculations
        ("first\nsecond", [5, 12]),
        ("first  \n\n  \nsecond\n", [5, 18]),  # neither blank lines nor trailing space
        ("one", [3]),
        ("a < b\nc > d", [5, 11]),
        ("<<1+1=2", [7]),
        ("one\r\ntwo", [3, 8]),
    ],
)
def test_ends_of_steps(cot: str, ends: list[int]):
    assert step_ends(cot) == ends


def test_the_whole_sequence():
    layout = lay("<<3*5=15>><<15+3=18>>")
    assert " ".join(words(layout.prompt)) == "<s> Sam has 3 pens . << 3 * 5 = 15 >> << 15 + 3 = 18 >>"
    assert layout.thoughts == (12, 19)
    assert sites(layout, DEMO) == [">>", ">>"]
    assert layout.sites == ("t0", "t1", "answer")
    assert (layout.bot, layout.has_eot, layout.n_latents, layout.question) == (None, False, 0, 1)
    assert words(layout.tails[1].tokens) == ["is", ":", "9"]
    assert layout.positions(0) == (12, 19, 21)


def test_the_separator_moves_the_sites():
    tokenizer = characters()
    plain, moved = lay("<<1+1=2>>b<<2+1=3>>", tokenizer), lay("<<1+1=2>>b<<2+1=3>>", tokenizer, separator="\n\n")
    assert moved.thoughts == tuple(position + 2 for position in plain.thoughts)
    assert sites(plain, tokenizer) == sites(moved, tokenizer) == [">", ">"]
    newline = tokenizer.convert_tokens_to_ids("\n")
    assert moved.tails[0].tokens == (newline, newline, *plain.tails[0].tokens)
    assert moved.tails[0].answer == plain.tails[0].answer + 2


def test_a_token_that_reaches_past_the_step_is_its_site():
    tokenizer = characters((">", ">"), (">>", "\n"))
    layout = lay("<<1+1=2>>\n<<2+1=3>>", tokenizer)
    assert sites(layout, tokenizer) == [">>\n", ">>"]
    lines = lay("1+1=2\n2+1=3", characters())
    assert sites(lines, characters()) == ["2", "3"]


def test_indices_of_the_user():
    layout = lay("<<3*5=15>><<15+3=18>>", indices=[5, 12])
    assert sites(layout, DEMO) == ["15", "18"]
    assert layout.sites == ("t0", "t1", "answer")


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([5, 14], r"token indices \[14\] lie outside the chain of 14 tokens of 'Sam has 3 pens\.'"),
        ([-1], r"token indices \[-1\] lie outside"),
        ([5, 5], r"sites \[5, 5\] of .* expected one or more, distinct and in order"),
        ([6, 5], r"sites \[6, 5\] of .* distinct and in order"),
        ([], r"sites \[\] of .* expected one or more"),
    ],
)
def test_wrong_indices_are_named(indices: list[int], message: str):
    with pytest.raises(ThoughtError, match=message):
        lay("<<3*5=15>><<15+3=18>>", indices=indices)


@pytest.mark.parametrize("cot", [None, "", " \n "])
def test_a_chain_is_needed(cot: str | None):
    with pytest.raises(ThoughtError, match=r"'Sam has 3 pens\.' has no chain of thought; text thoughts need `cot`"):
        lay(cot)


def test_two_steps_in_one_token_are_refused():
    merging = characters(("2", "\n"), ("2\n", "3"))
    with pytest.raises(ThoughtError, match="Two steps may share a token"):
        lay("2\n3", merging)


def test_a_dropped_end_is_refused():
    with pytest.raises(ThoughtError, match="the tokenizer drops the end of the last step of '<<1=1>>'"):
        lay("<<1=1>>", characters(drop=">"))
