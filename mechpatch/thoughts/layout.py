"""Which token is which: a question laid out with its thoughts and its two teacher-forced answers.

    question | bot | t0 … t{K-1} | eot | answer prefix | answer

`prompt` holds everything before the first latent thought (or, without feedback, all thoughts too); each `Tail` holds
what follows. Sites are named, never counted in tokens, because clean and corrupted questions may differ in length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from mechpatch.errors import ThoughtError
from mechpatch.kinds.cells import ANSWER as ANSWER
from mechpatch.kinds.cells import BOT as BOT
from mechpatch.kinds.cells import EOT as EOT

THOUGHTS = "thoughts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The tokens after the thoughts, with one of the two answers teacher-forced.

    Attributes:
        tokens: eot (if the format has one), answer prefix, answer.
        answer: index in `tokens` of the first token of the answer; the answer runs to the end. What precedes it is the
            same in both tails of a layout.
    """

    tokens: tuple[int, ...]
    answer: int

    @property
    def answer_tokens(self) -> tuple[int, ...]:
        """Token ids of the answer."""
        return self.tokens[self.answer :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One question, its thoughts and both continuations, in tokens.

    Attributes:
        prompt: ids up to the first latent thought; without latents, up to the last thought.
        n_latents: thoughts that are fed back, between prompt and tail; 0 without feedback.
        thoughts: positions of the thought sites, in the sequence prompt, latents, tail.
        tails: with the clean answer, with the corrupted answer.
        bot: position of the bot token, or None.
        has_eot: whether each tail opens with an eot token.
        question: position of the first token of the question, after bos.
    """

    prompt: tuple[int, ...]
    n_latents: int
    thoughts: tuple[int, ...]
    tails: tuple[Tail, Tail]
    bot: int | None
    has_eot: bool
    question: int

    def __repr__(self) -> str:
        latents = f" + {self.n_latents} latents" if self.n_latents else ""
        tails = " or ".join(dict.fromkeys(str(len(tail.tokens)) for tail in self.tails))
        return f"Layout({len(self.prompt)} tokens{latents} + {tails} tokens, sites {' '.join(self.sites)})"

    @property
    def sites(self) -> tuple[str, ...]:
        """Every named site, in the order of the sequence."""
        names = (BOT,) if self.bot is not None else ()
        names += tuple(f"t{i}" for i in range(len(self.thoughts)))
        return (*names, EOT, ANSWER) if self._eot_is_site else (*names, ANSWER)

    @property
    def opening(self) -> tuple[int, ...]:
        """The tokens between the thoughts and either answer: eot (if the format has one) and answer prefix."""
        return self.tails[0].tokens[: self.tails[0].answer]

    @property
    def length(self) -> int:
        """Tokens of the longer continuation, latent thoughts included."""
        return len(self.prompt) + self.n_latents + max(len(tail.tokens) for tail in self.tails)

    def positions(self, tail: int) -> tuple[int, ...]:
        """Positions of `sites`, in the continuation with the given answer (0 clean, 1 corrupted)."""
        start = len(self.prompt) + self.n_latents
        bot = () if self.bot is None else (self.bot,)
        eot = (start,) if self._eot_is_site else ()
        return (*bot, *self.thoughts, *eot, start + self.tails[tail].answer - 1)

    @property
    def _eot_is_site(self) -> bool:
        """Without an answer prefix, eot is what predicts the answer: it is the site `answer`, and not a second one."""
        return self.has_eot and self.tails[0].answer > 1


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Ids of `text` without special tokens."""
    return tokenizer.encode(text, add_special_tokens=False)


def encode_question(
    tokenizer: PreTrainedTokenizerFast, question: str, bos: bool | None = None
) -> tuple[list[int], int]:
    """Ids with the tokenizer's own special tokens but a closing eos, and how many of them precede the question.

    Args:
        bos: whether the tokenizer's bos stands first; None for what the tokenizer does.
    """
    ids = tokenizer.encode(question)
    if ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()  # reference CODI trains with no eos before bot
    start = int(bool(ids) and ids[0] == tokenizer.bos_token_id)
    if bos and not start:
        if tokenizer.bos_token_id is None:
            raise ThoughtError("--bos: the tokenizer has no bos token")
        ids, start = [tokenizer.bos_token_id, *ids], 1
    elif bos is False and start:
        ids, start = ids[1:], 0
    if len(ids) == start:
        raise ThoughtError(f"question {question!r} has no tokens")
    return ids, start


def before_answer(prefix: str) -> str:
    """All that precedes the answer in its string: `prefix` and one space.

    A prefix that closes with white space of its own other than blanks (a new line, a tab) is kept as it is written.
    """
    text = prefix.rstrip(" ")
    if not text:
        return ""
    return prefix if text[-1].isspace() else f"{text} "


def answer_tails(
    tokenizer: PreTrainedTokenizerFast, before: Sequence[int], prefix: str, answers: tuple[str, str]
) -> tuple[Tail, Tail]:
    """Tokenise prefix and answer as one string and find the answer's tokens by character offsets.

    A token may hold the end of the prefix too (` -` of ` -3`, where ` 3` is two tokens). Both answers are then read
    from the first token that is part of either, so that their probabilities are given the same tokens.

    Args:
        before: ids that open the tail (eot), not part of the string.
        prefix: for example "The answer is:"; see `before_answer`.
    """
    texts = [before_answer(prefix) + answer for answer in answers]
    starts, tokens = [], []
    for text, answer in zip(texts, answers, strict=True):
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        start = len(text) - len(answer)
        first = next((i for i, (_, end) in enumerate(encoded["offset_mapping"]) if end > start), None)
        if first is None:
            raise ThoughtError(f"answer {answer!r} has no tokens of its own in {text!r}")
        starts.append(first)
        tokens.append((*before, *encoded["input_ids"]))
    shared = len(before) + min(starts)
    while tokens[0][:shared] != tokens[1][:shared]:
        shared -= 1
    if shared == 0:
        raise ThoughtError(
            f"no token that is the same for both precedes the answers {answers[0]!r} and {answers[1]!r}: give an "
            "answer prefix or a format with eot"
        )
    return Tail(tokens=tokens[0], answer=shared), Tail(tokens=tokens[1], answer=shared)
