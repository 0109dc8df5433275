"""Where answers, questions and sites lie, for tokenizers that cut numbers in different ways."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_tokenizer import byte_level_tokenizer, llama3_tokenizer
from tokenizers import Tokenizer, decoders, models
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from mechpatch.errors import ThoughtError
from mechpatch.models.load import load_tokenizer
from mechpatch.thoughts import Layout, Tail
from mechpatch.thoughts.layout import answer_tails, before_answer, encode_question

CHARACTERS = "abcdefghijklmnopqrstuvwxyzTA 0123456789.,:-<>=+*\n"
PREFIX = "The answer is:"


def character_tokenizer(*merges: tuple[str, str], template: str = "$A") -> PreTrainedTokenizerFast:
    """One token for each character, but for the merges; nothing is split off beforehand, so they reach anywhere."""
    pieces = ["<s>", "</s>", *CHARACTERS, *("".join(merge) for merge in merges)]
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=list(merges)))
    backend.decoder = decoders.Fuse()
    backend.post_processor = TemplateProcessing(single=template, special_tokens=[("<s>", 0), ("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


DEMO = load_tokenizer("demo")
PLAIN = character_tokenizer()
SPACE = character_tokenizer((" ", "1"), (" ", "2"))
MINUS = character_tokenizer((" ", "-"))  # as LLaMA-3 does
WORDS = character_tokenizer((" ", "T"), (" T", "o"), (" To", "m"), (" ", "n"), (" n", "o"), (" ", "A"))
COLON = character_tokenizer((":", " "), (": ", "-"), (": ", "4"))


def cut(tokenizer: PreTrainedTokenizerFast, tail: Tail) -> tuple[list[str], list[str]]:
    """Tokens of a tail, before the answer and in it."""
    tokens = [tokenizer.backend_tokenizer.id_to_token(token) or "" for token in tail.tokens]
    return tokens[: tail.answer], tokens[tail.answer :]


@pytest.mark.parametrize(
    ("tokenizer", "answers", "before", "first", "second"),
    [
        (DEMO, ("148", "14"), "The answer is :", "14 ##8", "14"),
        (DEMO, ("-3", "3.5"), "The answer is :", "- 3", "3 . 5"),
        (DEMO, ("1234", "5"), "The answer is :", "12 ##3 ##4", "5"),
        (DEMO, ("apples", "times as many"), "The answer is :", "apples", "times as many"),
        (DEMO, ("1,234", "Tom"), "The answer is :", "1 <unk> 23 ##4", "Tom"),
        (PLAIN, ("18", "7"), "s : ␣", "1 8", "7"),
        (PLAIN, ("Tom", "an"), "s : ␣", "T o m", "a n"),
        (PLAIN, ("-3.5", "1.2"), "s : ␣", "- 3 . 5", "1 . 2"),
        # The space is part of the first answer token.
        (SPACE, ("18", "25"), "i s :", "␣1 8", "␣2 5"),
        (MINUS, ("-3", "-4"), "i s :", "␣- 3", "␣- 4"),
        # What precedes one answer is not a token of the other's prefix: both are read from the earlier place on.
        (SPACE, ("18", "7"), "i s :", "␣1 8", "␣ 7"),
        (MINUS, ("3", "-3"), "i s :", "␣ 3", "␣- 3"),
        (COLON, ("3", "-3"), "␣ i s", ":␣ 3", ":␣- 3"),
        (COLON, ("-3", "45"), "␣ i s", ":␣- 3", ":␣4 5"),
        (COLON, ("3", "5"), "i s :␣", "3", "5"),
        (WORDS, ("Tom", "Ann"), "i s :", "␣Tom", "␣A n n"),
        (WORDS, ("not", "no"), "i s :", "␣no t", "␣no"),
    ],
)
def test_the_answers_tokens(
    tokenizer: PreTrainedTokenizerFast, answers: tuple[str, str], before: str, first: str, second: str
):
    found = [cut(tokenizer, tail) for tail in answer_tails(tokenizer, [], PREFIX, answers)]
    expected = [[piece.replace("␣", " ") for piece in text.split()] for text in (before, first, second)]
    assert found[0][0] == found[1][0]
    assert found[0][0][-len(expected[0]) :] == expected[0]
    assert [answer for _, answer in found] == expected[1:]


@pytest.mark.parametrize(
    ("prefix", "before"),
    [
        ("is:", "is: "),
        ("is: ", "is: "),
        ("is:  ", "is: "),
        (" is:", " is: "),
        ("is:\n", "is:\n"),
        ("is:\t", "is:\t"),
        ("is: \n ", "is: \n "),
        ("\n", "\n"),
        ("  ", ""),
        ("", ""),
    ],
)
def test_white_space_that_a_prefix_ends_in_is_kept_but_for_blanks(prefix: str, before: str):
    assert before_answer(prefix) == before


def test_a_line_break_before_the_answer_is_a_token_where_the_tokenizer_has_one():
    pieces = ["is", ":", ":\n", "\n", " ", " -", "-", "1", "8", "18", "7"]
    byte_level = byte_level_tokenizer({piece.encode(): rank for rank, piece in enumerate(pieces)})
    tails = answer_tails(byte_level, [], "is:\n", ("18", "-7"))
    assert [cut(byte_level, tail) for tail in tails] == [(["is", ":Ċ"], ["18"]), (["is", ":Ċ"], ["-", "7"])]
    tails = answer_tails(PLAIN, [], "is:\n", ("18", "7"))
    assert [cut(PLAIN, tail) for tail in tails] == [([*"is:\n"], ["1", "8"]), ([*"is:\n"], ["7"])]
    # The demo's words know no white space, so its answers follow the colon either way.
    assert answer_tails(DEMO, [], "is:\n", ("148", "14")) == answer_tails(DEMO, [], "is:", ("148", "14"))


numbers = st.decimals(-9999, 9999, places=2).map(lambda number: f"{number.normalize():f}")
answers = numbers | st.sampled_from(["Tom", "Tom has", "Ann", "has", "times as many", "6 boxes"])
tokenizers = st.sampled_from([DEMO, PLAIN, SPACE, MINUS, WORDS, COLON])


@given(tokenizers, answers, answers, st.sampled_from([PREFIX, "is", " is: ", "is:\n", ""]))
@settings(max_examples=200)
def test_tails_share_all_that_precedes_and_lose_nothing(
    tokenizer: PreTrainedTokenizerFast, first: str, second: str, prefix: str
):
    eot = 7
    tails = answer_tails(tokenizer, [eot], prefix, (first, second))
    assert tails[0].tokens[: tails[0].answer] == tails[1].tokens[: tails[1].answer]
    assert tails[0].answer == tails[1].answer >= 1
    for answer, tail in zip((first, second), tails, strict=True):
        text = before_answer(prefix) + answer
        assert list(tail.tokens) == [eot, *tokenizer.encode(text, add_special_tokens=False)]
        assert spelled(cut(tokenizer, tail)[1]).endswith(spelled([answer]))
    # No token too many: without the first of them, one of the answers is no longer whole.
    shorter = [spelled(cut(tokenizer, tail)[1][1:]) for tail in tails]
    assert not all(rest.endswith(spelled([answer])) for rest, answer in zip(shorter, (first, second), strict=True))


def spelled(tokens: list[str]) -> str:
    """The text of tokens, without spaces and continuation marks."""
    return "".join(token.removeprefix("##") for token in tokens).replace(" ", "")


def test_what_opens_the_tail_is_not_part_of_the_text():
    tails = answer_tails(PLAIN, [40, 41], "is", ("3", "4"))
    assert tails[0].tokens[:2] == (40, 41)
    assert tails[0].answer == 2 + len("is ")


def test_an_answer_needs_a_token_before_it():
    with pytest.raises(ThoughtError, match="'3' and '4': give an answer prefix or a format with eot"):
        answer_tails(PLAIN, [], " ", ("3", "4"))
    assert answer_tails(PLAIN, [9], "", ("3", "4"))[0].answer == 1
    merging = character_tokenizer(("s", " "), ("s ", "-"))
    with pytest.raises(ThoughtError, match="'3' and '-3': give an answer prefix"):
        answer_tails(merging, [], "s", ("3", "-3"))


def test_an_answer_that_the_tokenizer_drops_is_named():
    with pytest.raises(ThoughtError, match="answer '½' has no tokens of its own in 'is ½'"):
        answer_tails(PLAIN, [9], "is", ("3", "½"))


@pytest.mark.parametrize(
    ("template", "expected", "start"),
    [("$A", "ab", 0), ("<s> $A", "<s> ab", 1), ("<s> $A </s>", "<s> ab", 1), ("$A </s>", "ab", 0)],
)
def test_the_question_keeps_bos_and_loses_eos(template: str, expected: str, start: int):
    tokenizer = character_tokenizer(("a", "b"), template=template)
    ids, found = encode_question(tokenizer, "ab")
    assert ids == tokenizer.convert_tokens_to_ids(expected.split())
    assert found == start


@pytest.mark.parametrize("template", ["$A", "<s> $A", "<s> $A </s>"])
def test_an_empty_question_is_refused(template: str):
    with pytest.raises(ThoughtError, match="question '' has no tokens"):
        encode_question(character_tokenizer(template=template), "")


LATENT = Layout(
    prompt=(1, 2, 3),
    n_latents=2,
    thoughts=(3, 4),
    tails=(Tail(tokens=(50, 51, 61), answer=2), Tail(tokens=(50, 51, 62, 63), answer=2)),
    bot=2,
    has_eot=True,
    question=1,
)


def places(layout: Layout) -> dict[str, int]:
    return dict(zip(layout.sites, layout.positions(0), strict=True))


def test_sites_and_their_positions():
    assert places(LATENT) == {"bot": 2, "t0": 3, "t1": 4, "eot": 5, "answer": 6}
    assert LATENT.positions(1) == LATENT.positions(0)
    assert LATENT.length == 3 + 2 + 4
    assert LATENT.tails[1].answer_tokens == (62, 63)
    text = dataclasses.replace(LATENT, bot=None, has_eot=False, n_latents=0, thoughts=(1, 2))
    assert places(text) == {"t0": 1, "t1": 2, "answer": 4}


def test_eot_that_predicts_the_answer_is_one_site_not_two():
    """Else the same vector would have two names, and eot would be called dead in the last layer."""
    bare = dataclasses.replace(LATENT, tails=(Tail(tokens=(50, 61), answer=1), Tail(tokens=(50, 62), answer=1)))
    assert places(bare) == {"bot": 2, "t0": 3, "t1": 4, "answer": 5}


@pytest.fixture(scope="module")
def llama() -> PreTrainedTokenizerFast:
    """LLaMA-3's own tokenizer, where the package that carries it is installed."""
    pytest.importorskip("llama_models", reason="LLaMA-3's tokenizer is not installed; pip install -e '.[llama]'")
    return llama3_tokenizer()


@pytest.mark.parametrize(
    ("answers", "before", "first", "second"),
    [
        (("18", "7"), "Ġis : Ġ", "18", "7"),
        (("18000", "1,000"), "Ġis : Ġ", "180 00", "1 , 000"),
        (("-3.5", "-4"), "Ġis :", "Ġ- 3 . 5", "Ġ- 4"),
        (("-3", "3"), "Ġis :", "Ġ- 3", "Ġ 3"),
    ],
)
def test_the_answers_tokens_of_llama(
    llama: PreTrainedTokenizerFast, answers: tuple[str, str], before: str, first: str, second: str
):
    found = [cut(llama, tail) for tail in answer_tails(llama, [], PREFIX, answers)]
    assert found[0][0] == found[1][0]
    assert found[0][0][-len(before.split()) :] == before.split()
    assert [answer for _, answer in found] == [first.split(), second.split()]
