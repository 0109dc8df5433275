"""What can be refused from the arguments and config.json alone, before torch is imported or a weight is read.

Only what is certain is refused here, in the words of the options; the rest is left to those who read the files.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from mechpatch.data import SHIPPED, meant
from mechpatch.errors import CheckpointError, SpecError, WorkerError
from mechpatch.experiments.spec import NOTHING_FED_BACK, WINDOW, Spec, require_runnable
from mechpatch.families import PAUSE, ROWS, possible
from mechpatch.names import DTYPE_NAMES, not_known
from mechpatch.points import POINTS
from mechpatch.source import ModelSource

T = TypeVar("T")

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
THOUGHT = re.compile(r"t\d+")
PEFT_CONFIG = "adapter_config.json"
MAX_CONFIG = 2**20  # bytes of a config.json that is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What is known of a model before it is loaded; None stands for what only the hub or the files know.

    Attributes:
        n_layers: number of blocks.
        neurons: of one MLP.
        feeds_back: whether it makes latent thoughts.
        latents: thoughts that are asked for, or that it was trained with; 0 where nobody says.
        has_bot: whether it has special tokens around its thoughts.
    """

    n_layers: int | None
    neurons: int | None
    feeds_back: bool | None
    latents: int | None
    has_bot: bool | None


def outline(source: ModelSource) -> Outline:
    """Look at paths and config.json. Raises `CheckpointError` for what cannot be loaded."""
    model, source = str(source.base), source.resolved()
    if source.adapter and not (_path(source.adapter) / PEFT_CONFIG).is_file():
        what = f"no {PEFT_CONFIG} in it" if _path(source.adapter).is_dir() else "no such directory"
        raise CheckpointError(
            f"{source.adapter}: {what}; expected a PEFT adapter ({PEFT_CONFIG} and weights). A CODI checkpoint is "
            "given with --codi"
        )
    if (path := source.checkpoint) and not _path(path).exists():
        wanted = next(row.title for row in ROWS if row.option == source.option)
        raise CheckpointError(f"{path}: no such file or directory; expected a {wanted} checkpoint")
    if path and (path / PEFT_CONFIG).is_file():
        raise CheckpointError(f"{path}: is a PEFT adapter (it has {PEFT_CONFIG}); give it with --adapter")
    config: dict[str, object] = {}
    if (folder := _path(source.base)).is_dir():
        config = _config(folder)
    elif not HUB_NAME.fullmatch(model) or model.startswith("."):
        raise CheckpointError(
            f"{model}: no such directory; expected {', '.join(SHIPPED)}, a hub name, or the directory of a "
            f"Hugging Face model (config.json, weights, tokenizer.json){meant(model)}"
        )
    width = config.get("n_embd")
    sizes = {
        "n_layers": [config.get(name) for name in ("num_hidden_layers", "n_layer")],
        "neurons": [config.get("intermediate_size"), config.get("n_inner"), 4 * width if isinstance(width, int) else 0],
    }
    counts = {
        name: next((count for count in found if isinstance(count, int) and count > 0), None)
        for name, found in sizes.items()
    }
    told = config or source.option or source.family not in (None, PAUSE)
    rows = possible(source.family, source.option, config) if told else ROWS
    return Outline(
        **counts,
        feeds_back=_agreed(row.fed != "nothing" and source.family != PAUSE for row in rows),
        latents=source.n_latents or _agreed(row.n_latents for row in rows),
        has_bot=_agreed("bot" in row.roles and (row.ids != "given" or bool(source.special_ids)) for row in rows),
    )


def _agreed(values: Iterable[T]) -> T | None:
    """The value if all are equal."""
    first, *others = {*values}
    return None if others else first


def _path(name: str | Path) -> Path:
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a home of nobody, a null character
        raise CheckpointError(f"{str(name)[:100]}: not a path: {type(error).__name__}: {str(error)[:200]}") from error
    return path


