"""Models and questions to measure on: the demo model, or random weights of a given shape; random tokens are as good.

What a token is does not change what it costs. Clean and corrupted question differ in one token after a fifth of the
question, as the pairs of GSM8K do on average; the answer is one token, behind an eot and five tokens of prefix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import torch
from make_checkpoint import HEAD_DIM, SHAPES, base_shapes, draw
from transformer_lens import HookedTransformer
from transformers import LlamaConfig, PreTrainedModel

from mechpatch.axes import SiteVectors
from mechpatch.data import DEMO, DEMO_FOLDER
from mechpatch.models import load_model
from mechpatch.models.base import build
from mechpatch.models.heads import LatentHead
from mechpatch.models.hooked import to_hooked
from mechpatch.patching import Batch, collate, engine
from mechpatch.patching.engine import recording
from mechpatch.patching.engine.decoder import read_decoder
from mechpatch.patching.patch import Patch
from mechpatch.thoughts import Layout
from mechpatch.thoughts.layout import Tail

KINDS = ("static", "latent")
PREFIX = 5  # tokens of "The answer is: ", with LLaMA-3's tokenizer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """One set of weights, as Hugging Face and as transformer-lens hold it."""

    hf: PreTrainedModel
    hooked: HookedTransformer
    head: torch.nn.Module

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return self.hooked.cfg.n_layers


def make_model(shape: str, dtype: torch.dtype = torch.float32, n_ctx: int = 1024, device: str = "cpu") -> Model:
    """The demo model, or random weights in memory."""
    if shape == DEMO:
        return demo_model(dtype, device)
    config = SHAPES[shape]
    weights = {name: draw(name, each, dtype) for name, each in base_shapes(config)[0].items()}
    hf = build(config, weights, shape)
    torch.nn.Module.to(hf, device)
    d_model = config.hidden_size
    shapes = {"1.weight": (HEAD_DIM, d_model), "1.bias": (HEAD_DIM,), "3.weight": (d_model, HEAD_DIM)}
    shapes |= {"3.bias": (d_model,), "ln.weight": (d_model,), "ln.bias": (d_model,)}
    head = LatentHead({f"prj.{name}": draw(f"prj.{name}", each, dtype) for name, each in shapes.items()})
    torch.nn.Module.to(head, device)
    return Model(hf=hf, hooked=to_hooked(hf, n_ctx), head=head)


def demo_model(dtype: torch.dtype, device: str) -> Model:
    """The shipped model; its merged weights are put back under Hugging Face's names, not copied."""
    loaded = load_model(DEMO, dtype=str(dtype).removeprefix("torch."), device=device)
    decoder = read_decoder(loaded.hooked)
    config = LlamaConfig.from_pretrained(DEMO_FOLDER / "base")
    config.vocab_size = len(decoder.embed)
    names = {"self_attn": "qkvo", "mlp": ("gate", "up", "down")}
    weights = {"model.embed_tokens.weight": decoder.embed, "model.norm.weight": decoder.norm.gain}
    for layer, block in enumerate(decoder.blocks):
        start = f"model.layers.{layer}"
        weights[f"{start}.input_layernorm.weight"] = block.norm.gain
        weights[f"{start}.post_attention_layernorm.weight"] = block.mlp_norm.gain
        for part, matrices in names.items():
            for name in matrices:
                weights[f"{start}.{part}.{name}_proj.weight"] = getattr(block, name).weight
    hf = build(config, weights, DEMO)
    assert loaded.head is not None
    return Model(hf=hf, hooked=to_hooked(hf, config.max_position_embeddings), head=loaded.head)


def first_blocks(model: Model, depth: int) -> Model:
    """The model without its upper blocks; what is left is shared."""
    config = LlamaConfig(**{**model.hf.config.to_dict(), "num_hidden_layers": depth})
    kept = tuple(f"model.layers.{layer}." for layer in range(depth))
    weights = {
        name: value.detach()
        for name, value in model.hf.named_parameters()
        if not name.startswith("model.layers.") or name.startswith(kept)
    }
    hf = build(config, weights, f"the first {depth} blocks")
    return Model(hf=hf, hooked=to_hooked(hf, model.hooked.cfg.n_ctx), head=model.head)


