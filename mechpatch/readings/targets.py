"""What a lens looks for in a question: the values of its steps and both answers, each by one token."""

from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerFast

from mechpatch.pairs import Pair
from mechpatch.pairs.counterfactual import step_values
from mechpatch.thoughts.layout import answer_tails
from mechpatch.values import answer_value

ANSWERS = ("clean_answer", "corrupted_answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A value, and the token by which it is known.

    Attributes:
        name: step1, step2, … in the order of the calculations, without the last one, which is the answer;
            clean_answer, corrupted_answer.
        value: as an answer is written.
        token: id of the value's first token.
        tokens: how many tokens the value has.
        shared: other targets of the same question that have this token, so that a hit may be theirs.
    """

    name: str
    value: str
    token: int
    tokens: int
    shared: tuple[str, ...] = ()


def targets_of(tokenizer: PreTrainedTokenizerFast, pair: Pair, side: int, prefix: str) -> tuple[Target, ...]:
    """The targets of one question (side 0 clean, 1 corrupted).

    A value is tokenised as an answer is: prefix, one space and value as one string. Its tokens are found by character
    offsets, and the first one that holds a character of the value stands for it; a token that holds the space alone
    does not. So LLaMA's `: 18`, which is `:`, ` `, `18`, is looked for as `18`, and GPT-2's as ` 18`. Of a value with
    several tokens the first one alone is looked for: 1,234 may be hit by 1,235.
    """
    own = (pair.clean, pair.corrupted)[side]
    steps = step_values(own)
    if steps and answer_value(steps[-1]) == own.value:
        steps = steps[:-1]
    named = {f"step{number}": value for number, value in enumerate(steps, 1)}
    named |= dict(zip(ANSWERS, (pair.clean.answer, pair.corrupted.answer), strict=True))
    found = [_target(tokenizer, name, value, prefix) for name, value in named.items()]
    return tuple(
        replace(
            target,
            shared=tuple(other.name for other in found if other.name != target.name and other.token == target.token),
        )
        for target in found
    )


def _target(tokenizer: PreTrainedTokenizerFast, name: str, value: str, prefix: str) -> Target:
    opening = [0]  # stands for eot, which is not part of the string
    tokens = answer_tails(tokenizer, opening, prefix, (value, value))[0].answer_tokens
    return Target(name=name, value=value, token=tokens[0], tokens=len(tokens))
