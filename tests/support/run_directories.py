"""Directories of finished runs, made from records without any model."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mechpatch.stats import RunFacts, groups, summarise, write_summary
from mechpatch.storage.choices import Choice, write_choices
from mechpatch.storage.results import FORMAT
from mechpatch.storage.sealed import write_sealed

QUESTION = "Tom has {} apples. Tom sells 2 bags of 5. How many apples does Tom have?"


def write_run(
    folder: Path,
    records: pa.Table,
    *,
    question: str = QUESTION,
    model: str = "0123456789abcdef",
    dropped: list[dict[str, Any]] | None = None,
    include_incorrect: bool = False,
    tolerance: float = 1e-3,
    notes: tuple[str, ...] = (),
    choices: tuple[Choice, ...] = (),
) -> Path:
    """Write spec.json, pairs.json, summary.json and the records with their checksum, as a run leaves them.

    Args:
        choices: what a screen chose.
        question: with one place for a number; pair i has 28 and 29 there, each the token of its side that differs.
    """
    folder.mkdir(parents=True)
    pq.write_table(records, folder / "effects.parquet")
    digest = hashlib.sha256((folder / "effects.parquet").read_bytes()).hexdigest()
    (folder / "effects.sha256").write_text(f"{digest}  effects.parquet\n")
    ids = list(dict.fromkeys(records["pair_id"].to_pylist()))
    kinds = groups(records)
    spec = {
        "spec": {
            "experiments": list(dict.fromkeys(group.experiment for group in kinds)),
            "thoughts": "latent",
            "n_thoughts": 5,
            "engine": "fast",
            "checks": 3,
        },
        "format": FORMAT,
        "model": {"fingerprint": model, "dtype": "float32"},
        "pairs": {"sha256": "ab" * 32, "content": "ab" * 8, "kept": ids, "run": ids},
        "versions": {"mechpatch": "0.1.0"},
        "command": ["mechpatch", "run"],
        "created": "2026-01-01T00:00:00+00:00",
        "environment": {
            "model": {"base": "/models/llama", "codi": "/m/codi", "device": "cpu", "lora_rank": 8, "lora_alpha": 16.0},
            "parity": 3.1e-5,
            "pairs": "/data/questions.json",
        },
    }  # fmt: skip
    pairs = {
        "screening": {
            "total": len(ids) + len(dropped or []),
            "kept": len(ids),
            "dropped": dropped or [],
            "flagged": {},
        },
        "pairs": [_pair(pair_id, question) for pair_id in ids],
    }
    write_sealed(folder / "spec.json", spec)
    write_sealed(folder / "pairs.json", pairs)
    if choices:
        write_choices(folder, choices)
    summary = summarise(records, 0, include_incorrect, tolerance, choices)
    write_summary(folder, summary.of_run(run_facts(pairs_total=len(ids), notes=notes)))
    return folder


def run_facts(**facts: Any) -> RunFacts:
    """How a run of 72 pairs went, of which screening dropped 4, but for `facts`."""
    usual = {"seconds": 12.5, "run_seconds": 10.0, "sections": {}, "expected": None, "peak_memory_bytes": 2 * 10**9}
    usual |= {"pairs_total": 72, "pairs_dropped": 4, "rounding": None, "notes": ()}
    return RunFacts(**(usual | facts))


def _pair(pair_id: str, question: str) -> dict[str, Any]:
    sides = {name: question.format(number) for name, number in (("clean", 28), ("corrupted", 29))}
    return {
        "pair_id": pair_id,
        **{name: {"question": text, "answer": 18} for name, text in sides.items()},
        "layout": {name: {"tokens": ["<s>", *text.split()[:2000]]} for name, text in sides.items()},
    }


def with_field(records: pa.Table, name: str, values: list[Any]) -> pa.Table:
    """The records with `field.<name>`, whose value is that of the pair's index, modulo how many are given."""
    per_row = [values[index % len(values)] for index in records["pair_index"].to_pylist()]
    return records.append_column(f"field.{name}", pa.array(per_row))