def lay_out(
    kind: str, question: Sequence[int], n_thoughts: int, answers: tuple[int, int], prefix: int = PREFIX
) -> Layout:
    """A question of given tokens, without a tokenizer; ids 1 to 9 stand for special tokens and the prefix."""
    filler = () if kind == "latent" else (3,) * n_thoughts
    first, second = (Tail(tokens=(2, *(4,) * prefix, answer), answer=1 + prefix) for answer in answers)
    return Layout(
        prompt=(*question, 1, *filler),
        n_latents=n_thoughts if kind == "latent" else 0,
        thoughts=tuple(range(len(question) + 1, len(question) + 1 + n_thoughts)),
        tails=(first, second),
        bot=len(question),
        has_eot=True,
        question=0,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Pairs of questions, ready to be patched: clean vectors go into the corrupted run.

    Attributes:
        kind: of the thoughts.
        layouts: clean and corrupted, of each pair.
    """

    model: Model
    kind: str
    layouts: tuple[tuple[Layout, Layout], ...]

    @cached_property
    def batch(self) -> Batch:
        """The corrupted questions."""
        return collate([corrupted for _, corrupted in self.layouts], self.model.hooked.W_E.device)

    @property
    def thoughts(self) -> tuple[int, ...]:
        """The thoughts, as indices into the sites."""
        return tuple(index for index, site in enumerate(self.batch.sites) if site[0] == "t")

    def position(self) -> list[Patch]:
        """Every layer and thought."""
        return self._at([(site,) for site in self.thoughts])

    def layerwise(self) -> list[Patch]:
        """Every layer, at all thoughts."""
        return self._at([self.thoughts])

    def cumulative(self) -> list[Patch]:
        """Every layer, at the first thoughts up to each."""
        return self._at([self.thoughts[: step + 1] for step in range(len(self.thoughts))])

    def leave_one_out(self) -> list[Patch]:
        """Every layer, at all thoughts but one."""
        return self._at([tuple(each for each in self.thoughts if each != left) for left in self.thoughts])

    def pairwise(self) -> list[Patch]:
        """Every layer, at each two thoughts."""
        return self._at([*combinations(self.thoughts, 2)])

    def _at(self, sets: Sequence[tuple[int, ...]]) -> list[Patch]:
        return [Patch(layer, sites) for layer in range(self.model.depth) for sites in sets]

    @property
    def job(self) -> int:
        """Runs that a plain loop needs: two unpatched; position-wise, layer-wise, relay, cumulative."""
        return 2 + self.model.depth * (3 * len(self.thoughts) + 1)

    def base_runs(self) -> tuple[engine.BaseRun, SiteVectors]:
        """The corrupted run, and the clean run's vectors; both questions of a pair are run together."""
        model, head = self.model.hooked, self.model.head
        clean, corrupted = zip(*(recording.record(model, head, pair) for pair in self.layouts), strict=True)
        return recording.replay(model, head, self.batch, corrupted), recording.stack_vectors(clean)

    def run_job(self) -> None:
        """All experiments of the pairs, from nothing; runs that write the same are one, as a run has it."""
        base, donor = self.base_runs()
        layers, handed = range(self.model.depth), dict[int, int]()
        patches = [*dict.fromkeys([*self.cumulative(), *self.position(), *self.layerwise()])]
        before = [patches.index(Patch(layer, self.thoughts[:1])) for layer in layers]
        for site in self.thoughts[1:]:
            for layer in layers:
                handed[len(patches)], before[layer] = before[layer], len(patches)
                patches.append(Patch(layer, (site,)))
        for _ in engine.sweep(base, donor, patches, handed=handed):
            pass


def make_case(
    model: Model, kind: str, n_thoughts: int, question: int = 100, prefix: int = PREFIX, pairs: int = 1
) -> Case:
    """Random questions of `question` tokens, `n_thoughts` thoughts and `prefix` tokens before the answer."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = model.hooked.cfg.d_vocab
    layouts = []
    for _ in range(pairs):
        clean = torch.randint(10, vocabulary, (question,), generator=generator).tolist()
        corrupted = [*clean]
        corrupted[question // 5] = 10 + (clean[question // 5] - 9) % (vocabulary - 10)
        answers = (10, 11)
        layouts.append(tuple(lay_out(kind, side, n_thoughts, answers, prefix) for side in (clean, corrupted)))
    return Case(model=model, kind=kind, layouts=tuple(layouts))
