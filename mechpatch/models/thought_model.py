"""A model that thinks between question and answer: lay out its questions, run them under hooks, read its thoughts.

`run_with_hooks` and `run_with_cache` are transformer-lens' own, on a question whose thoughts are rolled out: see
`patching.whole`. Hooks stand under transformer-lens' names and see the whole row, [1, position, …].
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens import ActivationCache, HookedTransformer
from transformers import PreTrainedTokenizerFast

from mechpatch.errors import ThoughtError
from mechpatch.families import PLAIN, Family
from mechpatch.models.memory import refuse_standing_hooks
from mechpatch.names import not_known
from mechpatch.pairs import Pair, Side
from mechpatch.patching.batch import collate
from mechpatch.patching.rollout import fed_back
from mechpatch.patching.whole import Hooks, Row, rolled_out
from mechpatch.thoughts import Layout, latent_layout, placeholder_layout, text_layout
from mechpatch.thoughts.layout import encode_question

SIDES = ("clean", "corrupted")
KINDS = ("latent", "text", "placeholder")
# A pair or a layout, with thoughts; a text or token ids, which are run as they are.
Question = Pair | Layout | str | Sequence[int] | Int[Tensor, "*one position"]
Thoughts = Float[Tensor, "thought d_model"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThoughtModel:
    """A merged model, ready to be run and patched.

    Attributes:
        hooked: shares its weights with the Hugging Face model that it was made from.
        tokenizer: tokens added in memory included.
        head: turns a normed hidden state into the next latent thought; None where none is fed back.
        n_latents: latent thoughts the model was trained with; 0 where nobody knows.
        pad, bot, eot, latent: ids of special tokens; None where the family has none.
        family: with what the user overrode.
        fingerprint: hash of merged weights, head, tokenizer and the family's facts: equal content, equal name.
        weights: fingerprint of each weight as it lies in memory, by name; None where nobody took it.
        parity: max |Δlogit| against Hugging Face on probe tokens; NaN where no Hugging Face model was at hand.
        about: where it came from and with which settings, JSON-ready.
        doubt: why its base may be the wrong one; said where its answers are wrong.
    """

    hooked: HookedTransformer
    tokenizer: PreTrainedTokenizerFast
    head: nn.Module | None
    n_latents: int
    pad: int | None
    bot: int | None
    eot: int | None
    fingerprint: str
    parity: float
    weights: Mapping[str, str] | None = None
    latent: int | None = None
    family: Family = PLAIN
    about: dict[str, Any] = field(default_factory=dict)
    doubt: str = ""

    def __repr__(self) -> str:
        thoughts = f"{self.n_latents} latent thoughts, " if self.n_latents else ""
        return (
            f"ThoughtModel({self.about.get('base')}, {self.n_layers} layers, {thoughts}{self.about.get('dtype')} on "
            f"{self.device}, fingerprint {self.fingerprint})"
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.hooked.unembed.W_U.device

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return self.hooked.cfg.n_layers

    @property
    def n_ctx(self) -> int:
        """Longest sequence that can be run, in tokens."""
        return self.hooked.cfg.n_ctx

    @property
    def stand_in(self) -> int | None:
        """The token that stands for a placeholder thought: the family's own, pad, or eos."""
        able = (self.latent, self.pad, self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        return next((each for each in able if isinstance(each, int)), None)

    def lay_out(
        self,
        pair: Pair,
        *,
        kind: str | None = None,
        n_thoughts: int | None = None,
        prefix: str | None = None,
        separator: str = "",
        placeholder: int | None = None,
    ) -> tuple[Layout, Layout]:
        """Tokens of the clean and of the corrupted question, each with its thoughts and with both answers.

        Args:
            kind: latent, text or placeholder. By default latent where the model feeds thoughts back, placeholder where
                its family puts one token in their place, and text where both sides of the pair have a `cot`.
            n_thoughts: latent or placeholder thoughts; by default as many as the model was trained with.
            prefix: text before the answer; by default the family's.
            separator: text before a text chain and before the answer prefix that follows it.
            placeholder: token id of a placeholder thought; by default `stand_in`.

        Raises:
            ThoughtError: the pair cannot be laid out so; the message names it.
        """
        kind = self._kind(pair) if kind is None else kind
        count = self.n_latents if n_thoughts is None else n_thoughts
        token = self.stand_in if placeholder is None else placeholder
        answers = (pair.clean.answer, pair.corrupted.answer)
        given: dict[str, Any] = {"prefix": self.family.prefix if prefix is None else prefix, "bos": self.family.bos}
        around: dict[str, Any] = {"bot": self.bot, "eot": self.eot}

        def laid_out(side: Side) -> Layout:
            question = self.family.asked(side.question)
            if kind == "text":
                return text_layout(self.tokenizer, question, side.cot, answers, separator=separator, **given)
            if not 0 < count < self.n_ctx:
                raise ThoughtError(
                    f"n_thoughts is {count}, expected 1 to {self.n_ctx - 1}: say how many {kind} thoughts it has"
                )
            if kind == "latent":
                return latent_layout(self.tokenizer, question, answers, n_latents=count, **given, **around)
            if token is None or not 0 <= token < self.hooked.cfg.d_vocab:
                raise ThoughtError(f"placeholder is {token}, expected a token: 0 to {self.hooked.cfg.d_vocab - 1}")
            return placeholder_layout(self.tokenizer, question, answers, count=count, token=token, **given, **around)

        try:
            if kind not in KINDS:
                raise ThoughtError(not_known("kind", [kind], KINDS))
            if kind == "latent" and self.head is None:
                raise ThoughtError(f"the model feeds no thoughts back; kind may be {' or '.join(KINDS[1:])}")
            return laid_out(pair.clean), laid_out(pair.corrupted)
        except ThoughtError as error:
            raise ThoughtError(f"pair {pair.pair_id!r}: {error}") from error

    def sites(self, question: Pair | Layout, *, side: str = "corrupted", answer: str = "corrupted") -> dict[str, int]:
        """Position of each named site in the row that `run_with_hooks` and `run_with_cache` run.

        Raises:
            ThoughtError: the question cannot be laid out.
        """
        return dict(self._row(question, side, answer).sites)

    def run_with_hooks(
        self,
        question: Question,
        *,
        side: str = "corrupted",
        answer: str = "corrupted",
        fwd_hooks: Hooks = (),
        thoughts: Thoughts | None = None,
    ) -> Float[Tensor, "1 position vocab"]:
        """Logits of one question with its thoughts and one answer teacher-forced, under hooks.

        Whatever a hook writes, all that follows is recomputed, fed-back thoughts included. The row is run once for each
        fed-back thought and once more. A hook is called in each of these passes, and its last call is the real one:
        before, later thoughts are not known yet. `capture` keeps the last call only; a hook of your own that keeps what
        it is given asks `mechpatch.patching.is_last_pass()` first. Gradients flow from the logits through all passes to
        what hooks wrote.

        Args:
            question: a pair, laid out as `lay_out` does by default; a layout (`side` is not read then); a text, or
                token ids, which are run as they are in one pass: nothing is rolled out, whatever the model.
            side: the question of a pair to run, clean or corrupted.
            answer: the answer that follows it, clean or corrupted.
            fwd_hooks: (name of a hook point or function that chooses names, hook) or `Edit`s, applied in their order;
                positions count from the row's first token, and mechpatch's own hooks take names of sites too.
            thoughts: vectors that are fed back in place of what the model makes, all of them, [thought, d_model]; to
                replace some, write to `hook_embed` at their sites.

        Raises:
            ThoughtError: the question cannot be laid out or run, or `thoughts` does not fit.
            SpecError: an `Edit` is asked for at a layer that the model does not have.
            ValueError: a hook does not fit, or would never be called.
            CheckpointError: hooks of somebody stand on the model.
        """
        with self._rolled_out(question, side, answer, fwd_hooks, thoughts) as tokens:
            return self.hooked(tokens)

    def run_with_cache(
        self,
        question: Question,
        *,
        side: str = "corrupted",
        answer: str = "corrupted",
        fwd_hooks: Hooks = (),
        thoughts: Thoughts | None = None,
        names_filter: str | list[str] | Callable[[str], bool] | None = None,
        remove_batch_dim: bool = False,
    ) -> tuple[Float[Tensor, "1 position vocab"], ActivationCache]:
        """As `run_with_hooks`; logits and every activation of the last pass, after what `fwd_hooks` made of it.

        Args:
            names_filter: the hook points to keep, as transformer-lens takes them; by default all.
            remove_batch_dim: keep activations as [position, …].
        """
        with self._rolled_out(question, side, answer, fwd_hooks, thoughts) as tokens:
            logits, cache = self.hooked.run_with_cache(
                tokens, names_filter=names_filter, remove_batch_dim=remove_batch_dim
            )
        assert isinstance(logits, Tensor)  # whatever transformer-lens' annotation says
        return logits, cache

    def thoughts(self, pairs: Sequence[Pair]) -> Float[Tensor, "pair side thought d_model"]:
        """The vectors that the model feeds back, before learned positions are added; side 0 is clean, 1 corrupted.

        Raises:
            ThoughtError: the model feeds none back, or a pair cannot be laid out.
        """
        if self.head is None:
            raise ThoughtError("the model feeds no thoughts back: there are no vectors to be read")
        if not pairs:
            raise ThoughtError("`pairs` is empty; expected one pair or more")
        refuse_standing_hooks(self.hooked)
        batches = [collate(self.lay_out(pair, kind="latent"), self.device) for pair in pairs]
        return torch.stack([fed_back(self.hooked, self.head, batch) for batch in batches])

    @contextmanager
    def _rolled_out(
        self, question: Question, side: str, answer: str, fwd_hooks: Hooks, thoughts: Thoughts | None
    ) -> Iterator[Int[Tensor, "1 position"]]:
        refuse_standing_hooks(self.hooked)
        with rolled_out(self.hooked, self.head, self._row(question, side, answer), fwd_hooks, thoughts) as tokens:
            yield tokens

    def _row(self, question: Question, side: str, answer: str) -> Row:
        """What is run."""
        for name, value in (("side", side), ("answer", answer)):
            if value not in SIDES:
                raise ThoughtError(not_known(name, [value], SIDES))
        if isinstance(question, Pair):
            question = self.lay_out(question)[SIDES.index(side)]
        if isinstance(question, Layout):
            return Row.of(question, SIDES.index(answer))
        if isinstance(question, str):
            return Row.plain(encode_question(self.tokenizer, question, self.family.bos)[0])
        ids = torch.as_tensor(question)
        if ids.ndim == 2 and len(ids) == 1:
            ids = ids[0]
        if ids.ndim != 1 or (len(ids) and ids.is_floating_point()):
            raise ThoughtError(f"token ids are {[*ids.shape]} of {ids.dtype}, expected one row of whole numbers")
        return Row.plain(ids.tolist())

    def _kind(self, pair: Pair) -> str:
        """The kind of thought that a pair has by default."""
        if self.head is not None:
            return "latent"
        if self.family.fed == "token":
            return "placeholder"
        if pair.clean.cot and pair.corrupted.cot:
            return "text"
        raise ThoughtError(
            f"pair {pair.pair_id!r}: the model feeds no thoughts back, and the pair has no chain of thought (`cot`) on "
            "each side. Say what its thoughts are: give a layout, such as model.lay_out(pair, kind='placeholder', "
            "n_thoughts=6)[1], or the text itself"
        )
