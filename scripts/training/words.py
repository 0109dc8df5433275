"""Tokenizers of words, signs and digits in groups of at most two: 148 is `14` and a continuation `8`."""

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from mechpatch.pairs import demo as world
from mechpatch.pairs import handovers

WORDS = {*world.NAMES, *world.ITEMS, *world.HOLDERS}
WORDS |= {"has", "of", "finds", "loses", "more", "buys", "sells", "times", "as", "many", "How", "does", "have"}
SIGNS = [".", "?", ":", "<<", ">>", "+", "-", "*", "="]
PARTS = r"<<|>>|[^\p{L}\p{N}]|\p{N}+|\p{L}+"
# Joins the pieces as the world writes them: no blank before . ? : nor inside << >>.
JOINS = [(r" (?=[.?:+*=>-])", ""), (r"(?<=[<+*=-]) ", ""), (r"(?<=>) (?=<)", "")]


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """That of the demo model: questions begin with `<s>`."""
    words = WORDS | {"The", "answer", "is"}
    numbers = [str(n) for n in range(100)] + [f"##{n}" for n in range(10)]
    backend = _pieces(["<unk>", "<s>", "</s>", *numbers, *SIGNS, *sorted(words)], "##", [])
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), _split(PARTS)])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def coconut_tokenizer(pieces: Sequence[str]) -> PreTrainedTokenizerFast:
    """That of a Coconut model: no bos; `###` and a line break are tokens; `~` marks pieces that go on with a word."""
    backend = _pieces(["<unk>", "<|endoftext|>", *pieces, "###", "\n"], "~", [(r" ?\n ?", "\n")])
    blanks = pre_tokenizers.Split(Regex(" +"), "removed")  # a line break is none
    backend.pre_tokenizer = pre_tokenizers.Sequence([blanks, _split(f"###|{PARTS}")])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def word_problem_tokenizer() -> PreTrainedTokenizerFast:
    """A Coconut tokenizer of the demo's world."""
    numbers = [str(n) for n in range(100)] + [f"~{n}" for n in range(10)]
    return coconut_tokenizer([*numbers, *SIGNS, *sorted(WORDS)])


END = 1  # its id in a Coconut tokenizer


def handover_tokenizer() -> PreTrainedTokenizerFast:
    """A Coconut tokenizer of the world of hand-overs, whose names have one to three pieces."""
    first = {pieces[0] for pieces in handovers.PIECES}
    first |= {"has", "the", "ball", "It", "goes", "on", "Who", "it", "now"}
    first |= {str(n) for n in range(1, handovers.FURTHEST + 1)}
    more = {f"~{piece}" for pieces in handovers.PIECES for piece in pieces[1:]}
    return coconut_tokenizer([".", "?", *sorted(first), *sorted(more)])


def _split(parts: str) -> pre_tokenizers.Split:
    return pre_tokenizers.Split(Regex(parts), "isolated")


def _pieces(vocab: Sequence[str], continuing: str, joins: Sequence[tuple[str, str]]) -> Tokenizer:
    backend = Tokenizer(
        models.WordPiece(
            {token: i for i, token in enumerate(vocab)}, unk_token="<unk>", continuing_subword_prefix=continuing
        )
    )
    backend.normalizer = normalizers.NFC()
    backend.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix=continuing, cleanup=False),
            decoders.Fuse(),
            *(decoders.Replace(Regex(pattern), text) for pattern, text in [*JOINS, *joins]),
        ]
    )
    return backend
