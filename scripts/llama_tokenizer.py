"""LLaMA-3's own tokenizer, from the package that carries its vocabulary (`pip install -e ".[llama]"`)."""

import base64
from importlib import resources

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
N_SPECIAL = 256
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)


def llama3_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of LLaMA 3: 128,000 tokens and 256 special ones; it sets bos before a text.

    Raises:
        ModuleNotFoundError: `llama_models` is not installed.
    """
    file = resources.files("llama_models") / "llama3" / "tokenizer.model"
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(str.split, file.read_text().splitlines())}
    tokenizer = byte_level_tokenizer(ranks)
    others = (f"<|reserved_special_token_{i}|>" for i in range(N_SPECIAL - 2))
    tokenizer.add_special_tokens({"bos_token": BOS, "eos_token": EOS, "additional_special_tokens": [*others]})
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.convert_tokens_to_ids(BOS))]
    )
    return tokenizer


def byte_level_tokenizer(ranks: dict[bytes, int]) -> PreTrainedTokenizerFast:
    """A byte-pair tokenizer from tokens by rank, with LLaMA-3's split pattern and no special token."""
    letters = bytes_to_unicode()
    spell = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = [
        (spell[token[:i]], spell[token[i:]])
        for token in sorted(ranks, key=lambda token: ranks[token])
        for i in range(1, len(token))
        if token[:i] in ranks and token[i:] in ranks
    ]
    backend = Tokenizer(models.BPE({spell[token]: rank for token, rank in ranks.items()}, merges, ignore_merges=True))
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend)
