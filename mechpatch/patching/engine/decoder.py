"""A decoder-only transformer as the pieces that it has, read from a `HookedTransformer`; no model is named here."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformer_lens import HookedTransformer, HookedTransformerConfig

from mechpatch.patching.engine.block import Block, Linear, Norm, Piece, Resid, Rotary, capped, same
from mechpatch.points import HookPoint, Sizes
from mechpatch.reprs import short_repr

tanh_gelu = partial(F.gelu, approximate="tanh")
# By transformer-lens' names, of which two say the same.
ACTIVATIONS: dict[str, Piece] = {
    "silu": partial(F.silu, inplace=True),
    "gelu": F.gelu,
    "gelu_new": tanh_gelu,
    "gelu_pytorch_tanh": tanh_gelu,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoder:
    """A whole model.

    Attributes:
        places: learned positions, added to whatever enters the first block.
        softcap: bound of the logits, which tanh presses under it; None for none.
        rotary: tables of all positions, of global blocks and of local ones.
        window: how many keys, its own the last, a query of a local block sees.
    """

    embed: Float[Tensor, "vocab d_model"]
    places: Float[Tensor, "position d_model"] | None
    blocks: tuple[Block, ...]
    norm: Norm
    unembed: Linear
    softcap: float | None
    rotary: tuple[Rotary | None, Rotary | None]
    window: int | None
    sizes: Sizes

    __repr__ = short_repr

    def enter(self, h: Resid, positions: Int[Tensor, " row"]) -> Resid:
        """What enters the first block where `h` are embeddings or thoughts."""
        return h if self.places is None else h + self.places[positions]

    def shape(self, point: HookPoint) -> tuple[int, ...]:
        """Shape of what a hook point has at one layer and position."""
        return point.shape(self.sizes)

    def logits(self, h: Resid) -> Float[Tensor, "row vocab_out"]:
        """Of the last block's output."""
        return capped(self.unembed(self.norm(h)), self.softcap)


def read_decoder(model: HookedTransformer) -> Decoder:
    """The pieces of a model made by `to_hooked`, whose configuration says which biases there are.

    transformer-lens keeps views of Hugging Face's matrices; undoing the view gives the matrix back. Nothing is copied,
    and a product with it is as fast as the memory allows. Biases that transformer-lens has and the model has not, all
    zero, are left out.
    """
    tensors, cfg = model.state_dict(), model.cfg
    weights = _Weights(tensors, cfg)
    blocks = tuple(weights.block(layer, each.attn) for layer, each in enumerate(model.blocks))
    return Decoder(
        embed=tensors["embed.W_E"],
        places=tensors.get("pos_embed.W_pos"),
        blocks=blocks,
        norm=weights.norm("ln_final"),
        unembed=Linear(tensors["unembed.W_U"].T),
        softcap=_cap(cfg.output_logits_soft_cap),
        rotary=(weights.rotary(blocks, local=False), weights.rotary(blocks, local=True)),
        window=cfg.window_size if any(each.local for each in blocks) else None,
        sizes=Sizes.of(cfg),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """The weights of a model by transformer-lens' names, read piece by piece."""

    tensors: Mapping[str, Tensor]
    cfg: HookedTransformerConfig

    __repr__ = short_repr

    def block(self, layer: int, attention: Any) -> Block:
        cfg, at = self.cfg, f"blocks.{layer}"
        kv = "_" if cfg.n_key_value_heads is not None else ""
        return Block(
            local=attention.attn_type == "local",
            norm=self.norm(f"{at}.ln1"),
            q=self.heads(at, "Q"),
            k=self.heads(at, "K", kv),
            v=self.heads(at, "V", kv),
            q_norm=self.norm_if(cfg.use_qk_norm, f"{at}.attn.q_norm"),
            k_norm=self.norm_if(cfg.use_qk_norm, f"{at}.attn.k_norm"),
            scale=1 / float(attention.attn_scale),
            softcap=_cap(cfg.attn_scores_soft_cap),
            o=Linear(self.tensors[f"{at}.attn.W_O"].flatten(0, 1).T, self.bias("O", f"{at}.attn.b_O")),
            attention_norm=self.norm_if(cfg.use_normalization_before_and_after, f"{at}.ln1_post"),
            mlp_norm=self.norm(f"{at}.ln2"),
            gate=self.mlp(at, "gate") if cfg.gated_mlp else None,
            up=self.mlp(at, "in"),
            act=ACTIVATIONS[str(cfg.act_fn)],
            down=self.mlp(at, "out"),
            out_norm=self.norm_if(cfg.use_normalization_before_and_after, f"{at}.ln2_post"),
        )

    def norm(self, name: str) -> Norm:
        return Norm(self.tensors[f"{name}.w"], self.tensors.get(f"{name}.b"), self.cfg.eps)

    def norm_if(self, there: bool, name: str) -> Piece:
        return self.norm(name) if there else same

    def heads(self, at: str, name: str, kept: str = "") -> Linear:
        weight = self.tensors[f"{at}.attn.{kept}W_{name}"].mT.flatten(0, 1)
        return Linear(weight, self.bias(name, f"{at}.attn.{kept}b_{name}"))

    def mlp(self, at: str, name: str) -> Linear:
        return Linear(self.tensors[f"{at}.mlp.W_{name}"].T, self.bias(name, f"{at}.mlp.b_{name}"))

    def bias(self, name: str, key: str) -> Tensor | None:
        return self.tensors[key].flatten() if name in vars(self.cfg)["biases"] else None

    def rotary(self, blocks: tuple[Block, ...], local: bool) -> Rotary | None:
        at = next((f"blocks.{layer}.attn.rotary" for layer, each in enumerate(blocks) if each.local == local), None)
        if at is None or self.cfg.positional_embedding_type != "rotary":
            return None
        return Rotary(self.tensors[f"{at}_cos"][:, None], self.tensors[f"{at}_sin"][:, None])


def _cap(softcap: float | None) -> float | None:
    """transformer-lens says -1 where there is none."""
    return softcap if softcap is not None and softcap > 0 else None
