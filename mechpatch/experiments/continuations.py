"""Which tokens of a vocabulary would prolong a number that stands before them."""

import re

import torch
from transformers import PreTrainedTokenizerFast

from mechpatch.metrics import Continues

SEPARATORS = ".,٫٬．，"  # between the digits of one number, as `canonical_answer` reads them
PROLONGS = re.compile(rf"[{SEPARATORS}]?\d")


def number_continuations(tokenizer: PreTrainedTokenizerFast, vocab_size: int) -> Continues:
    """Tokens that go on with a number, and separators that may; a mark of continuation (`##`) is no text.

    A token that opens with a space (`Ġ5`) begins a number of its own.
    """
    tokens = tokenizer.convert_ids_to_tokens(list(range(min(vocab_size, len(tokenizer)))))
    texts = [(token or "").removeprefix("##") for token in tokens] + [""] * (vocab_size - len(tokens))
    return Continues(
        prolongs=torch.tensor([PROLONGS.match(text) is not None for text in texts]),
        separates=torch.tensor([len(text) == 1 and text in SEPARATORS for text in texts]),
    )
