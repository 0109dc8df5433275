"""The tokenizer, and the special tokens that a family adds to it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from mechpatch.data import SHIPPED
from mechpatch.errors import CheckpointError
from mechpatch.families import Family
from mechpatch.models.base import model_folder
from mechpatch.models.files import bounded, refusing

# Files that a tokenizer may be read from, by suffix.
TEXT = (".json", ".model", ".jinja", ".txt")


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a directory, of a hub name, or of a shipped model."""
    row = SHIPPED.get(str(source))
    folder = model_folder(source) if row is None else row.base
    bounded(*(path for path in folder.iterdir() if path.suffix in TEXT))
    # AutoTokenizer makes some tokenizers anew after the model's type, whatever tokenizer.json says.
    kind = PreTrainedTokenizerFast if (folder / "tokenizer.json").is_file() else AutoTokenizer
    with refusing(folder, "its tokenizer cannot be loaded"):
        tokenizer = kind.from_pretrained(folder, trust_remote_code=False)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise CheckpointError(f"{folder}: a fast tokenizer (tokenizer.json) is needed to locate answers by character")
    return tokenizer


def identity(tokenizer: PreTrainedTokenizerFast) -> list[Any]:
    """What decides how it cuts a text, JSON values."""
    return [json.loads(tokenizer.backend_tokenizer.to_str()), tokenizer.bos_token_id, tokenizer.eos_token_id]


def assign_ids(
    family: Family,
    tokenizer: PreTrainedTokenizerFast,
    vocab_size: int,
    given: Sequence[int] | None,
    source: object,
) -> dict[str, int]:
    """Ids of the family's special tokens, by role.

    Args:
        given: by the user, in the place of what the family has.
    """
    known, names = tokenizer.get_vocab(), [token for _, token in family.special]
    if given is not None:
        if len(given) != len(names) or len({*given}) != len(given) or min(given, default=0) < 0:
            roles = ", ".join(family.roles) or "no special tokens, so none"
            raise CheckpointError(
                f"--special-ids {','.join(map(str, given))}: expected {len(names)} different ids for {family.title}: "
                f"{roles}"
            )
        ids = given
    elif family.ids == "given":
        return {}
    elif family.ids == "config":
        ids = range(vocab_size, vocab_size + len(names))
    elif all(name in known for name in names):
        ids = [known[name] for name in names]
    elif family.ids == "tokenizer":
        ids = range(len(tokenizer), len(tokenizer) + len(names))
    else:
        missing = ", ".join(name for name in names if name not in known)
        raise CheckpointError(
            f"{source}: {family.title} needs tokens that its tokenizer has not: {missing}. If other tokens stand for "
            f"them, give their ids: --special-ids {','.join(family.roles).upper()}"
        )
    return dict(zip(family.roles, ids, strict=True))


def name_tokens(tokenizer: PreTrainedTokenizerFast, family: Family, ids: Mapping[str, int], source: object) -> None:
    """Teach the tokenizer special tokens that follow its own; raises if it has tokens of these names, or of these ids.

    Ids between its last one and theirs get names that no question holds.
    """
    names = {ids[role]: token for role, token in family.special if role in ids}
    rows = max(names) + 1
    fresh = [names.get(each, f"<|unused_{each}|>") for each in range(len(tokenizer), rows)]
    tokenizer.add_tokens(fresh, special_tokens=True)
    if len(tokenizer) != rows:
        raise CheckpointError(
            f"{source}: with {', '.join(names.values())} the tokenizer has {len(tokenizer)} tokens, expected {rows} "
            f"({rows - len(names)} before them). It belongs to another model, or has tokens of these names already"
        )
