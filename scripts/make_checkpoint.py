"""Make a random Llama in Hugging Face format and a CODI checkpoint for it, to measure loading with.

    python scripts/make_checkpoint.py --shape 1b --dtype float32 --out /tmp/checkpoint [--with-base] [--auxiliary]
        [--shard 5000] [--llama-tokenizer]

Writes `base/` (weights, and a byte-level tokenizer or LLaMA-3's own) and `codi/` (LoRA on all seven modules, latent
head, embedding rows with pad, bot and eot; with `--with-base` the frozen base weights too, as some published files have
them, and with `--auxiliary` the second model that SIM-CoT trains with). Tensors are drawn and written one by one:
memory stays at the size of the largest.
"""

import argparse
import json
import math
import zlib
from pathlib import Path

import torch
from llama_tokenizer import llama3_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ROPE = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def llama3(hidden_size: int, layers: int, heads: int) -> LlamaConfig:
    """What the small models of LLaMA-3.2 have in common."""
    return LlamaConfig(
        vocab_size=128256,
        hidden_size=hidden_size,
        intermediate_size=8192,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        max_position_embeddings=131072,
        tie_word_embeddings=True,
        rope_parameters={**ROPE, "rope_theta": 500000.0, "original_max_position_embeddings": 8192},
    )


SHAPES = {
    "1b": llama3(2048, layers=16, heads=32),
    "3b": llama3(3072, layers=28, heads=24),
    "medium": LlamaConfig(
        vocab_size=16000,
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=24,
        num_attention_heads=8,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    ),
    "tiny": LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        rope_parameters={**ROPE, "rope_theta": 10000.0, "original_max_position_embeddings": 64},
    ),
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
HEAD_DIM = 2048  # of the latent head's inner layer
SPECIAL_TOKENS = 3
CODI = "codi.base_model.model."
Shapes = dict[str, tuple[int, ...]]


def base_shapes(config: LlamaConfig) -> tuple[Shapes, Shapes]:
    """All tensors of the model, and the weights of its linear layers except the output."""
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    linear = {
        f"{name}.weight" for name, module in model.model.named_modules(prefix="model") if isinstance(module, nn.Linear)
    }
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    return shapes, {name: shape for name, shape in shapes.items() if name in linear}


def codi_shapes(config: LlamaConfig, rank: int, with_base: bool, auxiliary: bool) -> Shapes:
    """Tensors of a CODI state dict under their published names; `auxiliary` ones are those of SIM-CoT."""
    shapes, linear = base_shapes(config)
    d_model = config.hidden_size
    found: Shapes = {f"{CODI}model.embed_tokens.weight": (config.vocab_size + SPECIAL_TOKENS, d_model)}
    for name, (d_out, d_in) in linear.items():
        module = CODI + name.removesuffix(".weight")
        found |= {f"{module}.lora_A.default.weight": (rank, d_in), f"{module}.lora_B.default.weight": (d_out, rank)}
    if with_base:
        others = {name: shape for name, shape in shapes.items() if name != "model.embed_tokens.weight"}
        found |= {
            CODI + (name.replace(".weight", ".base_layer.weight") if name in linear else name): shape
            for name, shape in others.items()
        }
    found |= {"prj.1.weight": (HEAD_DIM, d_model), "prj.1.bias": (HEAD_DIM,)}
    found |= {"prj.3.weight": (d_model, HEAD_DIM), "prj.3.bias": (d_model,)}
    found |= {"prj.ln.weight": (d_model,), "prj.ln.bias": (d_model,)}
    return found | ({f"decoder.{name}": shape for name, shape in shapes.items()} if auxiliary else {})


def draw(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Random values that depend on the name alone; norms near one, the rest small enough for a steady residual."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    values *= 0.02
    if "norm" in name or name == "prj.ln.weight":
        values += 1
    return values.to(dtype)


def write_tensors(path: Path, shapes: Shapes, dtype: torch.dtype) -> None:
    """Write a .safetensors file one tensor at a time: length of the header, header, bytes."""
    header, end = {}, 0
    kind = {torch.float32: "F32", torch.bfloat16: "BF16"}[dtype]
    for name, shape in shapes.items():
        start, end = end, end + torch.Size(shape).numel() * dtype.itemsize
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            file.write(draw(name, shape, dtype).view(torch.uint8).numpy().data)


def write_weights(folder: Path, shapes: Shapes, dtype: torch.dtype, limit: float) -> None:
    """Write one file, or shards of at most `limit` bytes (or one tensor) with their index."""
    shards: list[Shapes] = [{}]
    room = limit
    for name, shape in shapes.items():
        size = torch.Size(shape).numel() * dtype.itemsize
        if shards[-1] and size > room:
            shards.append({})
            room = limit
        shards[-1][name] = shape
        room -= size
    if len(shards) == 1:
        write_tensors(folder / "model.safetensors", shapes, dtype)
        return
    names = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    for file, each in zip(names, shards, strict=True):
        write_tensors(folder / file, each, dtype)
    places = {name: file for file, each in zip(names, shards, strict=True) for name in each}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def byte_tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """One token a byte, behind <s>; the rest of the vocabulary is never used."""
    names = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    names += [f"<|unused_{i}|>" for i in range(len(names), vocab_size)]
    backend = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--rank", type=int, default=128, help="of the LoRA; 128 is the published one")
    parser.add_argument("--with-base", action="store_true", help="put the frozen base weights into the CODI file too")
    parser.add_argument("--auxiliary", action="store_true", help="put SIM-CoT's second model into the CODI file")
    parser.add_argument("--shard", type=float, default=math.inf, help="largest file in MB; published ones have 5000")
    parser.add_argument("--llama-tokenizer", action="store_true", help="LLaMA-3's own; needs the package llama-models")
    args = parser.parse_args()
    config, dtype = SHAPES[args.shape], DTYPES[args.dtype]
    try:
        tokenizer = llama3_tokenizer() if args.llama_tokenizer else byte_tokenizer(config.vocab_size)
    except ModuleNotFoundError:
        parser.error("LLaMA-3's tokenizer is in the package llama-models: pip install -e '.[llama]'")
    if len(tokenizer) > config.vocab_size:
        parser.error(f"the tokenizer has {len(tokenizer)} tokens, and shape {args.shape} {config.vocab_size}")
    config.dtype = dtype
    config.architectures = ["LlamaForCausalLM"]
    limit = 1e6 * args.shard
    write_weights(args.out / "base", base_shapes(config)[0], dtype, limit)
    write_weights(args.out / "codi", codi_shapes(config, args.rank, args.with_base, args.auxiliary), dtype, limit)
    config.save_pretrained(args.out / "base")
    tokenizer.save_pretrained(args.out / "base")


if __name__ == "__main__":
    main()
