"""Which tokens go on with an answer, for each way in which tokenizers say where a word starts."""

import pytest
import torch
from llama_tokenizer import byte_level_tokenizer
from tokenizers import Tokenizer, decoders
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from mechpatch.experiments.running.continuations import Openings
from mechpatch.metrics import Continues
from mechpatch.models.load import load_tokenizer

# What may follow an answer: after a space where it opens with one.
TEXTS = [
    "5",
    ".5",
    ",000",
    ".",
    ",",
    " 5",
    " .5",
    " .",
    "..",
    ".\n",
    ", 5",
    "s",
    "é",
    "ist",
    " Ann",
    "'s",
    "-",
    "\n",
    " ",
]
NUMBER = ["5", ".5", ",000"]
WORD = ["5", "s", "é", "ist"]
SEPARATORS = [".", ","]


def byte_level() -> tuple[PreTrainedTokenizerFast, list[str]]:
    """Tokens are bytes, and one with no space before it goes on with the word."""
    single = [bytes([byte]) for byte in range(256)]
    longer = [text.encode() for text in TEXTS if len(text.encode()) > 1]
    ranks = {token: rank for rank, token in enumerate([*single, *longer])}
    texts = ["" if token[0] > 127 and len(token) == 1 else token.decode() for token in ranks]
    return byte_level_tokenizer(ranks), texts


def words(tokens: list[str], decoder: decoders.Decoder) -> PreTrainedTokenizerFast:
    backend = Tokenizer(WordLevel({token: i for i, token in enumerate(tokens)}))
    backend.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def sentence_piece() -> tuple[PreTrainedTokenizerFast, list[str]]:
    tokens = [text.replace(" ", "▁") for text in TEXTS]
    return words(tokens, decoders.Metaspace(prepend_scheme="first")), TEXTS


def sentence_piece_of_llama() -> tuple[PreTrainedTokenizerFast, list[str]]:
    """As the files of Llama 2 have it: the first space of a text is stripped, and a byte may be a token."""
    decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return words([*(text.replace(" ", "▁") for text in TEXTS), "<0x35>"], decoder), [*TEXTS, "5"]


def word_piece() -> tuple[PreTrainedTokenizerFast, list[str]]:
    """A word goes on after `##` only, and signs are words: `.5` cannot be a token, and `.` stands alone."""
    tokens = ["##5", ".", ",", "5", "##s", "##é", "##ist", "s", "Ann", "-"]
    return words(tokens, decoders.WordPiece("##", cleanup=True)), [
        "5",
        ".",
        ",",
        " 5",
        "s",
        "é",
        "ist",
        " s",
        " Ann",
        "-",
    ]


def named(flags: torch.Tensor, texts: list[str]) -> set[str]:
    return {texts[i] for i in flags.nonzero().flatten().tolist()}


@pytest.mark.parametrize("make", [byte_level, sentence_piece, sentence_piece_of_llama, word_piece])
def test_what_prolongs_depends_on_how_the_answer_ends(make):
    tokenizer, texts = make()
    openings = Openings.of(tokenizer, len(texts) + 2)  # a vocabulary that is padded
    there, digits = set(texts), {text for text in texts if text.isdecimal()}
    letters = {text for text in texts if text.isalpha()}
    number, word, mixed, closed = ("18", "Ann", "$18", "(B)")
    found = openings.after([(number, word), (mixed, closed), ("1,234", "3.")])
    assert named(found.prolongs[0, 0], texts) == digits | {*NUMBER} & there
    assert named(found.prolongs[0, 1], texts) == digits | letters
    assert {*WORD} <= digits | letters
    assert named(found.prolongs[1, 0], texts) == digits | letters | {*NUMBER} & there
    assert named(found.prolongs[1, 1], texts) == set()
    assert torch.equal(found.prolongs[2, 0], found.prolongs[0, 0])
    assert [named(each, texts) for each in found.separates.flatten(0, 1)] == [
        {*SEPARATORS} & there, set(), {*SEPARATORS} & there, set(), {*SEPARATORS} & there, {*SEPARATORS} & there,
    ]  # fmt: skip
    assert named(found.digit, texts) == digits | ({" 5"} if make is word_piece else set())


def test_the_words_of_the_demo_model():
    tokenizer = load_tokenizer("demo")
    found = Openings.of(tokenizer, len(tokenizer)).after([("18", "apple")])
    tokens = [*map(str, tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))]
    number, word = (named(found.prolongs[0, at], tokens) for at in (0, 1))
    assert {"##0", "##9"} <= number & word
    assert not {".", "14", "apples", "</s>", "<unk>"} & (number | word)
    assert named(found.separates[0, 0], tokens) == {"."}
    assert {"14", "##9"} <= named(found.digit, tokens)


def test_each_pair_has_its_own(monkeypatch):
    tokenizer, texts = sentence_piece()
    openings = Openings.of(tokenizer, len(texts))
    together = openings.after([("18", "Ann"), ("Bob", "7")])
    alone = [openings.after([answers]) for answers in (("18", "Ann"), ("Bob", "7"))]
    for at, each in enumerate(alone):
        assert isinstance(each, Continues)
        assert torch.equal(together.prolongs[at], each.prolongs[0])
        assert torch.equal(together.separates[at], each.separates[0])
