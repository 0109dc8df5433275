"""What the tokens of one question read like, in order and with the names of its sites."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from mechpatch.thoughts import Layout, thought_sites
from mechpatch.thoughts.layout import BOT, EOT

_LOST = "\ufffd"  # a decoder's sign for bytes that are no whole character


def token_text(tokenizer: PreTrainedTokenizerFast, token: int) -> str:
    """One token out of context; its name in the vocabulary where it has no text of its own."""
    text = _decode(tokenizer, [token])
    if text and _LOST not in text:
        return text
    name = tokenizer.convert_ids_to_tokens(token) if token < len(tokenizer) else None
    return name if isinstance(name, str) and name else f"[{token}]"


def running_texts(tokenizer: PreTrainedTokenizerFast, tokens: Sequence[int], before: Sequence[int] = ()) -> list[str]:
    """What each token adds to the text of the one before it, spaces included.

    Args:
        before: what precedes `tokens`, if anything.
    """
    texts, last = [], list(before[-1:])
    for token in tokens:
        known, whole = _decode(tokenizer, last), _decode(tokenizer, [*last, token])
        added = whole[len(known) :] if whole.startswith(known) and _LOST not in whole else ""
        texts.append(added or token_text(tokenizer, token))
        last = [token]
    return texts


def sequence_texts(tokenizer: PreTrainedTokenizerFast, layout: Layout, side: int) -> list[str]:
    """Every position of a question with one of its answers; special and fed-back positions by the name of their site.

    Args:
        side: 0 with the clean, 1 with the corrupted answer.
    """
    tail = tail_texts(tokenizer, layout, side)
    texts = [*running_texts(tokenizer, layout.prompt), *[""] * layout.n_latents, *tail]
    positions = dict(zip(layout.sites, layout.positions(side), strict=True))
    named = [site for site in (BOT, EOT) if site in positions]
    if layout.n_latents or layout.bot is not None:  # without them the thoughts are text, and read as such
        named += thought_sites(layout.sites)
    for site in named:
        texts[positions[site]] = f" [{site}]"
    if layout.has_eot:
        texts[len(layout.prompt) + layout.n_latents] = f" [{EOT}]"
    return texts


def tail_texts(tokenizer: PreTrainedTokenizerFast, layout: Layout, side: int) -> list[str]:
    """The tokens after the thoughts, with the clean (0) or the corrupted (1) answer."""
    return running_texts(tokenizer, layout.tails[side].tokens, layout.prompt[-1:])


def _decode(tokenizer: PreTrainedTokenizerFast, tokens: Sequence[int]) -> str:
    text = tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text if isinstance(text, str) else "".join(text)
