"""Text thoughts: an explicit chain of thought, teacher-forced; one site per reasoning step, its last token."""

import re
from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from mechpatch.errors import ThoughtError
from mechpatch.thoughts.layout import Layout, answer_tails, encode, encode_question

CALCULATION = re.compile(r"<<[^<>]*>>")
LINE = re.compile(r"[^\n]*[^\s]")


def step_ends(cot: str) -> list[int]:
    """Index just past the last character of each step: every `<<…>>`, or every line that is not blank."""
    found = [match.end() for match in CALCULATION.finditer(cot)]
    return found or [match.end() for match in LINE.finditer(cot)]


def text_layout(
    tokenizer: PreTrainedTokenizerFast,
    question: str,
    cot: str | None,
    answers: tuple[str, str],
    *,
    prefix: str,
    separator: str = "",
    indices: Sequence[int] | None = None,
    bos: bool | None = None,
) -> Layout:
    """Lay out a question with its chain of thought.

    Question, chain and answer are tokenised apart, as CODI's teacher is.

    Args:
        cot: the chain of thought of this very question.
        separator: text put before the chain and before the answer prefix.
        indices: token indices in the chain, separator included, to use as sites instead of the steps' last tokens.
        bos: see `encode_question`.

    Raises:
        ThoughtError: there is no chain, two steps share a token, or indices are none, repeated or outside the chain.
    """
    if not cot or not cot.strip():
        raise ThoughtError(f"question {question!r} has no chain of thought; text thoughts need `cot` on each side")
    ids, start = encode_question(tokenizer, question, bos)
    encoded = tokenizer(separator + cot, add_special_tokens=False, return_offsets_mapping=True)
    chain = encoded["input_ids"]
    if indices is None:
        ends = [end + len(separator) for end in step_ends(cot)]
        offsets = encoded["offset_mapping"]
        # A token may cover the end of a step and what follows; the site is the token that holds the last character.
        sites = [next((i for i, (_, stop) in enumerate(offsets) if stop >= end), len(chain)) for end in ends]
        if sites[-1] == len(chain):
            raise ThoughtError(f"the tokenizer drops the end of the last step of {cot!r}; give token indices instead")
    else:
        sites = [int(index) for index in indices]
        if outside := [index for index in sites if not 0 <= index < len(chain)]:
            raise ThoughtError(f"token indices {outside} lie outside the chain of {len(chain)} tokens of {question!r}")
    if not sites or sites != sorted(set(sites)):
        raise ThoughtError(
            f"sites {sites} of {question!r}: expected one or more, distinct and in order. Two steps may share a token"
        )
    before = encode(tokenizer, separator) if separator else []
    return Layout(
        prompt=(*ids, *chain),
        n_latents=0,
        thoughts=tuple(len(ids) + site for site in sites),
        tails=answer_tails(tokenizer, before, prefix, answers),
        bot=None,
        has_eot=False,
        question=start,
    )
