"""Latent thoughts: question | bot, then K embeddings that the model feeds back, then eot | prefix | answer."""

from transformers import PreTrainedTokenizerFast

from mechpatch.errors import ThoughtError
from mechpatch.thoughts.layout import Layout, answer_tails, encode_question


def latent_layout(
    tokenizer: PreTrainedTokenizerFast,
    question: str,
    answers: tuple[str, str],
    *,
    prefix: str,
    n_latents: int,
    bot: int | None = None,
    eot: int | None = None,
    bos: bool | None = None,
) -> Layout:
    """Lay out a question whose `n_latents` thoughts are rolled out by the model.

    Args:
        answers: clean and corrupted answer, both teacher-forced.
        prefix: text between eot and the answer.
        bot, eot: tokens around the thoughts; None where there are none.
        bos: see `encode_question`.
    """
    if n_latents < 1:
        raise ThoughtError(f"{n_latents} latent thoughts were asked for; at least 1 is needed")
    ids, start = encode_question(tokenizer, question, bos)
    prompt = ids if bot is None else [*ids, bot]
    return Layout(
        prompt=tuple(prompt),
        n_latents=n_latents,
        thoughts=tuple(range(len(prompt), len(prompt) + n_latents)),
        tails=answer_tails(tokenizer, [] if eot is None else [eot], prefix, answers),
        bot=None if bot is None else len(ids),
        has_eot=eot is not None,
        question=start,
    )
