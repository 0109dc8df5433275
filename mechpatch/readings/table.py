"""The columns of readings, and how a twin's reading stands beside one.

Lens: one row for each pair, side, hook point, layer, site and target.

    pair_index, pair_id, both_correct   the pair, and whether the model answers both its questions rightly
    side                                clean or corrupted: which question was run
    hook, layer, site, site_index       where; `thought` has no layer, so its layer is 0
    target, value, token, token_text    what is looked for: its name, its text, and its first token
    tokens                              how many tokens the value has
    shared                              other targets of the question with the same token; empty for none
    rank                                of the token; 1 is the most likely, and ties count against it
    logprob                             of the token, nats
    top                                 the most likely tokens, best first
    rank_other_question, other_question           rank of the token at the same place of the pair that is named
    rank_shuffled_values, shuffled_value          rank of that value's token at this place
    rank_twin                                     rank of the token in the twin, where that is right on both sides
"""

import pyarrow as pa
import pyarrow.compute as pc

PLACE = ("side", "hook", "layer", "site", "target")

LENS_SCHEMA = pa.schema(
    [
        ("pair_index", pa.int64()),
        ("pair_id", pa.string()),
        ("both_correct", pa.bool_()),
        ("side", pa.string()),
        ("hook", pa.string()),
        ("layer", pa.int64()),
        ("site", pa.string()),
        ("site_index", pa.int64()),
        ("target", pa.string()),
        ("value", pa.string()),
        ("token", pa.int64()),
        ("token_text", pa.string()),
        ("tokens", pa.int64()),
        ("shared", pa.string()),
        ("rank", pa.int64()),
        ("logprob", pa.float64()),
        ("top", pa.list_(pa.string())),
        ("rank_other_question", pa.int64()),
        ("other_question", pa.string()),
        ("rank_shuffled_values", pa.int64()),
        ("shuffled_value", pa.string()),
        ("rank_twin", pa.int64()),
    ]
)


def with_twin(table: pa.Table, twin: pa.Table) -> pa.Table:
    """`table` with the ranks of another model's reading; null where that did not look for the same value of the same
    pair at the same place, and where it gets the pair wrong: a model that fails has less to be read."""
    twin = twin.filter(pc.field("both_correct"))
    key = ("pair_id", *PLACE, "value")
    ranks = dict(
        zip(zip(*(twin[name].to_pylist() for name in key), strict=True), twin["rank"].to_pylist(), strict=True)
    )
    found = [ranks.get(each) for each in zip(*(table[name].to_pylist() for name in key), strict=True)]
    at = table.schema.get_field_index("rank_twin")
    return table.set_column(at, "rank_twin", pa.array(found, pa.int64()))
