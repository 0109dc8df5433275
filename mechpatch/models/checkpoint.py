"""What the tensors of a checkpoint are: base weights, LoRA, latent head, or left out; every key is accounted for.

Checkpoints of one family circulate with the frozen base weights and without them; part of the base is an error.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from peft import LoraConfig
from torch import Tensor

from mechpatch.errors import CheckpointError
from mechpatch.families import Family
from mechpatch.formats import amount
from mechpatch.models import adapter
from mechpatch.models.architectures import EMBEDDINGS, Architecture
from mechpatch.reprs import short_repr

LORA = re.compile(r"(.+)\.(lora_[AB])\.default\.weight")
LISTED = 8  # keys that a message names


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The tensors of a checkpoint, sorted by what they are.

    Attributes:
        lora: by PEFT's file names, `base_model.model.….lora_A.weight`.
        base: base weights by Hugging Face name, embedding rows among them; may hold the embeddings alone.
        head: under its own names.
        aliases: further copies of the input embedding.
        left_out: what the family does not need, and what the user asked to ignore.
        rank: rank of the LoRA; 0 without one.
    """

    lora: dict[str, Tensor]
    base: dict[str, Tensor]
    head: dict[str, Tensor]
    aliases: dict[str, Tensor]
    left_out: dict[str, Tensor]
    rank: int

    __repr__ = short_repr

    @property
    def has_base(self) -> bool:
        """Whether base weights other than embedding rows are in it; then all of them must be."""
        return any(name not in EMBEDDINGS for name in self.base)


def sort(tensors: Mapping[str, Tensor], family: Family, ignored: Sequence[str], source: object) -> Parts:
    """Sort tensors, or their headers; keys that the family does not know are errors that name them.

    Args:
        ignored: beginnings of further keys to leave out.
    """
    parts, unknown = Parts({}, {}, {}, {}, {}, 0), []
    for key, tensor in tensors.items():
        inner = family.inner(key)
        plain = None if inner is None else inner.replace(".base_layer.", ".")
        if key.startswith((*family.left_out, *ignored)):
            parts.left_out[key] = tensor
        elif key in family.aliases:
            parts.aliases[key] = tensor
        elif family.is_head(key):
            parts.head[key] = tensor
        elif inner is None or plain is None or plain in parts.base:
            unknown.append(key)
        elif family.lora and (match := LORA.fullmatch(inner)):
            parts.lora[f"{adapter.PREFIX}{match[1]}.{match[2]}.weight"] = tensor
        elif ".lora_" in inner:
            unknown.append(key)
        else:
            parts.base[plain] = tensor
    if unknown:
        listed = ", ".join(sorted(unknown)[:LISTED])
        raise CheckpointError(
            f"{source}: {len(unknown)} keys are not those of a {family.title} checkpoint: {listed}. "
            f"Expected {_expected(family)}. Keys that you know to be of no use are left out with --ignore-keys PREFIX"
        )
    if not family.lora:
        return parts
    ranks = Counter(tensor.shape[:1] for name, tensor in parts.lora.items() if name.endswith("lora_A.weight"))
    if not ranks:
        raise CheckpointError(
            f"{source}: no {family.prefixes[0]}….lora_A.default.weight is there; expected a LoRA checkpoint of "
            f"{family.title}"
        )
    ((rank, *_), _), *_ = ranks.most_common(1)  # a module of another rank is then named as mis-shaped
    return Parts(parts.lora, parts.base, parts.head, parts.aliases, parts.left_out, rank)


def _expected(family: Family) -> str:
    parts = [f"{family.prefixes[0]}…"]
    parts[0] += " with lora_A.default.weight and lora_B.default.weight" if family.lora else ""
    parts += [f"{family.head[0].partition('.')[0]}.*"] if family.head else []
    return ", and ".join([*parts, *family.aliases])


def summary(left_out: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, dict[str, int]]:
    """What was left out, by the prefix that says so: how many tensors, and how many bytes."""
    found: dict[str, dict[str, int]] = {}
    for key, tensor in left_out.items():
        prefix = next(each for each in prefixes if key.startswith(each))
        entry = found.setdefault(prefix if key == prefix else f"{prefix}*", {"keys": 0, "bytes": 0})
        entry["keys"] += 1
        entry["bytes"] += tensor.nbytes
    return found


def said(left_out: Mapping[str, Mapping[str, int]]) -> str:
    """A summary in words."""
    counts = {name: f"{each['keys']} {'key' if each['keys'] == 1 else 'keys'}" for name, each in left_out.items()}
    return ", ".join(f"{name} ({counts[name]}, {amount(each['bytes'])}B)" for name, each in left_out.items())


def lora_config(rank: int, alpha: float, targets: Sequence[str]) -> LoraConfig:
    """The adapter's configuration, of which the state dict stores the rank alone."""
    config = LoraConfig(r=rank, target_modules=list(targets), lora_dropout=0.0, task_type="CAUSAL_LM")
    config.lora_alpha = alpha  # pyright: ignore[reportAttributeAccessIssue], a fraction is as good
    return config


def check_rows(parts: Parts, row: Architecture, rows: int, special: Mapping[str, int], source: object) -> None:
    """Embedding rows are the vocabulary and the special tokens.

    Args:
        rows: expected.
        special: ids of special tokens, by role.
    """
    names, before = ", ".join(special), rows - len(special)
    if row.embedding not in parts.base:
        raise CheckpointError(f"{source}: {row.embedding} is missing; the special tokens {names} live in it")
    for name in row.embeddings:
        if name not in parts.base or parts.base[name].shape[:1] == (rows,):
            continue
        shape = tuple(parts.base[name].shape)
        more = shape[0] - rows if shape else 0
        likely = "It was trained on another base or with other special tokens"
        if more == -len(special):
            likely = "It was saved before special tokens were added, or by code that gave them no rows"
        elif more > 0:
            likely = (
                f"It has {more} more: before training, tokens were added to the base that you give, or the base was "
                f"another one. If you know which ids were used, give them: --special-ids {','.join(special).upper()}"
            )
        raise CheckpointError(
            f"{source}: {name} has shape {shape}, expected {rows} rows ({before} of the base vocabulary, then "
            f"{names}). {likely}"
        )


def require_alias(parts: Parts, row: Architecture, source: object) -> None:
    """Further copies of the input embedding are copies, or a `CheckpointError` names the one that is not."""
    base = parts.base.get(row.embedding)
    for key, tensor in parts.aliases.items():
        if base is None or not (tensor.is_meta or torch.equal(base, tensor)):
            raise CheckpointError(
                f"{source}: {key} differs from {row.embedding}, of which it should be a copy; take what the model "
                f"itself has with --ignore-keys {key}"
            )
