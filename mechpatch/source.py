"""What a model is made of, as its user names it: one frozen value, so that it can be recorded and loaded again."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from mechpatch.data import SHIPPED
from mechpatch.errors import CheckpointError, SpecError
from mechpatch.families import FAMILIES, NAMES, PAUSE, QUESTION, SOFT
from mechpatch.names import not_known

TIES = ("first", "second")
SOFT_TOP_K, SOFT_TEMPERATURE = 10, 0.6  # published settings of soft thinking


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """What a model is made of; None stands for what its family or architecture has.

    Attributes:
        base: directory of a Hugging Face model, a hub name (the hub is asked only if no such directory exists), or
            the name of a shipped model, as "demo".
        adapter: PEFT LoRA directory; its own configuration holds rank, alpha and modules.
        codi, coconut: checkpoint of such a family, a directory or a file; at most one of the three is given.
        family: name of a family, where its files do not tell it; `pause` for that of the files without recurrence.
        lora_alpha: alpha of the LoRA in a checkpoint, which does not store it.
        lora_targets: modules that this LoRA must cover, in every layer.
        n_latents: latent thoughts.
        special_ids: ids of the family's special tokens, in its order.
        bos: whether questions begin with the tokenizer's bos.
        question_format: what is read in place of a question, with `{question}` in it.
        ignore_keys: beginnings of further keys to leave out, at the risk of who gives them.
        tie: which of two unequal copies counts where input and output embedding are tied.
        soft_top_k, soft_temperature: settings of soft thinking, see `SoftHead`.
    """

    base: str | Path
    adapter: str | Path | None = None
    codi: str | Path | None = None
    coconut: str | Path | None = None
    family: str | None = None
    lora_alpha: float | None = None
    lora_targets: tuple[str, ...] | None = None
    n_latents: int | None = None
    special_ids: tuple[int, ...] | None = None
    bos: bool | None = None
    question_format: str | None = None
    ignore_keys: tuple[str, ...] = ()
    tie: str | None = None
    soft_top_k: int | None = None
    soft_temperature: float | None = None

    def __post_init__(self) -> None:
        named = [f"--{name}" for name in ("adapter", "codi", "coconut") if getattr(self, name)]
        if len(named) > 1:
            raise CheckpointError(
                f"{' and '.join(named)} were both given; a checkpoint holds its own adapter: give one"
            )
        if self.n_latents is not None and self.n_latents < 1:
            raise SpecError(f"--latents is {self.n_latents}, expected at least 1 thought")
        for option, known in (("family", NAMES), ("tie", TIES)):
            if (value := getattr(self, option)) is not None and value not in known:
                raise CheckpointError(not_known(f"--{option}", [value], known))
        if self.question_format is not None and QUESTION not in self.question_format:
            raise CheckpointError(f"--question-format {self.question_format!r} has no {QUESTION} in it")
        if not self.mixes and (self.soft_top_k is not None or self.soft_temperature is not None):
            raise CheckpointError(f"--soft-top-k and --soft-temperature belong to --family {SOFT.name}")
        if self.mixes and self.checkpoint:
            raise CheckpointError(f"--family {self.family} needs no checkpoint; it can be run on any plain model")

    @property
    def mixes(self) -> bool:
        """Whether thoughts are mixtures of embeddings."""
        return self.family in FAMILIES and FAMILIES[self.family].fed == "mixture"

    @property
    def option(self) -> str:
        """The option that gave the checkpoint, without hyphens; empty if there is none."""
        return next((name for name in ("codi", "coconut") if getattr(self, name)), "")

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint that was given, of whatever family."""
        return Path(getattr(self, self.option)) if self.option else None

    def resolved(self) -> "ModelSource":
        """With folders for a shipped model's name, and with the settings of soft thinking where it is asked for."""
        if self.mixes:
            top_k = SOFT_TOP_K if self.soft_top_k is None else self.soft_top_k
            temperature = SOFT_TEMPERATURE if self.soft_temperature is None else float(self.soft_temperature)
            self = replace(self, soft_top_k=top_k, soft_temperature=temperature)
        row = SHIPPED.get(str(self.base))
        if row is None:
            return self
        if self.adapter or self.checkpoint or self.family not in (None, row.option, PAUSE):
            raise CheckpointError(
                f"the {row.name} model brings its own checkpoint: give neither --adapter nor a checkpoint, and no "
                f"--family but {row.option} or {PAUSE}"
            )
        return replace(
            self,
            base=row.base,
            **{row.option: row.checkpoint},
            family=self.family or row.family,
            lora_alpha=row.lora_alpha if self.lora_alpha is None else self.lora_alpha,
            n_latents=row.n_latents if self.n_latents is None else self.n_latents,
        )

    @classmethod
    def recorded(cls, about: Mapping[str, Any]) -> "ModelSource":
        """What `ThoughtModel.about` says of a model; numbers that its files hold are left to them."""
        known = {each.name: about[each.name] for each in fields(cls) if about.get(each.name) is not None}
        if not known.get("n_latents"):
            known.pop("n_latents", None)
        if not (known.get("codi") or known.get("coconut") or about.get("base") in SHIPPED):
            known.pop("lora_alpha", None)
        known = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
        return cls(**{**known, "base": str(about.get("base"))})

    def moved(self, base: Any, adapter: Any, codi: Any, coconut: Any) -> "ModelSource":
        """The same from other places; the base may still be where it was."""
        again = bool(codi or coconut) == bool(self.checkpoint or self.base in SHIPPED)
        return replace(
            self,
            base=base or self.base,
            adapter=adapter,
            codi=codi,
            coconut=coconut,
            family=self.family if again or self.family == PAUSE else None,
            lora_alpha=self.lora_alpha if again else None,
        )

    def as_json(self) -> dict[str, Any]:
        """Everything that was given, JSON-ready."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
        plain = {name: [*value] if isinstance(value, tuple) else value for name, value in plain.items()}
        return {name: value for name, value in plain.items() if value not in (None, [])}
