"""Which tokens of a vocabulary would prolong an answer that stands before them; that depends on how the answer ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from unicodedata import category

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from mechpatch.metrics import Continues
from mechpatch.values import answer_value

SEPARATORS = ".,٫٬．，"  # between the digits of one number, as `answer_value` reads them
_BEFORE = "0"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Openings:
    """How each token of a vocabulary goes on with the text before it. All are false for a token that opens a new word.

    Attributes:
        number: with a digit, or with a separator and a digit (`8`, `.5`, `,000`).
        word: with a letter or a digit.
        separator: it is a separator alone.
        digit: it opens with a digit after a separator, which ends the word before it for some tokenizers.
    """

    number: Bool[Tensor, " vocab"]
    word: Bool[Tensor, " vocab"]
    separator: Bool[Tensor, " vocab"]
    digit: Bool[Tensor, " vocab"]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast, vocab_size: int, device: torch.device | str = "cpu") -> "Openings":
        """Read the vocabulary as the tokenizer's decoder joins tokens: `Ġ`, `▁` and a missing `##` give a space."""
        tokens = [each or "" for each in tokenizer.convert_ids_to_tokens(list(range(min(vocab_size, len(tokenizer)))))]
        decoder = tokenizer.backend_tokenizer.decoder
        joined = [decoder.decode([_BEFORE, token]) if decoder else f"{_BEFORE} {token}" for token in tokens]
        texts = [text.removeprefix(_BEFORE) if token else "" for token, text in zip(tokens, joined, strict=True)]
        flags = {
            "number": [text[text[:1] in SEPARATORS :][:1].isdecimal() for text in texts],
            "word": [_goes_on(text) for text in texts],
            "separator": [text in SEPARATORS and text != "" for text in texts],
            "digit": [text[:1].isdecimal() or token[:1].isdecimal() for token, text in zip(tokens, texts, strict=True)],
        }
        padding = [False] * (vocab_size - len(tokens))
        return cls(**{name: torch.tensor([*each, *padding], device=device) for name, each in flags.items()})

    def after(self, answers: Sequence[Sequence[str]]) -> Continues:
        """What would prolong each answer of each pair.

        After a number a digit, or a separator with a digit; after a text a letter or a digit that continues its last
        word, and the former too where that word ends in a digit (`$18`).
        """
        numbers = [[isinstance(answer_value(each), Fraction) for each in pair] for pair in answers]
        words = [[_goes_on(each[-1]) for each in pair] for pair in answers]
        digits = [[each[-1].isdecimal() for each in pair] for pair in answers]
        number, word, digit = (torch.tensor(each, device=self.digit.device) for each in (numbers, words, digits))
        as_number, as_word = (number | digit)[..., None], (word & ~number)[..., None]
        return Continues(
            prolongs=(as_number & self.number) | (as_word & self.word),
            separates=as_number & self.separator,
            digit=self.digit,
        )


def _goes_on(text: str) -> bool:
    """Whether `text` opens with a letter, a mark on one, or a digit."""
    return category(text[0])[0] in "LMN" if text else False
