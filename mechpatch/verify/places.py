"""Where the sites of a question are, found again from its text.

`thoughts` locates steps and answers by the tokenizer's character offsets; here the tokens are decoded and their
characters counted, and a latent thought is the k-th input that is fed back. Both must name the same positions.
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from mechpatch.experiments.layouts import answer_prefix, placeholder_token
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair
from mechpatch.thoughts.layout import Layout
from mechpatch.thoughts.text import step_ends
from mechpatch.verify.law import NotApplicable


def places(model: ThoughtModel, spec: Spec, pair: Pair, side: int, layout: Layout) -> tuple[int, ...]:
    """Position of every site of question `side` (0 clean, 1 corrupted), in the order of `layout.sites`.

    Raises:
        NotApplicable: the tokenizer does not give the text back.
    """
    tokenizer, question = model.tokenizer, (pair.clean, pair.corrupted)[side]
    ids = tokenizer.encode(model.family.question.replace("{question}", question.question))
    asked = len(ids) - (ids[-1] == tokenizer.eos_token_id)
    if model.family.bos is not None:
        asked += model.family.bos - (ids[0] == tokenizer.bos_token_id)
    found: dict[str, int] = {}
    if spec.thoughts == "text":
        chain = layout.prompt[asked:]
        text = spec.separator + (question.cot or "")
        ends = [len(_bare(text[: end + len(spec.separator)])) for end in step_ends(question.cot or "")]
        for step, end in enumerate(ends):
            found[f"t{step}"] = asked + _covering(tokenizer, chain, text, end)
    else:
        first = asked + (model.bot is not None)
        if spec.thoughts == "placeholder":
            first = layout.prompt.index(placeholder_token(model, spec), first)
        found = {f"t{step}": first + step for step in range(spec.n_thoughts or model.n_latents)}
        if model.bot is not None:
            found["bot"] = asked
    start = len(layout.prompt) + layout.n_latents
    if layout.has_eot:
        found["eot"] = start
    before = (spec.separator if spec.thoughts == "text" else "") + answer_prefix(model, spec)
    opening, answers = int(layout.has_eot), (pair.clean.answer, pair.corrupted.answer)
    found["answer"] = (
        start
        + opening
        - 1
        + min(
            _covering(tokenizer, tail.tokens[opening:], before + answer, len(_bare(before)) + 1)
            for tail, answer in zip(layout.tails, answers, strict=True)
        )
    )
    return tuple(found[site] for site in layout.sites)


def _covering(tokenizer: PreTrainedTokenizerFast, tokens: Sequence[int], text: str, length: int) -> int:
    """The first of the tokens of `text` with which the decoded text has `length` characters, blanks aside."""

    def decoded(count: int) -> int:
        return len(_bare(str(tokenizer.decode(list(tokens[:count]), clean_up_tokenization_spaces=False))))

    if decoded(len(tokens)) != len(_bare(text)):
        raise NotApplicable(f"the tokenizer does not give {text!r} back, so that its characters cannot be counted")
    return next(index for index in range(len(tokens)) if decoded(index + 1) >= length)


def _bare(text: str) -> str:
    return "".join(text.split())
