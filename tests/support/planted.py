"""A Llama whose weights are set by hand, so that it is known where the answer is: the ground truth of an experiment.

The question holds one number v, the answer is v + 3 modulo `VALUES`. The residual stream is a direct sum of codes:

    const     1 at every token and thought
    marker    which token or thought this is (bos, bot, answer, t0, t1, …)
    value     v, at the number's own token
    carrier   v, where the circuit put it: the answer is read from here
    decoy     v, at another thought: it tells clean from corrupted, anybody could decode the answer from it, and
              nothing reads it
    found     v, at the answer position, once it was read
    out       what the unembedding reads

    block `write`      at the planted thought, attends to the number and writes its code to `carrier`;
                       at the decoy's thought, a second head writes it to `decoy`
    block `write + 1`  at the answer position, attends to the thought that is read and copies `carrier` to `found`; the
                       MLP looks up found -> out

Whoever has nothing to attend to attends to bos, which carries nothing. A head's scores use the slowest rotary pairs
alone, which turn by less than 1e-9, so that attention is by content. Scores differ by 100 and more: nothing leaks.

With `shows` the unembedding reads `decoy`, too, so that a lens sees the number at a thought that nothing else reads.

With `adds` the question also holds a word for an offset, 2 or 3, and the answer is v plus that: block `write + 1` reads
the offset at the answer position, and the MLP has one neuron for each v and offset. So another question's v makes an
answer that is neither question's own: the third answer.

In latent mode the head maps marker i to marker i + 1 and copies `decoy` to the next thought, so that thoughts are
really fed back and differ; with `hands_on` it also copies `carrier`, so that thought by thought the number is handed on
to the last one, which is then the one that is read.
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise, product
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mechpatch.models import ThoughtModel
from mechpatch.models.heads import LatentHead
from mechpatch.models.hooked import to_hooked
from mechpatch.pairs import Pair, Side

VALUES, THOUGHTS, LAYERS = 8, 3, 4
STEPS = ("alpha", "beta", "gamma")  # text thoughts, one word each
# Numbers of a question that adds, and its offsets: no digits, so that nobody takes them for the result of a step.
LETTERS = {"a": 0, "b": 3, "c": 4}
OFFSETS = {"early": 2, "late": 3}
WORDS = ("stop", "bos", "so", "how", "many", "we", "count", *STEPS, *map(str, range(VALUES)), *LETTERS, *OFFSETS)
PREFIX = "so"
D_HEAD = 16
SLOW = (D_HEAD // 2 - 1, D_HEAD - 1, D_HEAD // 2 - 2, D_HEAD - 2)  # a head's dimensions that hardly turn
MARKERS = ("bos", "bot", "answer", *(f"t{step}" for step in range(THOUGHTS)))
CODES = ("value", "carrier", "decoy", "found", "out")
D_MODEL = 64
CONST = 0
ADDED, READ = 1 + len(MARKERS) + VALUES * len(CODES), D_MODEL - VALUES - 1  # first dimensions of offset, and of it read
GAIN = 100.0  # of a query that is meant; that for bos is 10, and whatever else is there gets a score of 0


def marker(name: str) -> int:
    """Dimension of a marker."""
    return 1 + MARKERS.index(name)


def code(name: str) -> slice:
    """Dimensions of a code."""
    start = 1 + len(MARKERS) + VALUES * CODES.index(name)
    return slice(start, start + VALUES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """Where the answer is.

    Attributes:
        thought: where the number is written.
        write: the block that writes it; the next one reads.
        decoy: the thought that holds the number in vain.
        hands_on: latent thoughts pass the carrier on, and the last one is read.
        adds: the offset is the question's own.
        shows: the unembedding reads the decoy.
    """

    thought: int
    write: int
    decoy: int
    hands_on: bool = False
    adds: bool = False
    shows: bool = False

    @property
    def read(self) -> int:
        """The block that reads."""
        return self.write + 1

    def moves(self, layer: int, sites: set[str], latent: bool) -> bool:
        """Whether writing the other run's vectors at `sites` of one layer brings the other run's answer.

        By the definitions: the site is `answer`, and the number has been read; or a thought whose `carrier` some later
        thought or the answer position still reads.
        """
        if "answer" in sites and layer >= self.read:
            return True
        if not self.hands_on:
            return layer == self.write and f"t{self.thought}" in sites
        assert latent
        last = THOUGHTS - 1
        steps = [int(site[1:]) for site in sites if site[1:].isdecimal()]
        return any(
            (step == self.thought and step < last and layer >= self.write)
            or (self.thought < step < last)
            or (step == last and layer < self.read)
            for step in steps
        )


def tokenizer() -> PreTrainedTokenizerFast:
    """One token for each of `WORDS`; bos in front."""
    inner = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="stop"))
    inner.pre_tokenizer = WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    inner.post_processor = TemplateProcessing(single="bos $A", special_tokens=[("bos", WORDS.index("bos"))])  # pyright: ignore
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="bos")


@cache
def planted_model(circuit: Circuit, dtype: torch.dtype = torch.float64) -> ThoughtModel:
    """The model of a circuit, for latent and for text thoughts."""
    hf = planted_llama(circuit, dtype)
    special = range(len(WORDS), len(WORDS) + 3)
    return ThoughtModel(
        hooked=to_hooked(hf, 64),
        tokenizer=tokenizer(),
        head=planted_head(circuit, dtype),
        n_latents=THOUGHTS,
        pad=special[0],
        bot=special[1],
        eot=special[2],
        fingerprint=str(circuit),
        parity=0.0,
    )


def planted_llama(circuit: Circuit, dtype: torch.dtype) -> LlamaForCausalLM:
    """The Hugging Face model; every weight that is not set below is zero, every gain one."""
    config = LlamaConfig(
        vocab_size=len(WORDS) + 3,
        hidden_size=D_MODEL,
        intermediate_size=VALUES * (len(OFFSETS) if circuit.adds else 1),
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=D_HEAD,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 1e16},
        tie_word_embeddings=False,
    )
    hf = LlamaForCausalLM(config)
    nn.Module.to(hf, dtype).eval().requires_grad_(False)
    for name, weight in hf.named_parameters():
        nn.init.constant_(weight, float("norm" in name))
    _embed(hf.model.embed_tokens.weight)
    carrier, decoy = code("carrier"), code("decoy")
    blocks: Any = hf.model.layers
    writing, reading = blocks[circuit.write].self_attn, blocks[circuit.read].self_attn
    _attend(writing, 0, marker(f"t{circuit.thought}"), code("value"), code("value"), carrier)
    _attend(writing, 1, marker(f"t{circuit.decoy}"), code("value"), code("value"), decoy)
    source = THOUGHTS - 1 if circuit.hands_on else circuit.thought
    _attend(reading, 0, marker("answer"), marker(f"t{source}"), carrier, code("found"))
    mlp, out, found = blocks[circuit.read].mlp, code("out"), code("found")
    if circuit.adds:
        _attend(
            reading,
            1,
            marker("answer"),
            slice(ADDED, ADDED + len(OFFSETS)),
            slice(ADDED, D_MODEL),
            slice(READ, D_MODEL),
        )
    for neuron, (value, number) in enumerate(product(range(VALUES), range(len(OFFSETS) if circuit.adds else 1))):
        mlp.gate_proj.weight[neuron, found.start + value] = 160.0 if circuit.adds else 40.0  # SiLU is the identity here
        mlp.up_proj.weight[neuron, CONST] = 1.0
        added = 3
        if circuit.adds:  # both are needed: one alone stays far below zero; a latent's number arrives at a fifth
            mlp.gate_proj.weight[neuron, READ + number], mlp.gate_proj.weight[neuron, CONST] = 32.0, -54.0
            added = [*OFFSETS.values()][number]
        mlp.down_proj.weight[out.start + (value + added) % VALUES, neuron] = 0.1
    for value in range(VALUES):
        hf.lm_head.weight[WORDS.index(str(value)), out.start + value] = 4.0
        hf.lm_head.weight[WORDS.index(str(value)), decoy.start + value] = 4.0 * circuit.shows
    hf.lm_head.weight[WORDS.index("stop"), CONST] = 0.5
    return hf


def planted_head(circuit: Circuit, dtype: torch.dtype) -> LatentHead:
    """Marker i becomes marker i + 1; the decoy, and with `hands_on` the carrier, is copied; const is set."""
    first, second = torch.zeros(2, D_MODEL, D_MODEL, dtype=dtype)
    bias = torch.zeros(D_MODEL, dtype=dtype)
    chain = ["bot", *(f"t{step}" for step in range(THOUGHTS))]
    for one, other in pairwise(chain):
        first[marker(other), marker(one)] = 1.0
    copied = [code("decoy"), *([code("carrier")] if circuit.hands_on else [])]
    for dims in copied:
        first[dims, dims] = torch.eye(VALUES, dtype=dtype)
    for dims in (slice(1, 1 + len(MARKERS)), *copied):
        size = dims.stop - dims.start
        second[dims, dims] = torch.eye(size, dtype=dtype)
    bias[CONST] = 1.0
    lift = 40.0  # GELU is the identity from about 10 on, and zero at zero
    return LatentHead(
        {
            "prj.1.weight": lift * first,
            "prj.1.bias": torch.zeros(D_MODEL, dtype=dtype),
            "prj.3.weight": second / lift,
            "prj.3.bias": bias,
        }
    )


def planted_pairs(count: int = 8) -> list[Pair]:
    """Pairs whose numbers differ; in every second pair the corrupted question is longer."""
    pairs = []
    for index in range(count):
        clean, corrupted = index % VALUES, (index + 1 + index // VALUES) % VALUES
        texts = [f"how many {clean}", f"we count how many {corrupted}" if index % 2 else f"how many {corrupted}"]
        sides = [
            Side(text, str((value + 3) % VALUES), "\n".join(STEPS), {"values": [str(value), str((value + 3) % VALUES)]})
            for text, value in zip(texts, (clean, corrupted), strict=True)
        ]
        pairs.append(Pair(f"planted-{index}", clean=sides[0], corrupted=sides[1], fields={}))
    return pairs


def adding_pairs() -> list[Pair]:
    """The pairs of a circuit that adds: every two letters, with each offset on both sides."""
    pairs = []
    for (word, added), letters in product(OFFSETS.items(), combinations(LETTERS.items(), 2)):
        sides = [
            Side(
                f"how many {letter} {word}",
                str(number + added),
                f"<<{number}+0={number}>><<{number}+{added}={number + added}>>",
                {},
            )
            for letter, number in letters
        ]
        pairs.append(Pair(f"adding-{len(pairs)}", clean=sides[0], corrupted=sides[1], fields={}))
    return pairs


def _embed(weight: Tensor) -> None:
    """Every token has const; some a marker; numbers their value."""
    weight[:, CONST] = 1.0
    weight[WORDS.index("bos"), marker("bos")] = 1.0
    weight[WORDS.index(PREFIX), marker("answer")] = 1.0
    weight[len(WORDS) + 1, marker("bot")] = 1.0
    for step, word in enumerate(STEPS):
        weight[WORDS.index(word), marker(f"t{step}")] = 1.0
    for value in range(VALUES):
        weight[WORDS.index(str(value)), code("value").start + value] = 1.0
    for word, number in LETTERS.items():
        weight[WORDS.index(word), code("value").start + number] = 1.0
    for at, word in enumerate(OFFSETS):
        weight[WORDS.index(word), ADDED + at] = 1.0


def _attend(attention: nn.Module, head: int, asks: int, answers: int | slice, copied: slice, into: slice) -> None:
    """One head: where dimension `asks` is on, attend to where `answers` is on, else to bos; move `copied` to `into`."""
    start = head * D_HEAD
    query, key, value, output = (attention.get_submodule(f"{name}_proj").weight for name in "qkvo")
    meant, bos = start + SLOW[0], start + SLOW[2]
    assert isinstance(query, Tensor)
    assert isinstance(key, Tensor)
    query[meant, asks], key[meant, answers] = GAIN, 10.0
    query[bos, CONST], key[bos, marker("bos")] = 10.0, 10.0
    for dim in range(VALUES):
        value[start + dim, copied.start + dim] = 1.0  # pyright: ignore
        output[into.start + dim, start + dim] = 0.2  # pyright: ignore
