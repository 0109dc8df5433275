"""What a load will do, as far as the headers of the files tell: family, special tokens, and what every key is.

No weight is read here, so that whatever does not fit is refused at once.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from peft import LoraConfig
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from mechpatch.errors import CheckpointError
from mechpatch.families import ENTRY, FAMILIES, PAUSE, PLAIN, ROWS, WEIGHTS, Family, recognise, without_recurrence
from mechpatch.models.adapter import open_adapter
from mechpatch.models.architectures import architecture_of
from mechpatch.models.base import model_folder, read_config
from mechpatch.models.checkpoint import Parts, check_rows, said, sort, summary
from mechpatch.models.files import Stored, exists, open_weights, read_json
from mechpatch.models.heads import check_head
from mechpatch.models.tokens import assign_ids, load_tokenizer, name_tokens
from mechpatch.reprs import short_repr
from mechpatch.source import ModelSource

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outline:
    """A model that can be loaded.

    Attributes:
        source: with folders instead of names.
        config: configuration of the model as it will be, special tokens included.
        family: with what the user overrides.
        tokenizer: with the names of special tokens.
        special: ids of special tokens, by role.
        stored: the checkpoint, or the adapter, or the model where it is whole in its directory.
        parts: what the headers of `stored` are; None for an adapter.
        base: the weights beside which `stored` is put; None where it has all of them.
        lora: configuration of an adapter.
    """

    source: ModelSource
    config: PreTrainedConfig
    family: Family
    tokenizer: PreTrainedTokenizerFast
    special: dict[str, int]
    stored: Stored
    parts: Parts | None
    base: Stored | None
    lora: LoraConfig | None

    __repr__ = short_repr

    @property
    def left_out(self) -> dict[str, dict[str, int]]:
        """How many keys and bytes are left out, by the beginning of the keys."""
        headers = self.stored.headers | (self.base.headers if self.base else {})
        ignored = {name: each for name, each in headers.items() if name.startswith(self.source.ignore_keys)}
        found = self.parts.left_out | ignored if self.parts else ignored
        return summary(found, (*self.family.left_out, *self.source.ignore_keys))

    @property
    def doubt(self) -> str:
        """Why its base may be the wrong one; empty if nothing is odd. It is said only where answers are wrong."""
        kind = self.config.model_type
        if self.base is None or kind not in self.family.chat_bases or self.tokenizer.chat_template is not None:
            return ""
        return (
            f"the published checkpoints of {self.family.title} for {kind} were trained on the Instruct model, and the "
            f"tokenizer of {self.source.base} has no chat template"
        )


def outline(source: ModelSource) -> Outline:
    """Look at all that `source` names. Raises a `CheckpointError` for what cannot be loaded."""
    source = source.resolved()
    folder = model_folder(source.base)
    lora, stored = open_adapter(Path(source.adapter)) if source.adapter else (None, open_checkpoint(source, folder))
    family = family_of(source, folder, None if lora else stored)
    config = read_config(folder)
    tokenizer = load_tokenizer(_tokenizer_folder(source, folder))
    special = assign_ids(family, tokenizer, config.vocab_size, source.special_ids, folder)
    follow = family.ids == "config" and source.special_ids is None
    if special and (follow or max(special.values()) >= len(tokenizer)):
        name_tokens(tokenizer, family, special, folder)
    parts = None if lora else sort(stored.headers, family, source.ignore_keys, stored.path)
    if parts is not None:
        _check(parts, source, config, family, len(tokenizer), special, stored.path)
    partial = lora is not None or (source.checkpoint is not None and parts is not None and not parts.has_base)
    found = Outline(
        source=source,
        config=config,
        family=family,
        tokenizer=tokenizer,
        special=special,
        stored=stored,
        parts=parts,
        base=open_weights(folder, WEIGHTS, "a Hugging Face model") if partial else None,
        lora=lora,
    )
    if found.left_out:
        log.info("%s: left out %s", stored.path, said(found.left_out))
    return found


def _check(
    parts: Parts,
    source: ModelSource,
    config: PreTrainedConfig,
    family: Family,
    n_tokens: int,
    special: dict[str, int],
    where: Path,
) -> None:
    """Head, rows and special ids fit; the vocabulary of `config` becomes that of the checkpoint."""
    row = architecture_of(config)
    check_head(parts.head, family.head, config.hidden_size, where)
    if source.checkpoint:
        rows = parts.base.get(row.embedding)
        if source.special_ids is None or rows is None or not rows.ndim:
            check_rows(parts, row, n_tokens, special, where)
        config.vocab_size = len(parts.base[row.embedding])
    if outside := [each for each in special.values() if each >= config.vocab_size]:
        raise CheckpointError(
            f"{where}: special ids {', '.join(map(str, outside))} lie outside the embedding of {config.vocab_size} rows"
        )


def family_of(source: ModelSource, folder: Path, stored: Stored | None) -> Family:
    """The family that was asked for, or that the keys tell, with what the user overrides."""
    config = folder / "config.json"
    entries = [f"{ENTRY}{name}" for name in read_json(config)] if config.is_file() and not source.option else []
    keys = [] if stored is None else [*stored.headers, *entries]
    found = recognise(key for key in keys if not key.startswith(source.ignore_keys))
    if source.family in FAMILIES:
        found = FAMILIES[source.family]
    if found is not None and found.option != source.option:
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


def open_checkpoint(source: ModelSource, folder: Path) -> Stored:
    """The checkpoint beside the base, or the model in `folder` where there is none."""
    if source.checkpoint is not None:
        rows = [row for row in ROWS if row.option == source.option]
        names = dict.fromkeys(name for row in rows for name in row.files)
        return open_weights(source.checkpoint, tuple(names), f"a {rows[0].title} checkpoint")
    try:
        return open_weights(folder, WEIGHTS, "a Hugging Face model")
    except CheckpointError:
        read_config(folder)  # a fault of its config.json is told before that there are no weights
        raise


def _tokenizer_folder(source: ModelSource, folder: Path) -> Path:
    adapter = source.adapter and Path(source.adapter)
    return adapter if adapter and exists(adapter / "tokenizer.json", "not a path") else folder
