"""What can be refused from the arguments and config.json alone, before torch is imported or a weight is read.

Only what is certain is refused here, in the words of the options; the rest is left to those who read the files.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechpatch.data import DEMO, DEMO_FOLDER, DEMO_LATENTS
from mechpatch.errors import CheckpointError, SpecError
from mechpatch.experiments.spec import Spec
from mechpatch.names import DTYPE_NAMES, not_known

PUBLISHED_LATENTS = 6
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
THOUGHT = re.compile(r"t\d+")
PEFT_CONFIG = "adapter_config.json"
MAX_CONFIG = 2**20  # bytes of a config.json that is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What is known of a model before it is loaded.

    Attributes:
        n_layers: None where only the hub knows.
        latents: thoughts that it was trained with or is asked for; 0 where it has no latent head.
        has_bot: it has CODI's special tokens.
    """

    n_layers: int | None
    latents: int
    has_bot: bool


def outline(model: str, adapter: Path | None, codi: Path | None, latents: int | None) -> Outline:
    """Look at paths and config.json. Raises `CheckpointError` for what cannot be loaded."""
    if latents is not None and latents < 1:
        raise SpecError(f"--latents is {latents}, expected at least 1 thought")
    if adapter and codi:
        raise CheckpointError("--adapter and --codi were both given; a CODI checkpoint holds its own adapter: give one")
    if model == DEMO:
        if adapter or codi:
            raise CheckpointError("the demo model brings its own CODI checkpoint: give neither --adapter nor --codi")
        return Outline(n_layers=_layers(DEMO_FOLDER / "base"), latents=latents or DEMO_LATENTS, has_bot=True)
    if adapter and not (_path(adapter) / PEFT_CONFIG).is_file():
        what = f"no {PEFT_CONFIG} in it" if adapter.is_dir() else "no such directory"
        raise CheckpointError(
            f"{adapter}: {what}; expected a PEFT adapter ({PEFT_CONFIG} and weights). A CODI checkpoint is given with "
            "--codi"
        )
    if codi and not _path(codi).exists():
        raise CheckpointError(f"{codi}: no such file or directory; expected a CODI checkpoint")
    if codi and (codi / PEFT_CONFIG).is_file():
        raise CheckpointError(f"{codi}: is a PEFT adapter (it has {PEFT_CONFIG}); give it with --adapter")
    n_layers = None
    if (folder := _path(model)).is_dir():
        n_layers = _layers(folder)
    elif not HUB_NAME.fullmatch(model) or model.startswith("."):
        raise CheckpointError(
            f"{model}: no such directory; expected demo, a hub name, or the directory of a Hugging Face model "
            "(config.json, weights, tokenizer.json)"
        )
    return Outline(n_layers=n_layers, latents=(latents or PUBLISHED_LATENTS) if codi else 0, has_bot=codi is not None)


def _path(name: str | Path) -> Path:
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a home of nobody, a null character
        raise CheckpointError(f"{str(name)[:100]}: not a path: {type(error).__name__}: {str(error)[:200]}") from error
    return path


def _layers(folder: Path) -> int | None:
    """Blocks of the model in `folder`; None where its config.json is not plain enough to tell."""
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file; expected the directory of a Hugging Face model (config.json, weights, "
            "tokenizer.json). What was trained on top of one is given with --codi or --adapter beside it"
        )
    try:
        if path.stat().st_size > MAX_CONFIG:
            return None
        config = json.loads(path.read_bytes())
        counts = [config.get(name) for name in ("num_hidden_layers", "n_layer")]
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return next((count for count in counts if isinstance(count, int) and count > 0), None)


def judge(spec: Spec, model: Outline, latents: int | None) -> None:
    """Refuse kinds of thought, layers and sites that the model does not have. Raises `SpecError`."""
    if spec.thoughts == "latent" and not model.latents:
        raise SpecError(
            "latent thoughts need a CODI checkpoint, and this model has none: give --codi, or choose --thoughts text "
            "or placeholder"
        )
    count = model.latents or latents
    if spec.thoughts == "placeholder" and not count:
        raise SpecError("placeholder thoughts: say how many with --latents")
    if model.n_layers is not None:
        layers = spec.select_layers(model.n_layers)
        if "window" in spec.experiments and min(layers) + spec.window > model.n_layers:
            raise SpecError(
                f"--window {spec.window}: no {spec.window} layers in a row begin at layer {min(layers)} of "
                f"{model.n_layers}"
            )
    if "leave_one_out" in spec.experiments and spec.thoughts != "text" and count == 1:
        raise SpecError("leave-one-out needs two thoughts or more: with one, nothing is left to write")
    thoughts = None if spec.thoughts == "text" else [f"t{step}" for step in range(count or 0)]
    marks = ["bot", "eot", "answer"] if model.has_bot and spec.thoughts != "text" else ["answer"]
    _judge_sites("--sites", spec.sites, thoughts, marks)
    for names in spec.subsets:
        _judge_sites("--sets", names, thoughts, marks)


def _judge_sites(option: str, names: Sequence[str], thoughts: list[str] | None, marks: list[str]) -> None:
    """Args: thoughts: None where each pair has as many as its text has steps."""
    known = ["all", "thoughts", *marks]
    if thoughts is not None:
        known += thoughts
    unknown = [name for name in names if name not in known and not (thoughts is None and THOUGHT.fullmatch(name))]
    if unknown:
        shown = [*known[:2], *marks, *(thoughts if thoughts is not None else ["t0", "t1 and so on, as many as steps"])]
        raise SpecError(not_known(option, unknown, shown))


def judge_machine(dtype: str, device: str, dtypes: Sequence[str] = DTYPE_NAMES) -> None:
    """Refuse names of number formats and devices that nobody has. Raises `CheckpointError`."""
    if dtype not in dtypes:
        raise CheckpointError(not_known("--dtype", [dtype], dtypes))
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", device):
        raise CheckpointError(f"--device: {device[:60]!r} is not known; expected auto, cpu, cuda, cuda:1 or mps")


def judge_limit(limit: int | None, pairs: Sequence[str] = ()) -> None:
    """Refuse a limit that leaves no pair, or that stands beside named ones. Raises `SpecError`."""
    if pairs and limit is not None:
        raise SpecError("--pair and --limit both say which pairs: give one of them")
    if limit is not None and limit < 1:
        raise SpecError(f"--limit is {limit}, expected at least 1 pair")


def judge_cell(layer: int, site: str, described: Mapping[str, Any], pairs: Mapping[str, Any]) -> None:
    """Refuse a layer or site that no pair of a run has, as its files describe it. Raises `SpecError`."""
    try:
        n_layers = int(described["model"]["n_layers"])
        sides = [side for pair in pairs["pairs"] for side in pair["layout"].values()]
        places = {str(name): int(place) for side in sides for name, place in side["sites"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):  # made by hand: who reads it whole says so
        return
    if not 0 <= layer < n_layers:
        raise SpecError(f"--layer {layer}: no such layer; the model has layers 0 to {n_layers - 1}")
    if site not in places:
        raise SpecError(not_known("--site", [site], sorted(places, key=lambda name: places[name])))
