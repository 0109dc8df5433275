"""What a run directory says of its run: everything that is needed to repeat it, and its pairs token by token."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from math import isfinite
from typing import Any

from mechpatch.data import ROWS
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.layouts import settled
from mechpatch.experiments.pair_file import PairFile
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.own import NOTHING, Own
from mechpatch.pairs import describe, to_prepared
from mechpatch.patching.memory import Memory
from mechpatch.patching.settings import settings
from mechpatch.storage.keys import digest, file_digest
from mechpatch.thoughts.layout import encode

LIBRARIES = ("mechpatch", "torch", "transformers", "transformer-lens", "peft")


def describe_run(
    model: ThoughtModel, spec: Spec, pairs: PairFile, command: Sequence[str], own: Own = NOTHING
) -> dict[str, Any]:
    """Everything that is needed to repeat a run; what only says where it came from is under `environment`."""
    names = [pair.pair_id for pair in pairs.kept]
    return {
        "spec": asdict(settled(model, spec)),
        "kinds": own.words(),
        "model": {"fingerprint": model.fingerprint, "dtype": model.about.get("dtype"), "n_layers": model.n_layers},
        "pairs": {
            "sha256": None if pairs.path is None else file_digest(pairs.path),
            "content": digest(to_prepared(pairs.kept)),
            "kept": names,
            "run": [names[index] for index in pairs.asked],
        },
        "machine": settings(model.device, Memory.of(model.device, spec.memory)),
        "versions": {name: version(name) for name in LIBRARIES},
        "command": list(command),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": {
            "model": portable(model.about),
            "parity": model.parity if isfinite(model.parity) else None,
            "pairs": pairs.name,
            "python": platform.python_version(),
            "platform": platform.platform(),
        },
    }


def describe_pairs(model: ThoughtModel, pairs: PairFile, experiment: Experiment) -> dict[str, Any]:
    """The pairs that could be run, with their tokens and the position of every site, clean and corrupted side by side.

    All of them, because donors come from them all; which were run `spec.json` says.
    """
    described = []
    for prepared, layouts in zip(to_prepared(pairs.kept), experiment.layouts, strict=True):
        described.append(
            prepared
            | {
                "layout": {
                    name: {
                        "tokens": model.tokenizer.convert_ids_to_tokens(list(layout.prompt)),
                        "n_latents": layout.n_latents,
                        "tail": model.tokenizer.convert_ids_to_tokens(list(layout.tails[side].tokens)),
                        "sites": dict(zip(layout.sites, layout.positions(side), strict=True)),
                    }
                    for side, (name, layout) in enumerate(zip(("clean", "corrupted"), layouts, strict=True))
                }
            }
        )
    return {
        "screening": describe(pairs.screening, pairs.total, lambda answer: len(encode(model.tokenizer, answer))),
        "pairs": described,
    }


def portable(about: Mapping[str, Any]) -> dict[str, Any]:
    """Where a model came from, with a shipped one by its name: its folder is elsewhere on another machine."""
    row = next((row for row in ROWS if about.get("base") == str(row.base)), None)
    if row is None:
        return dict(about)
    shipped = (row.option, str(row.checkpoint))
    return {name: value for name, value in about.items() if (name, value) != shipped} | {"base": row.name}
