"""A decoder-only transformer as the pieces that it has, read from a `HookedTransformer`; no model is named here."""

from dataclasses import dataclass
from functools import partial

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformer_lens import HookedTransformer

from mechpatch.patching.block import Block, Linear, Norm, Piece, Resid, Rotary, capped, same
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
        softcap: of logits.
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
    kv_heads: int
    d_head: int

    __repr__ = short_repr

    def enter(self, h: Resid, positions: Int[Tensor, " row"]) -> Resid:
        """What enters the first block where `h` are embeddings or thoughts."""
        return h if self.places is None else h + self.places[positions]

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
    biases: tuple[str, ...] = vars(cfg)["biases"]
    kv = "_" if cfg.n_key_value_heads is not None else ""

    def norm(name: str) -> Norm:
        return Norm(tensors[f"{name}.w"], tensors.get(f"{name}.b"), cfg.eps)

    def norm_if(there: bool, name: str) -> Piece:
        return norm(name) if there else same

    def block(layer: int) -> Block:
        at, attention = f"blocks.{layer}", model.blocks[layer].attn

        def bias(name: str, key: str) -> Tensor | None:
            return tensors[f"{at}.{key}"].flatten() if name in biases else None

        def heads(name: str, kept: str = "") -> Linear:
            weight = tensors[f"{at}.attn.{kept}W_{name}"].mT.flatten(0, 1)
            return Linear(weight, bias(name, f"attn.{kept}b_{name}"))

        def mlp(name: str) -> Linear:
            return Linear(tensors[f"{at}.mlp.W_{name}"].T, bias(name, f"mlp.b_{name}"))

        return Block(
            local=attention.attn_type == "local",
            norm=norm(f"{at}.ln1"),
            q=heads("Q"),
            k=heads("K", kv),
            v=heads("V", kv),
            q_norm=norm_if(cfg.use_qk_norm, f"{at}.attn.q_norm"),
            k_norm=norm_if(cfg.use_qk_norm, f"{at}.attn.k_norm"),
            scale=1 / float(attention.attn_scale),
            softcap=_cap(cfg.attn_scores_soft_cap),
            o=Linear(tensors[f"{at}.attn.W_O"].flatten(0, 1).T, bias("O", "attn.b_O")),
            attention_norm=norm_if(cfg.use_normalization_before_and_after, f"{at}.ln1_post"),
            mlp_norm=norm(f"{at}.ln2"),
            gate=mlp("gate") if cfg.gated_mlp else None,
            up=mlp("in"),
            act=ACTIVATIONS[str(cfg.act_fn)],
            down=mlp("out"),
            out_norm=norm_if(cfg.use_normalization_before_and_after, f"{at}.ln2_post"),
        )

    blocks = tuple(map(block, range(cfg.n_layers)))

    def rotary(local: bool) -> Rotary | None:
        at = next((f"blocks.{layer}.attn.rotary" for layer, each in enumerate(blocks) if each.local == local), None)
        if at is None or cfg.positional_embedding_type != "rotary":
            return None
        return Rotary(tensors[f"{at}_cos"][:, None], tensors[f"{at}_sin"][:, None])

    return Decoder(
        embed=tensors["embed.W_E"],
        places=tensors.get("pos_embed.W_pos"),
        blocks=blocks,
        norm=norm("ln_final"),
        unembed=Linear(tensors["unembed.W_U"].T),
        softcap=_cap(cfg.output_logits_soft_cap),
        rotary=(rotary(False), rotary(True)),
        window=cfg.window_size if any(each.local for each in blocks) else None,
        kv_heads=cfg.n_key_value_heads or cfg.n_heads,
        d_head=cfg.d_head,
    )


def _cap(softcap: float | None) -> float | None:
    """transformer-lens says -1 where there is none."""
    return softcap if softcap is not None and softcap > 0 else None