def _config(folder: Path) -> dict[str, object]:
    """config.json of the model in `folder`; empty where it is not plain enough to tell."""
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file; expected the directory of a Hugging Face model (config.json, weights, "
            "tokenizer.json). What was trained on top of one is given with --codi or --adapter beside it"
        )
    try:
        found = json.loads(path.read_bytes()) if path.stat().st_size <= MAX_CONFIG else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def judge(spec: Spec, model: Outline) -> None:
    """Refuse kinds of thought, layers and sites that the model does not have, and options that nothing would read.
    Raises `SpecError`."""
    judge_unread(
        {
            "--window": (spec.window != WINDOW, "the experiment window", "window" in spec.experiments),
            "--placeholder-token": (
                spec.placeholder is not None,
                "--thoughts placeholder",
                spec.thoughts == "placeholder",
            ),
            "--separator": (spec.separator != "", "--thoughts text", spec.thoughts == "text"),
        }
    )
    if spec.thoughts == "latent" and model.feeds_back is False:
        raise SpecError(NOTHING_FED_BACK)
    count = model.latents
    if spec.thoughts != "text" and count == 0:
        raise SpecError(f"{spec.thoughts} thoughts: say how many with --latents")
    if model.n_layers is not None:
        layers = spec.select_layers(model.n_layers)
        if "window" in spec.experiments and min(layers) + spec.window > model.n_layers:
            raise SpecError(
                f"--window {spec.window}: no {spec.window} layers in a row begin at layer {min(layers)} of "
                f"{model.n_layers}"
            )
    if "leave_one_out" in spec.experiments and spec.thoughts != "text" and count == 1:
        raise SpecError("leave-one-out needs two thoughts or more: with one, nothing is left to write")
    if model.has_bot is None or (spec.thoughts != "text" and count is None):
        return  # only the files tell which sites there are
    thoughts = None if spec.thoughts == "text" else [f"t{step}" for step in range(count or 0)]
    marks = ["bot", "eot", "answer"] if model.has_bot and spec.thoughts != "text" else ["answer"]
    _judge_sites("--sites", spec.sites, thoughts, marks)
    if thoughts is not None:
        groups = {"all": [*thoughts, *marks], "thoughts": thoughts}
        _judge_neurons(spec, model, len({site for name in spec.sites for site in groups.get(name, [name])}))
    for names in spec.subsets:
        _judge_sites("--sets", names, thoughts, marks)


def judge_unread(options: Mapping[str, tuple[bool, str, bool]]) -> None:
    """Refuse what was given and changes nothing: who gave it believes that it does. Raises `SpecError`.

    Args:
        options: for each, whether it was given, what reads it, and whether that is asked for.
    """
    for name, (given, reader, asked) in options.items():
        if given and not asked:
            raise SpecError(f"{name}: only {reader} reads it, which is not asked for; ask for it, or leave {name} out")


def _judge_neurons(spec: Spec, model: Outline, sites: int) -> None:
    """Refuse all neurons of a model at so many sites, where they are more than can be run. Raises `SpecError`."""
    if model.n_layers is None or model.neurons is None:
        return
    if spec.screen is not None or "position" not in spec.experiments:  # of a screen's candidates few are run
        return
    for hook in spec.points:
        if POINTS[hook].of_neurons and not spec.parts(hook):
            layers = len(spec.select_layers(model.n_layers))
            require_runnable(hook, layers, model.neurons, layers * model.neurons * sites)


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


def judge_cluster(address: str | None, workers: int | None, gpus: float | None) -> None:
    """Options of a cluster have one, and Ray is there. Raises `SpecError` or `WorkerError`."""
    if address is None:
        for name, value in (("--workers", workers), ("--gpus-per-worker", gpus)):
            if value is not None:
                raise SpecError(
                    f"{name} {value:g}: belongs to a cluster; say which one with --ray, for example --ray local"
                )
    elif find_spec("ray") is None:
        raise WorkerError("--ray: Ray is not installed; pip install 'mechpatch[scale]', or run without it")


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
