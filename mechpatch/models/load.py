"""From files to a model that can be patched: base, adapter or CODI checkpoint, merged, hooked, checked and named."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformer_lens import HookedTransformer
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from mechpatch.data import DEMO, DEMO_FOLDER, DEMO_LATENTS, DEMO_LORA_ALPHA
from mechpatch.errors import CheckpointError
from mechpatch.models import codi as codi_format
from mechpatch.models.adapter import embedding_rows, merge_lora, read_peft
from mechpatch.models.architectures import architecture_of
from mechpatch.models.base import build, model_folder, read_config
from mechpatch.models.files import bounded, exists, read_weights, refusing
from mechpatch.models.hooked import parity, to_hooked
from mechpatch.models.memory import weight_digests
from mechpatch.names import DTYPE_NAMES
from mechpatch.storage.keys import digest

log = logging.getLogger(__name__)

DTYPES = {name: getattr(torch, name) for name in DTYPE_NAMES}
# Files that a tokenizer may be read from, by suffix.
TEXT = (".json", ".model", ".jinja", ".txt")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThoughtModel:
    """A merged model, ready to be run and patched.

    Attributes:
        hooked: shares its weights with the Hugging Face model that it was made from.
        tokenizer: tokens added in memory included.
        head: turns a normed hidden state into the next latent thought; None without CODI.
        n_latents: latent thoughts the model was trained with; 0 without CODI.
        pad, bot, eot: ids of CODI's special tokens; None without CODI.
        fingerprint: of merged weights, head, tokenizer and special tokens: equal content, equal name.
        weights: fingerprint of each weight as it lies in memory, by name; None where nobody took it.
        parity: max |Δlogit| against Hugging Face on probe tokens.
        about: where it came from and with which settings, JSON-ready.
    """

    hooked: HookedTransformer
    tokenizer: PreTrainedTokenizerFast
    head: codi_format.LatentHead | None
    n_latents: int
    pad: int | None
    bot: int | None
    eot: int | None
    fingerprint: str
    parity: float
    weights: Mapping[str, str] | None = None
    about: dict[str, Any] = field(default_factory=dict)

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


def load_model(
    base: str | Path,
    adapter: str | Path | None = None,
    codi: str | Path | None = None,
    *,
    lora_alpha: float | None = None,
    lora_targets: Sequence[str] | None = None,
    n_latents: int | None = None,
    dtype: str = "float32",
    device: str = "auto",
    n_ctx: int = 2048,
) -> ThoughtModel:
    """Load a model, merge its LoRA, and wrap it as a `HookedTransformer` that shares the weights.

    Args:
        base: directory of a Hugging Face model, a hub name (asked for only if no such directory exists), or "demo".
        adapter: PEFT LoRA directory; its own configuration holds rank, alpha and modules.
        codi: CODI checkpoint, a directory or a file; excludes `adapter`.
        lora_alpha: of the CODI adapter, which does not store it; published default 32.
        lora_targets: modules that the CODI adapter must cover, in every layer; published default of the architecture.
        n_latents: latent thoughts; published default 6.
        dtype: float32 (reported numbers), float64 or bfloat16.
        device: auto, cpu, cuda, cuda:1, mps.
        n_ctx: longest sequence in tokens, cut to what the model allows.

    Raises:
        CheckpointError: a file is missing or damaged, a tensor is left over, missing or mis-shaped, or parity fails.
    """
    if str(base) == DEMO:
        if adapter or codi:
            raise CheckpointError("the demo model brings its own CODI checkpoint: give neither adapter nor codi")
        base, codi = DEMO_FOLDER / "base", DEMO_FOLDER / "codi"
        lora_alpha = DEMO_LORA_ALPHA if lora_alpha is None else lora_alpha
        n_latents = DEMO_LATENTS if n_latents is None else n_latents
    if adapter and codi:
        raise CheckpointError("adapter and codi were both given; a CODI checkpoint holds its own adapter: give one")
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype {dtype!r} is not known; expected one of {', '.join(DTYPES)}")
    torch.set_float32_matmul_precision("highest")  # TF32 off
    kind, place = DTYPES[dtype], _device(device, DTYPES[dtype])
    folder = model_folder(base)
    config = read_config(folder)
    n_ctx = min(n_ctx, config.max_position_embeddings)
    if n_ctx < 1:
        raise CheckpointError(f"n_ctx is {n_ctx}, expected at least 1 token")
    tokenizer = load_tokenizer(
        adapter if adapter and exists(Path(adapter) / "tokenizer.json", "not a path") else folder
    )
    special, head = None, None
    if codi:
        special = _add_special(tokenizer, config.vocab_size, folder)
        alpha = float(codi_format.LORA_ALPHA if lora_alpha is None else lora_alpha)
        n_latents = codi_format.N_LATENTS if n_latents is None else n_latents
        targets = lora_targets or architecture_of(config).targets
        hf, head, settings = _codi(folder, config, Path(codi), alpha, targets, kind)
        head = head.to(place)
    elif adapter:
        hf, settings = _adapted(folder, config, Path(adapter), kind)
    else:
        hf, settings = _base(folder, config, {}, kind), {}
    if settings:
        log.info("LoRA merged: rank %d, alpha %g", settings["lora_rank"], settings["lora_alpha"])
    nn.Module.to(hf, place)
    hooked = to_hooked(hf, n_ctx)
    try:
        difference = parity(hooked, hf, probe_tokens(hf.config.vocab_size, min(24, n_ctx), place))
    except CheckpointError as error:
        raise CheckpointError(
            f"{' with '.join(str(each) for each in (base, adapter, codi) if each)}: {error}"
        ) from error
    log.info("parity with Hugging Face: max |Δlogit| %.1e", difference)
    n_latents = (n_latents or 0) if codi else 0
    weights = weight_digests(hooked, head)
    pad, bot, eot = special or (None, None, None)
    return ThoughtModel(
        hooked=hooked,
        tokenizer=tokenizer,
        head=head,
        n_latents=n_latents,
        pad=pad,
        bot=bot,
        eot=eot,
        fingerprint=_fingerprint(weights, hf.config, tokenizer, [special, n_latents]),
        parity=difference,
        weights=weights,
        about={"base": str(base), "dtype": dtype, "device": str(place), "n_latents": n_latents, **settings},
    )


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a directory, of a hub name, or of "demo"."""
    folder = DEMO_FOLDER / "base" if str(source) == DEMO else model_folder(source)
    bounded(*(path for path in folder.iterdir() if path.suffix in TEXT))
    # AutoTokenizer makes some tokenizers anew after the model's type, whatever tokenizer.json says.
    kind = PreTrainedTokenizerFast if (folder / "tokenizer.json").is_file() else AutoTokenizer
    with refusing(folder, "its tokenizer cannot be loaded"):
        tokenizer = kind.from_pretrained(folder, trust_remote_code=False)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise CheckpointError(f"{folder}: a fast tokenizer (tokenizer.json) is needed to locate answers by character")
    return tokenizer


