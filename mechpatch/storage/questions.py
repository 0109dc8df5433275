"""What the pairs of a run asked, as `pairs.json` in its directory says: the only sign that two runs asked the same."""

from pathlib import Path
from typing import Any

from mechpatch.errors import StorageError
from mechpatch.storage.results import PAIRS, read_pairs

PARTS = tuple((side, part) for side in ("clean", "corrupted") for part in ("question", "answer", "cot"))


def read_questions(folder: Path) -> dict[str, dict[str, Any]]:
    """Questions, answers and text chains of each pair of the run in `folder`, by pair id.

    {pair_id: {"clean question": …, "clean answer": …, …}}; a part that a pair does not have is None.

    Raises:
        StorageError: the file is missing or is not what a run writes.
    """
    described = read_pairs(folder)
    try:
        pairs = described["pairs"]
        return {
            str(pair["pair_id"]): {f"{side} {part}": pair[side].get(part) for side, part in PARTS} for pair in pairs
        }
    except (LookupError, TypeError, AttributeError) as error:
        raise StorageError(
            f"{folder / PAIRS}: damaged ({type(error).__name__}: {error}); run the same command again to write it anew"
        ) from error
