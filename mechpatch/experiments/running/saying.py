"""What runs say as text: which tokens end it, and what is read of those before.

`outcome` is read off the teacher-forced top-1s, and the text is decoded freely, token by token. They agree: as long as
all top-1s are the answer's, both see the same tokens. They may differ where the outcome does not look: it knows one
token after the answer (`18.` gives 18, and the text may go on `18.5`), and an answer in another spelling (`1,800` for
1800) is `other`, though a reader takes the text for it. They must differ where `--say` is shorter than the answer. And
where two tokens are equally likely to the last bit, the two runs may round to one each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from mechpatch.models import ThoughtModel
from mechpatch.patching.say import Said, Say
from mechpatch.reprs import short_repr


@dataclass(frozen=True, eq=False)
class Speech:
    """How far each run of a model goes on by itself, and its text.

    Attributes:
        count: tokens at most.
    """

    model: ThoughtModel
    count: int

    __repr__ = short_repr

    @cached_property
    def say(self) -> Say:
        """What the engines are asked: to go on up to eos, a special token of thoughts, or a line break."""
        size, tokenizer = self.model.hooked.cfg.d_vocab_out, self.model.tokenizer
        tokens = [each or "" for each in tokenizer.convert_ids_to_tokens(list(range(min(size, len(tokenizer)))))]
        decoder = tokenizer.backend_tokenizer.decoder
        texts = [decoder.decode([token]) if decoder else token for token in tokens]
        ends = torch.zeros(size, dtype=torch.bool)
        ends[: len(texts)] = torch.tensor(["".join(text.splitlines()) != text for text in texts])
        ends[[each for each in endings(self.model) if each < size]] = True
        return Say(self.count, ends.to(self.model.device))

    def texts(self, said: Said) -> list[str]:
        """What each run says, on one line, without blanks around it."""
        special = {*endings(self.model), -1}
        return [decoded_text(self.model, [token for token in row if token not in special]) for row in said.tolist()]


def endings(model: ThoughtModel) -> set[int]:
    """The tokens that end what is said."""
    special = (model.tokenizer.eos_token_id, model.pad, model.bot, model.eot)
    return {each for each in special if isinstance(each, int)}


def decoded_text(model: ThoughtModel, tokens: Sequence[int]) -> str:
    """What the tokens say, up to a line break."""
    text = model.tokenizer.decode([*tokens], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return next(iter(text.strip().splitlines()), "")
