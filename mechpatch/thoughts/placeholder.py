"""Placeholder thoughts: K copies of one token in a single forward pass. No thought is rolled out.

Kept to reproduce experiments that patched such tokens; everything that reports on them says so.
"""

from transformers import PreTrainedTokenizerFast

from mechpatch.errors import ThoughtError
from mechpatch.thoughts.layout import Layout, answer_tails, encode_question


def placeholder_layout(
    tokenizer: PreTrainedTokenizerFast,
    question: str,
    answers: tuple[str, str],
    *,
    prefix: str,
    count: int,
    token: int,
    bot: int | None = None,
    eot: int | None = None,
    bos: bool | None = None,
) -> Layout:
    """Lay out a question followed by `count` copies of `token`, between bot and eot where these are given.

    Args:
        bos: see `encode_question`.
    """
    if count < 1:
        raise ThoughtError(f"{count} placeholder thoughts were asked for; at least 1 is needed")
    ids, start = encode_question(tokenizer, question, bos)
    prompt = ids if bot is None else [*ids, bot]
    before = [] if eot is None else [eot]
    return Layout(
        prompt=(*prompt, *[token] * count),
        n_latents=0,
        thoughts=tuple(range(len(prompt), len(prompt) + count)),
        tails=answer_tails(tokenizer, before, prefix, answers),
        bot=None if bot is None else len(ids),
        has_eot=eot is not None,
        question=start,
    )