def probe_tokens(vocab_size: int, length: int, device: torch.device) -> torch.Tensor:
    """Two rows of seeded token ids, [2, length]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocab_size, (2, length), generator=generator).to(device)


def _base(folder: Path, config: PreTrainedConfig, rows: Mapping[str, Tensor], dtype: torch.dtype) -> PreTrainedModel:
    """The base in `folder`, with embedding `rows` instead of its own where there are any."""
    row = architecture_of(config)
    skip = {*rows, row.embeddings[1]} if rows and config.tie_word_embeddings else {*rows}
    skip |= {name.removeprefix(f"{row.cls.base_model_prefix}.") for name in skip}  # as files without the head call them
    return build(config, {**read_weights(folder, dtype, skip), **rows}, folder)


def _adapted(
    folder: Path, config: PreTrainedConfig, adapter: Path, dtype: torch.dtype
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The base with a PEFT adapter merged, and the adapter's settings."""
    lora, state, file = read_peft(adapter, dtype)
    rows = embedding_rows(state)
    for tensor in rows.values():
        config.vocab_size = tensor.shape[0]
    hf = merge_lora(_base(folder, config, rows, dtype), lora, state, file)
    return hf, {"adapter": str(adapter), "lora_rank": lora.r, "lora_alpha": lora.lora_alpha}


def _codi(
    folder: Path, config: PreTrainedConfig, codi: Path, alpha: float, targets: Sequence[str], dtype: torch.dtype
) -> tuple[PreTrainedModel, codi_format.LatentHead, dict[str, Any]]:
    """The base, or the base weights inside the checkpoint, with its adapter merged; its head; its settings."""
    state, file = codi_format.read_codi(codi, dtype)
    codi_format.check_head(state.head, config.hidden_size, file)
    codi_format.check_rows(state.base, architecture_of(config), config.vocab_size, file)
    config.vocab_size += len(codi_format.SPECIAL)
    hf = build(config, state.base, file) if state.has_base else _base(folder, config, state.base, dtype)
    hf = merge_lora(hf, codi_format.lora_config(state, alpha, targets), state.lora, file)
    settings = {"codi": str(codi), "lora_rank": state.rank, "lora_alpha": alpha, "lora_targets": [*targets]}
    return hf, codi_format.LatentHead(state.head), settings


def _add_special(tokenizer: PreTrainedTokenizerFast, vocab_size: int, source: object) -> tuple[int, int, int]:
    """Ids of CODI's pad, bot and eot, which follow the base vocabulary; the tokenizer learns their names.

    Ids between the tokenizer's last and the end of the vocabulary get names that no question holds.
    """
    names = [f"<|unused_{i}|>" for i in range(vocab_size)] + list(codi_format.SPECIAL)
    tokenizer.add_tokens(names[len(tokenizer) :], special_tokens=True)
    pad, bot, eot = range(vocab_size, vocab_size + len(codi_format.SPECIAL))
    if len(tokenizer) != len(names):
        raise CheckpointError(
            f"{source}: with CODI's {', '.join(codi_format.SPECIAL)} the tokenizer has {len(tokenizer)} tokens, "
            f"expected {len(names)} ({vocab_size} of config.json and 3). It belongs to another model, or has tokens of "
            "these names already"
        )
    return pad, bot, eot


def _fingerprint(
    weights: Mapping[str, str], config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast, settings: list[Any]
) -> str:
    """Of everything that decides the numbers: weights, head, rope and eps, tokens."""
    numbers = {name: getattr(config, name) for name in architecture_of(config).numeric}
    tokens = [json.loads(tokenizer.backend_tokenizer.to_str()), tokenizer.bos_token_id, tokenizer.eos_token_id]
    return digest([dict(weights), numbers, tokens, settings])


def _device(device: str, dtype: torch.dtype) -> torch.device:
    """The device asked for, which must exist and know `dtype`."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    with refusing(f"device {device!r}", f"cannot be used with {dtype}"):
        probe = torch.zeros(1, device=device, dtype=dtype)
        probe.item()  # "meta" holds nothing
        return probe.device
