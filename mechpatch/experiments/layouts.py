"""From pairs to token layouts: which thoughts a question has under a spec, and which pairs cannot be laid out alike."""

from collections.abc import Sequence
from dataclasses import replace

from mechpatch.errors import SpecError, ThoughtError
from mechpatch.experiments.spec import NOTHING_FED_BACK, Spec
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Finding, Pair, Predicate, default_predicates, unequal_steps
from mechpatch.patching.batch import padded_width
from mechpatch.thoughts import Layout
from mechpatch.thoughts.layout import encode
from mechpatch.thoughts.text import step_ends


def pair_layouts(model: ThoughtModel, spec: Spec, pair: Pair) -> tuple[Layout, Layout]:
    """Layouts of the clean and the corrupted question, each with both answers.

    Raises:
        ThoughtError: it cannot be laid out; the message names the pair.
        SpecError: the model has no thoughts of this kind.
    """
    count = spec.n_thoughts or model.n_latents
    if count >= model.n_ctx:  # before so many are laid out
        raise SpecError(f"--latents {count}: too many, the model runs at most {model.n_ctx} tokens in all")
    if spec.thoughts == "latent" and model.head is None:
        raise SpecError(NOTHING_FED_BACK)
    if not count and spec.thoughts != "text":
        raise SpecError(f"{spec.thoughts} thoughts: say how many with --latents")
    return model.lay_out(
        pair,
        kind=spec.thoughts,
        n_thoughts=count,
        prefix=answer_prefix(model, spec),
        separator=spec.separator,
        placeholder=placeholder_token(model, spec) if spec.thoughts == "placeholder" else None,
    )


def with_thoughts(
    model: ThoughtModel, spec: Spec, pair: Pair, layouts: tuple[Layout, Layout], number: int
) -> tuple[Layout, Layout]:
    """The same questions with so many thoughts between bot and eot; of a text chain, its first steps."""

    def changed(layout: Layout, cot: str | None) -> Layout:
        if layout.n_latents:
            start = len(layout.prompt)
            return replace(layout, n_latents=number, thoughts=tuple(range(start, start + number)))
        if spec.thoughts == "text":
            before = len(layout.prompt) - len(encode(model.tokenizer, spec.separator + (cot or "")))
            stop = layout.thoughts[number - 1] + 1 if number else before
            return replace(layout, prompt=layout.prompt[:stop], thoughts=layout.thoughts[:number])
        start = layout.thoughts[0]
        filler = layout.prompt[start : start + 1] * number
        return replace(layout, prompt=layout.prompt[:start] + filler, thoughts=tuple(range(start, start + number)))

    return changed(layouts[0], pair.clean.cot), changed(layouts[1], pair.corrupted.cot)


def most_thoughts(spec: Spec, layouts: Sequence[tuple[Layout, Layout]], n_ctx: int) -> int | None:
    """Twice as many thoughts as there are, as far as the model has positions; None of a text, which has what it has."""
    if spec.thoughts == "text":
        return None
    count = len(layouts[0][0].thoughts)
    longest = max(padded_width([layout], spec.say or 0) for pair in layouts for layout in pair)
    return count + max(0, min(count, n_ctx - longest))


def answer_prefix(model: ThoughtModel, spec: Spec) -> str:
    """Text before the answer: asked for, or that of the model's family."""
    return model.family.prefix if spec.prefix is None else spec.prefix


def settled(model: ThoughtModel, spec: Spec) -> Spec:
    """`spec` with what it leaves to the model's family."""
    return replace(spec, prefix=answer_prefix(model, spec))


def placeholder_token(model: ThoughtModel, spec: Spec) -> int:
    """The token that stands for a thought in placeholder mode: asked for, or the family's own, or the pad token."""
    token = model.stand_in if spec.placeholder is None else spec.placeholder
    if token is None or not 0 <= token < model.hooked.cfg.d_vocab:
        raise SpecError(
            f"--placeholder-token {token}: no such token; the vocabulary has 0 to {model.hooked.cfg.d_vocab - 1}"
        )
    return token


def run_predicates(model: ThoughtModel, spec: Spec, keep_same_answer: bool) -> tuple[Predicate, ...]:
    """What a pair must satisfy to be run under `spec`."""

    def count_tokens(text: str) -> int:
        return len(model.tokenizer.encode(text))

    def fits(pair: Pair) -> Finding | None:
        longest = max(padded_width([layout], spec.say or 0) for layout in pair_layouts(model, spec, pair))
        if longest <= model.n_ctx:
            return None
        return Finding("too_long", {"tokens": longest, "limit": model.n_ctx})

    def unknown_answer(pair: Pair) -> Finding | None:
        unknown = model.tokenizer.unk_token_id
        clean, corrupted = (tail.answer_tokens for tail in pair_layouts(model, spec, pair)[0].tails)
        sides = [name for name, tokens in (("clean", clean), ("corrupted", corrupted)) if unknown in tokens]
        return Finding("unknown_answer", {"sides": sides}) if sides else None

    def same_answer_tokens(pair: Pair) -> Finding | None:
        clean, corrupted = (tail.answer_tokens for tail in pair_layouts(model, spec, pair)[0].tails)
        if clean != corrupted or pair.clean.value == pair.corrupted.value:
            return None
        return Finding(
            "same_answer_tokens", {"clean_answer": pair.clean.answer, "corrupted_answer": pair.corrupted.answer}
        )

    def has_chains(pair: Pair) -> Finding | None:
        missing = [name for name, side in (("clean", pair.clean), ("corrupted", pair.corrupted)) if not side.cot]
        return Finding("no_cot", {"sides": missing}) if missing else None

    predicates = default_predicates(count_tokens, keep_same_answer=keep_same_answer)
    if spec.thoughts == "text":
        predicates += (has_chains, unequal_steps(lambda cot: len(step_ends(cot))))
    return (*predicates, unknown_answer, same_answer_tokens, fits)


def groups(layouts: Sequence[tuple[Layout, Layout]], batch_size: int, n_ctx: int, said: int = 0) -> list[list[int]]:
    """Pair indices in batches of questions with the same sites, padded to at most `n_ctx` tokens.

    Decided by the pairs alone, so a resumed run has them too.

    Args:
        said: tokens that each run may say.
    """

    def fits(indices: Sequence[int]) -> bool:
        sides = ([layouts[index][side] for index in indices] for side in (0, 1))
        return len(indices) <= batch_size and max(padded_width(each, said) for each in sides) <= n_ctx

    by_sites: dict[tuple[str, ...], list[list[int]]] = {}
    for index, (clean, corrupted) in enumerate(layouts):
        if clean.sites != corrupted.sites:
            raise ThoughtError(f"pair {index}: clean has the sites {clean.sites}, corrupted {corrupted.sites}")
        batches = by_sites.setdefault(clean.sites, [])
        if batches and fits([*batches[-1], index]):
            batches[-1].append(index)
        else:
            batches.append([index])
    return [indices for batches in by_sites.values() for indices in batches]
