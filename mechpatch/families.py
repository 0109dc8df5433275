"""The families of models that think between question and answer: one declaration each, with all that they differ in.

Loading, layouts and rollouts read these facts and know no family by its name. The facts are those of the official code
and of the files as they are published: CODI https://arxiv.org/abs/2502.21074, SIM-CoT
https://arxiv.org/abs/2509.20317, Coconut https://arxiv.org/abs/2412.06769, soft thinking
https://arxiv.org/abs/2505.15778, LatentTTS https://github.com/ModalityDance/LatentTTS.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

QUESTION = "{question}"
STATE_DICTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "codi.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.bin",
    "codi.pt",
)
# The only files with weights that are looked for in a Hugging Face directory.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What one family is.

    Attributes:
        name: what `--family` calls it.
        title: what messages call it.
        option: option that takes its checkpoint, without hyphens; empty where the model is one directory.
        prefixes: what the names of the model may start with in its files; the first is the published one.
        marks: beginnings of keys by which it is recognised, all of which are there; `config.json: x` is an entry of
            that file.
        lora: whether its checkpoint is a LoRA of a base.
        head: names of the head's linear layer, the second one and its norm (if there is one); empty without a head.
        left_out: beginnings of keys that training needed and the model does not.
        aliases: keys that hold the input embedding once more.
        files: names and patterns of files in a directory, the first that is there counts.
        special: role and token of each special token, in the order of their ids; `latent` is what stands for a thought.
        ids: where their ids come from: they follow the vocabulary of config.json, or the last token of the tokenizer;
            or the tokenizer knows their names; or the user gives them.
        question: what is read in place of a question.
        bos: whether a question begins with bos; None for what the tokenizer does.
        prefix: text before the answer.
        fed: what is fed back as the next thought: the head of the hidden state after the final norm (without a head,
            that state itself), or the mean of likely embeddings; one token in place of every thought; or nothing.
        n_latents: thoughts it was trained with; 0 where nobody knows.
        lora_alpha: the published one, since no file holds it.
        chat_bases: kinds of base (`model_type`) that its published checkpoints were trained on as chat models.
        papers: arXiv ids of what to cite.
    """

    name: str
    title: str
    option: str = ""
    prefixes: tuple[str, ...] = ("",)
    marks: tuple[str, ...] = ()
    lora: bool = False
    head: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    files: tuple[str, ...] = WEIGHTS
    special: tuple[tuple[str, str], ...] = ()
    ids: Literal["config", "tokenizer", "names", "given"] = "given"
    question: str = QUESTION
    bos: bool | None = None
    prefix: str = "The answer is:"
    fed: Literal["head", "mixture", "token", "nothing"] = "nothing"
    n_latents: int = 0
    lora_alpha: float | None = None
    chat_bases: tuple[str, ...] = ()
    papers: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of its special tokens, in the order of their ids."""
        return tuple(role for role, _ in self.special)

    def inner(self, key: str) -> str | None:
        """A key of its files without the prefix; None where it has none of them."""
        return next((key.removeprefix(each) for each in self.prefixes if key.startswith(each)), None)

    def is_head(self, key: str) -> bool:
        """Whether a key belongs to the head; anything beside its layers is an error there."""
        return bool(self.head) and key.startswith(f"{self.head[0].partition('.')[0]}.")

    def asked(self, question: str) -> str:
        """What is read in place of `question`."""
        return self.question.replace(QUESTION, question)


PLAIN = Family(name="plain", title="a plain model")
CODI = Family(
    name="codi",
    title="CODI",
    option="codi",
    prefixes=("codi.base_model.model.", "coconut.base_model.model."),
    lora=True,
    head=("prj.1", "prj.3", "prj.ln"),
    left_out=("dynamic_cls.",),
    files=STATE_DICTS,
    special=(("pad", "<|pad|>"), ("bot", "<|bot|>"), ("eot", "<|eot|>")),
    ids="config",
    fed="head",
    n_latents=6,
    lora_alpha=32.0,
    chat_bases=("llama",),
    papers=("2502.21074",),
)
SIM_COT = replace(
    CODI,
    name="sim-cot",
    title="SIM-CoT in CODI's form",
    marks=("decoder.",),
    left_out=(*CODI.left_out, "decoder.", "pj_in.", "pj_out."),
    papers=("2509.20317", *CODI.papers),
)
COCONUT = Family(
    name="coconut",
    title="Coconut",
    option="coconut",
    prefixes=("base_causallm.",),
    aliases=("embedding.weight",),
    files=("checkpoint_*", *STATE_DICTS),
    special=(("bot", "<|start-latent|>"), ("eot", "<|end-latent|>"), ("latent", "<|latent|>")),
    ids="tokenizer",
    question=f"{QUESTION}\n",
    prefix="###",
    fed="head",
    n_latents=6,
    papers=("2412.06769",),
)
SIM_COT_COCONUT = replace(
    COCONUT,
    name="sim-cot-coconut",
    title="SIM-CoT in Coconut's form",
    marks=("expainable_llm.",),
    left_out=("expainable_llm.",),
    n_latents=10,
    papers=("2509.20317", *COCONUT.papers),
)
LATENT_TTS_COCONUT = replace(
    COCONUT,
    name="latenttts-coconut",
    title="Coconut as LatentTTS has it",
    option="",
    marks=("config.json: latent_start_id",),
    prefixes=("",),
    aliases=(),
    files=WEIGHTS,
    ids="names",
)
LATENT_TTS = replace(
    LATENT_TTS_COCONUT,
    name="latenttts",
    title="CODI as LatentTTS has it",
    marks=("config.json: projector", "projector.1."),
    head=("projector.1", "projector.3", "projector.4"),
    question=QUESTION,
    prefix=CODI.prefix,
    papers=CODI.papers,
)
SOFT = Family(
    name="soft",
    title="soft thinking",
    special=(("bot", "bot"), ("eot", "eot")),
    fed="mixture",
    papers=("2505.15778",),
)
# Where the marks of several rows are there, the last of them is meant.
ROWS = (PLAIN, CODI, SIM_COT, COCONUT, SIM_COT_COCONUT, LATENT_TTS_COCONUT, LATENT_TTS, SOFT)
FAMILIES = {row.name: row for row in ROWS}
PAUSE = "pause"  # no family of its own: another one without recurrence
NAMES = (*FAMILIES, PAUSE)
ENTRY = "config.json: "


def recognise(keys: Iterable[str]) -> Family | None:
    """The family whose files have such keys, if there is one."""
    keys = list(keys)
    able = [row for row in ROWS if row.marks or row.prefixes != PLAIN.prefixes]

    def fits(row: Family) -> bool:
        return all(any(key.startswith(mark) for key in keys) for mark in (row.prefixes, *row.marks))

    return next((row for row in reversed(able) if fits(row)), None)


def possible(name: str | None, option: str, entries: Iterable[str]) -> list[Family]:
    """The families that a model may have, as far as its name, its option and the entries of config.json tell.

    Args:
        name: what `--family` says.
        option: that gave the checkpoint, see `Family.option`.
    """
    if name in FAMILIES:
        return [FAMILIES[name]]
    if option:
        return [row for row in ROWS if row.option == option]
    found = {f"{ENTRY}{entry}" for entry in entries}
    marks = {row.name: {mark for mark in row.marks if mark.startswith(ENTRY)} for row in ROWS if not row.option}
    return [FAMILIES[each] for each, wanted in marks.items() if wanted and wanted <= found] or [PLAIN]


def without_recurrence(family: Family) -> Family:
    """The same layout with the same token in place of every thought: the control of what recurrence does."""
    return replace(family, title=f"{family.title} without recurrence", fed="token")
