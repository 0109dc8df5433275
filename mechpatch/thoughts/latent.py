"""Latent thoughts (CODI): question | bot, then K embeddings fed back by the head, then eot | prefix | answer."""

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
    bot: int,
    eot: int,
) -> Layout:
    """Lay out a question whose `n_latents` thoughts are rolled out by the model.

    Args:
        answers: clean and corrupted answer, both teacher-forced.
        prefix: text between eot and the answer.
    """
    if n_latents < 1:
        raise ThoughtError(f"{n_latents} latent thoughts were asked for; at least 1 is needed")
    ids, start = encode_question(tokenizer, question)
    return Layout(
        prompt=(*ids, bot),
        n_latents=n_latents,
        thoughts=tuple(range(len(ids) + 1, len(ids) + 1 + n_latents)),
        tails=answer_tails(tokenizer, [eot], prefix, answers),
        bot=len(ids),
        has_eot=True,
        question=start,
    )
