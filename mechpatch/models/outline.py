"""What a load will do, as far as the headers of the files tell: family, special tokens, and what every key is.

No weight is read here, so that whatever does not fit is refused at once.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from mechpatch.errors import CheckpointError
from mechpatch.families import (
    FAMILIES,
    PAUSE,
    PLAIN,
    ROWS,
    SOFT,
    WEIGHTS,
    Family,
    recognise,
    without_recurrence,
)
from mechpatch.models.architectures import architecture_of
from mechpatch.models.base import model_folder, read_config
from mechpatch.models.checkpoint import Parts, check_rows, said, sort, summary
from mechpatch.models.files import Stored, exists, open_weights, read_json
from mechpatch.models.heads import check_head
from mechpatch.models.tokens import assign_ids, load_tokenizer, name_tokens
from mechpatch.reprs import short_repr
from mechpatch.source import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outline:
    """A model that can be loaded.

    Attributes:
        source: with folders instead of names.
        folder: of the base.
        config: of the model as it will be, special tokens included.
        family: with what the user overrides.
        tokenizer: with the names of special tokens.
        special: ids of special tokens, by role.
        stored: the checkpoint, or the base where it is the whole model; None for a base with a PEFT adapter.
        parts: its headers, sorted.
    """

    source: Source
    folder: Path
    config: PreTrainedConfig
    family: Family
    tokenizer: PreTrainedTokenizerFast
    special: dict[str, int]
    stored: Stored | None
    parts: Parts | None

    __repr__ = short_repr

    @property
    def left_out(self) -> dict[str, dict[str, int]]:
        """How many keys and bytes are left out, by the beginning of the keys."""
        return summary(self.parts.left_out) if self.parts else {}


def outline(source: Source) -> Outline:
    """Look at all that `source` names. Raises a `CheckpointError` for what cannot be loaded."""
    source = source.resolved()
    folder = model_folder(source.base)
    stored = _checkpoint(source)
    if stored is None and not source.adapter:
        stored = _whole(folder)
    family = family_of(source, folder, stored)
    config = read_config(folder)
    tokenizer = load_tokenizer(_tokenizer_folder(source, folder))
    special = assign_ids(family, tokenizer, config.vocab_size, source.special_ids, folder)
    follow = family.ids == "config" and source.special_ids is None
    if special and (follow or max(special.values()) >= len(tokenizer)):
        name_tokens(tokenizer, family, special, folder)
    parts = None if stored is None else sort(stored.headers, family, source.ignore_keys, stored.path)
    if stored is not None and parts is not None:
        row = architecture_of(config)
        check_head(parts.head, family.head, config.hidden_size, stored.path)
        if source.checkpoint:
            rows = parts.base.get(row.embedding)
            if source.special_ids is None or rows is None or not rows.ndim:
                check_rows(parts, row, len(tokenizer), special, stored.path)
            config.vocab_size = len(parts.base[row.embedding])
        if outside := [each for each in special.values() if each >= config.vocab_size]:
            raise CheckpointError(
                f"{stored.path}: special ids {', '.join(map(str, outside))} lie outside the embedding of "
                f"{config.vocab_size} rows"
            )
        if parts.left_out:
            log.info("%s: left out %s", stored.path, said(summary(parts.left_out)))
    return Outline(
        source=source,
        folder=folder,
        config=config,
        family=family,
        tokenizer=tokenizer,
        special=special,
        stored=stored,
        parts=parts,
    )


def family_of(source: Source, folder: Path, stored: Stored | None) -> Family:
    """The family that was asked for, or that the keys tell, with what the user overrides."""
    config = folder / "config.json"
    entries = [f"config.json: {name}" for name in read_json(config)] if config.is_file() and not source.option else []
    keys = [] if stored is None else [*stored.headers, *entries]
    found = recognise(key for key in keys if not key.startswith(source.ignore_keys))
    if source.family in FAMILIES:
        found = FAMILIES[source.family]
    if found is not None and found.option != source.option and source.family != SOFT.name:
        where = folder if stored is None else stored.path
        way = f"give it as --{found.option}, and its base as --model" if found.option else "give it as --model"
        raise CheckpointError(f"{where}: it is a checkpoint of {found.title}; {way}")
    found = found or next((row for row in ROWS if row.option == source.option), PLAIN)
    if source.family == PAUSE:
        found = without_recurrence(found)
    return replace(
        found,
        question=source.question_format or found.question,
        bos=found.bos if source.bos is None else source.bos,
        n_latents=found.n_latents if source.n_latents is None or found.fed == "nothing" else source.n_latents,
        lora_alpha=found.lora_alpha if source.lora_alpha is None else float(source.lora_alpha),
    )


def _checkpoint(source: Source) -> Stored | None:
    """The checkpoint beside the base."""
    if source.checkpoint is None:
        return None
    rows = [row for row in ROWS if row.option == source.option]
    names = dict.fromkeys(name for row in rows for name in row.files)
    return open_weights(source.checkpoint, tuple(names), f"a {rows[0].title} checkpoint")


def _whole(folder: Path) -> Stored:
    """The weights of a whole model; a fault of its config.json is told before that there are none."""
    try:
        return open_weights(folder, WEIGHTS, "a Hugging Face model")
    except CheckpointError:
        read_config(folder)
        raise


def _tokenizer_folder(source: Source, folder: Path) -> Path:
    adapter = source.adapter and Path(source.adapter)
    return adapter if adapter and exists(adapter / "tokenizer.json", "not a path") else folder
