"""Where the time of a sweep goes, by what its operations are for; beside the least that its products would need, and
what there would be to win if runs that write the same at first were one run until they part."""

from collections.abc import Callable, Iterator
from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmark import limit
from benchmark.cases import Case
from benchmark.clock import timed
from benchmark.journal import Journal
from benchmark.measure import sweep
from mechpatch.patching.engine.work import sweep_work

WHAT = {"what": "spent"}
PRODUCTS, UNEMBED, REST = "matrix products of the blocks", "unembedding", "the rest: Python, views, memory"
# Torch's own operations, each with its own time alone; what is not named here is in `REST`.
PURPOSES = {
    PRODUCTS: ("mm", "addmm", "linear", "_linear_pointwise"),
    UNEMBED: (),  # matrix products too, told apart by their shape
    "attention": ("bmm", "baddbmm", "_softmax", "masked_fill_"),
    "norms, activations, rotary embedding, sums": (
        *("add", "add_", "sub", "mul", "mul_", "div", "neg", "pow", "sum", "mean", "rsqrt", "addcmul_"),
        *("silu", "silu_", "gelu", "tanh_", "_fused_rms_norm", "native_layer_norm"),
    ),
    "rows put together, spread and read": (
        *("index", "index_put_", "_index_put_impl_", "index_select", "gather", "scatter", "repeat_interleave"),
        *("cat", "stack", "copy_", "clone", "fill_", "zero_", "searchsorted", "unique", "_unique2", "nonzero"),
    ),
    REST: (),
}
OF = {name: purpose for purpose, names in PURPOSES.items() for name in names}


def measure_spent(case: Case, key: dict[str, Any], journal: Journal, rounds: int, say: Callable[[str], None]) -> None:
    """Take what the journal lacks: one profile of all patches in each round, and the rates of products beside it."""
    for number in range(rounds):
        if not journal.has(**key, **WHAT, round=number):
            say(f"{case.kind}, round {number + 1} of {rounds}: profile")
            journal.add(**key, **WHAT, round=number, **take(case))


def take(case: Case) -> dict[str, Any]:
    """Seconds of the wall, by purpose: all of a sweep; and the least for its products, at the best rates seen."""
    base, donor = case.base_runs()
    patches, vocabulary = case.position(), case.model.hooked.cfg.d_vocab_out
    sweep(base, donor, patches)  # memory is fetched once
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        _, taken = timed(lambda: sweep(base, donor, patches))
    spent = dict.fromkeys(PURPOSES, 0.0)
    for each in seen.key_averages(group_by_input_shape=True):
        purpose = OF.get(each.key.rpartition("::")[2], REST)
        if purpose != REST:
            wide = any(len(shape) == 2 and vocabulary in shape for shape in each.input_shapes)
            spent[UNEMBED if wide and purpose == PRODUCTS else purpose] += each.self_cpu_time_total / 1e6
    spent[REST] = taken["seconds"] - sum(spent.values())
    rates = limit.measure_rates(case.model)["seconds"]
    work = limit.sweep_work(case, patches)
    _, layout = case.layouts[0]
    sets = {"leave-one-out": case.leave_one_out(), "cumulative": case.cumulative(), "pairwise": case.pairwise()}
    return {
        **taken,
        "spent": spent,
        "least": limit.seconds(work, case.model, rates)["limit"],
        "flops": sweep_work(base, patches).flops,
        "least_flops": limit.flops(work, case.model),
        "rows": {name: limit.rows_apart_and_shared(layout, each, case.model.depth) for name, each in sets.items()},
    }


def show_spent(journal: Journal) -> Iterator[str]:
    """A line for each purpose: seconds and share, of the round that took least."""
    for kind in dict.fromkeys(each["kind"] for each in journal.find(**WHAT)):
        best = min(journal.find(**WHAT, kind=kind), key=lambda each: each["seconds"])
        yield f"{kind} thoughts: {best['seconds']:.2f} s, other processes used {best['others']:.0%} of the machine"
        for purpose, seconds in best["spent"].items():
            yield f"  {purpose:<45} {seconds:>8.3f} s {seconds / best['seconds']:>6.1%}"
        yield f"  {'least, for all products at the best rates seen':<45} {best['least']:>8.3f} s"
        done, least = (best[name] / 1e9 for name in ("flops", "least_flops"))
        yield f"  operations: {done:.1f} GFLOP, of which no exact method can avoid {least:.1f}"
        for name, (apart, shared) in best["rows"].items():
            of = f"{apart:>7} rows of the MLP"
            yield f"  {name:<14} {of}; {shared / apart:.2f} of them, were runs one until they part"
