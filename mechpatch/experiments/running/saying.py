"""What runs say as text: which tokens end it, and what is read of those before.

`outcome` is read off the teacher-forced top-1s, and the text is decoded freely, token by token. They agree: as long as
all top-1s are the answer's, both see the same tokens. They may differ where the outcome does not look: it knows one
token after the answer (`18.` gives 18, and the text may go on `18.5`), and an answer in another spelling (`1,800` for
1800) is `other`, though a reader takes the text for it. They must differ where `--say` is shorter than the answer. And
where two tokens are equally likely to the last bit, the two runs may round to one each.
"""

import re
from dataclasses import dataclass
from functools import cached_property

import torch

from mechpatch.models import ThoughtModel
from mechpatch.patching.say import Said, Say
from mechpatch.reprs import short_repr

BREAK = re.compile(r"[\r\n]")


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
        ends = torch.zeros(size, dtype=torch.bool)
        tokens = [each or "" for each in tokenizer.convert_ids_to_tokens(list(range(min(size, len(tokenizer)))))]
        decoder = tokenizer.backend_tokenizer.decoder
        texts = [decoder.decode([token]) if decoder else token for token in tokens]
        ends[: len(texts)] = torch.tensor([BREAK.search(text) is not None for text in texts])
        ends[[*self._special]] = True
        return Say(self.count, ends.to(self.model.device))

    def texts(self, said: Said) -> list[str]:
        """What each run says, on one line, without blanks around it."""
        return [self._text([token for token in row if token >= 0]) for row in said.tolist()]

    @cached_property
    def _special(self) -> set[int]:
        model = self.model
        special = (model.tokenizer.eos_token_id, model.pad, model.bot, model.eot)
        return {each for each in special if isinstance(each, int) and each < model.hooked.cfg.d_vocab_out}

    def _text(self, tokens: list[int]) -> str:
        kept = [each for each in tokens if each not in self._special]
        text = self.model.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return BREAK.split(text, maxsplit=1)[0].strip()
