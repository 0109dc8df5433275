"""From files to a model that can be patched: base, adapter or CODI checkpoint, merged, hooked, checked and named."""

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformer_lens import HookedTransformer
from transformers import AutoConfig, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mechpatch.data import DEMO, DEMO_FOLDER, DEMO_LATENTS, DEMO_LORA_ALPHA
from mechpatch.errors import CheckpointError
from mechpatch.models import codi as codi_format
from mechpatch.models.adapter import merge_lora, read_peft
from mechpatch.models.hooked import parity, to_hooked
from mechpatch.storage.keys import digest, tensor_digest

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


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
    about: dict[str, Any] = field(default_factory=dict)

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
    lora_targets: Sequence[str] = codi_format.TARGETS,
    n_latents: int | None = None,
    dtype: str = "float32",
    device: str = "auto",
    n_ctx: int = 2048,
) -> ThoughtModel:
    """Load a Llama, merge its LoRA, and wrap it as a `HookedTransformer` that shares the weights.

    Args:
        base: directory of a Hugging Face Llama, a hub name (asked for only if no such directory exists), or "demo".
        adapter: PEFT LoRA directory; its own configuration holds rank, alpha and modules.
        codi: CODI checkpoint, a directory or a file; excludes `adapter`.
        lora_alpha: of the CODI adapter, which does not store it; published default 32.
        lora_targets: modules that the CODI adapter must cover, in every layer.
        n_latents: latent thoughts; published default 6.
        dtype: float32 (reported numbers), float64 or bfloat16.
        device: auto, cpu, cuda, cuda:1, mps.
        n_ctx: longest sequence in tokens, cut to what the model allows.

    Raises:
        CheckpointError: a file is missing or damaged, a tensor is left over, missing or mis-shaped, or parity fails.
    """
    if str(base) == DEMO:
        base, codi = DEMO_FOLDER / "base", DEMO_FOLDER / "codi"
        lora_alpha, n_latents = lora_alpha or DEMO_LORA_ALPHA, n_latents or DEMO_LATENTS
    if adapter and codi:
        raise CheckpointError("adapter and codi were both given; a CODI checkpoint holds its own adapter: give one")
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype {dtype!r} is not known; expected one of {', '.join(DTYPES)}")
    torch.set_float32_matmul_precision("highest")  # TF32 off
    kind = DTYPES[dtype]
    config = _config(base)
    vocab_size = config.vocab_size
    about: dict[str, Any] = {"base": str(base), "dtype": dtype}
    head, special = None, (None, None, None)
    tokenizer = load_tokenizer(adapter if adapter and (Path(adapter) / "tokenizer.json").is_file() else base)
    if codi:
        alpha = codi_format.LORA_ALPHA if lora_alpha is None else lora_alpha
        state, file = codi_format.read_codi(Path(codi))
        codi_format.check_head(state.head, config.hidden_size, str(file))
        codi_format.check_rows(state.base, vocab_size, str(file))
        hf = None if codi_format.has_base(state) else _base(base, config, kind)
        head = codi_format.LatentHead({name: tensor.to(kind) for name, tensor in state.head.items()})
        about |= {"codi": str(codi), "lora_rank": state.rank, "lora_alpha": alpha, "lora_targets": [*lora_targets]}
        hf = codi_format.merge_codi(hf, config, state, str(file), kind, alpha, lora_targets)
        special = tuple(vocab_size + i for i in range(3))
        _add_special(tokenizer, vocab_size)
        n_latents = codi_format.N_LATENTS if n_latents is None else n_latents
        log.info("CODI adapter merged: rank %d, alpha %g (not stored in the checkpoint), %d latents", state.rank, alpha, n_latents)
        del state
    else:
        hf = _base(base, config, kind)
        n_latents = 0
        if adapter:
            peft_config, tensors, file = read_peft(Path(adapter))
            about |= {"adapter": str(adapter), "lora_rank": peft_config.r, "lora_alpha": peft_config.lora_alpha}
            hf = merge_lora(hf, peft_config, tensors, str(file))
            log.info("LoRA merged: rank %d, alpha %g", peft_config.r, peft_config.lora_alpha)
    place = _device(device)
    hf = hf.to(place).eval().requires_grad_(False)
    if head is not None:
        head = head.to(place)
    hooked = to_hooked(hf, min(n_ctx, config.max_position_embeddings))
    difference = parity(hooked, hf, probe_tokens(hf.config.vocab_size, place))
    log.info("parity with Hugging Face: max |Δlogit| %.1e", difference)
    weights = dict(hf.named_parameters())
    if head is not None:
        weights |= {f"head.{name}": value for name, value in head.named_parameters()}
    # Rope, eps and tokens decide the numbers as much as the weights do.
    settings = [json.loads(tokenizer.backend_tokenizer.to_str()), special, n_latents, _numeric_config(hf.config)]
    return ThoughtModel(
        hooked=hooked,
        tokenizer=tokenizer,
        head=head,
        n_latents=n_latents,
        pad=special[0],
        bot=special[1],
        eot=special[2],
        fingerprint=digest([tensor_digest(weights.items()), settings]),
        parity=difference,
        about=about | {"device": str(place), "n_latents": n_latents},
    )


def probe_tokens(vocab_size: int, device: torch.device) -> torch.Tensor:
    """Two rows of 24 seeded token ids, [2, 24]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocab_size, (2, 24), generator=generator).to(device)


def _numeric_config(config: LlamaConfig) -> dict[str, Any]:
    """The entries of a configuration that decide numbers."""
    keys = ("rms_norm_eps", "rope_parameters", "num_attention_heads", "num_key_value_heads", "tie_word_embeddings")
    return {key: getattr(config, key) for key in keys}


def _config(base: str | Path) -> LlamaConfig:
    path = Path(base)
    looks_local = str(base).startswith((".", "/", "~")) or str(base).count("/") > 1 or path.exists()
    if looks_local and not (path / "config.json").is_file():
        raise CheckpointError(f"{base}: config.json is missing; expected the directory of a Hugging Face Llama")
    try:
        config = AutoConfig.from_pretrained(base)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{base}: neither a model directory nor a name that the hub answers: {error}") from error
    if not isinstance(config, LlamaConfig):
        raise CheckpointError(f"{base}: model_type is {config.model_type!r}; expected 'llama'")
    return config


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a directory, of a hub name, or of "demo"."""
    source = DEMO_FOLDER / "base" if str(source) == DEMO else source
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{source}: the tokenizer cannot be loaded: {error}") from error
    if not tokenizer.is_fast:
        raise CheckpointError(f"{source}: a fast tokenizer (tokenizer.json) is needed to locate answers by character")
    return tokenizer


def _add_special(tokenizer: PreTrainedTokenizerFast, vocab_size: int) -> None:
    """Name CODI's ids in the tokenizer, so that pictures can show them, where the vocabulary leaves no gap before them."""
    if len(tokenizer) == vocab_size:
        tokenizer.add_tokens(list(codi_format.SPECIAL), special_tokens=True)


def _base(base: str | Path, config: LlamaConfig, dtype: torch.dtype) -> LlamaForCausalLM:
    """The Hugging Face base, with every key of its files accounted for."""
    try:
        hf, report = LlamaForCausalLM.from_pretrained(base, config=config, dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{base}: the weights cannot be loaded: {error}") from error
    faults = {name: sorted(map(str, keys)) for name, keys in report.items() if keys}
    if faults:
        raise CheckpointError(f"{base}: the weights do not fit config.json: {faults}")
    return hf


def _device(device: str) -> torch.device:
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    return place
