"""What pairs say that give neither side's answer, where a run kept what its patched runs say (`--say`)."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import pyarrow as pa
import pyarrow.compute as pc

from mechpatch.catalogue import PAIRED
from mechpatch.stats.cell_values import CellPlace, CellSummary
from mechpatch.stats.cells import answers_differ

PLACE = (*(each.name for each in fields(CellPlace)), "direction")


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherAnswer(CellPlace):
    """What is said most often at a cell by pairs that give neither side's answer.

    Attributes:
        said: the text; of several that are as frequent, the first in the order of the pairs.
        count: how many pairs say it.
        n: how many give neither answer.
    """

    direction: str
    said: str
    count: int
    n: int


def other_answers(table: pa.Table, cells: Iterable[CellSummary]) -> Iterator[OtherAnswer]:
    """The most frequent other answer of each of some cells that has one."""
    if "said" not in table.column_names or table["said"].null_count == len(table):
        return
    told = table.filter((pc.field("donor") == PAIRED) & pc.field("both_correct") & (pc.field("outcome") == "other"))
    told = told.filter(pc.field("said").is_valid())
    told = told.filter(pa.array(answers_differ(told), pa.bool_())).sort_by("pair_index")
    for cell in cells:
        names = {name: getattr(cell, name) for name in PLACE}
        here = told
        for name, value in names.items():
            same = pc.field(name).is_null() if value is None else pc.field(name) == value
            here = here.filter(same)
        if found := Counter(here["said"].to_pylist()).most_common(1):
            [(said, count)] = found
            yield OtherAnswer(**names, said=said, count=count, n=here.num_rows)
