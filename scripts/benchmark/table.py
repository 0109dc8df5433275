"""From records to a table: medians over rounds, and ratios of what was measured in the same round.

A ratio is given by wall time, and in brackets by CPU time. `at most` is what it would be for an engine at the limit.
"""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from benchmark.clock import CLOCKS
from benchmark.contenders import CONTENDERS
from benchmark.journal import GROUP, Journal, Record

EXACT = 2e-4  # largest difference of a logit in float32


def summarise(journal: Journal) -> list[dict[str, Any]]:
    """One entry for each case, JSON-ready."""
    groups = {tuple(each[name] for name in GROUP): None for each in journal.records if not each.get("axis")}
    return [_case(journal, dict(zip(GROUP, group, strict=True))) for group in groups]


def _case(journal: Journal, key: Mapping[str, object]) -> dict[str, Any]:
    records = {
        (each["what"], each["round"]): each
        for each in journal.find(**key)
        if not each.get("axis") and "seconds" in each
    }
    rounds = sorted({number for what, number in records if what == "sweep"})
    found: dict[str, Any] = {**key, "rounds": len(rounds), "rows": []}
    for name in ("base", "sweep", "job"):
        values = [records[name, number]["seconds"] for number in rounds if (name, number) in records]
        found[name] = median(values) if values else None
    sweeps = [records["sweep", number] for number in rounds]
    if not sweeps:
        return found
    found |= {name: sweeps[0][name] for name in ("patches", "flops")}
    found["memory"] = max(each["memory"] for each in sweeps)
    found["others"] = [pick(each["others"] for each in records.values()) for pick in (median, max)]
    for contender in CONTENDERS:
        mine = {number: records[contender.name, number] for number in rounds if (contender.name, number) in records}
        reasons = [each["reason"] for each in journal.find(**key, what=contender.name) if "reason" in each]
        if not mine and not reasons:
            continue
        row: dict[str, Any] = {"name": contender.name, "about": contender.about}
        if not mine:
            found["rows"].append(row | {"reason": reasons[0]})
            continue
        row["seconds"] = median(record["seconds"] / record["patches"] for record in mine.values()) * found["patches"]
        row["measured"] = sum(record["patches"] for record in mine.values())
        row["difference"] = max(record["difference"] for record in mine.values())
        ours = {"ratio": "sweep", "job_ratio": "job"} if contender.whole else {"ratio": "sweep"}
        for name, what in ours.items():
            both = [(record, records[what, number]) for number, record in mine.items() if (what, number) in records]
            row[name] = [median(_ratio(*each, clock) for each in both) for clock in CLOCKS] if both else None
        found["rows"].append(row)
    found |= _limits(records, rounds)
    for row in found["rows"]:
        if "ratio" in row and "limit" in found:
            row["at_most"] = [ratio / share for ratio, share in zip(row["ratio"], found["limit_share"], strict=True)]
    return found


def _ratio(record: Record, ours: Record, clock: str) -> float:
    """What all runs of `ours` would take at the speed of `record`, over what the engine took."""
    return record[clock] / record["patches"] * ours.get("patches", ours.get("runs")) / ours[clock]


def _limits(records: Mapping[tuple[str, int], Record], rounds: list[int]) -> dict[str, Any]:
    """The limit's seconds and the share of it that the sweep reaches; with the rates measured in the same round."""
    both = [(records["sweep", number], records["rates", number]) for number in rounds if ("rates", number) in records]
    if not both:
        return {}
    found: dict[str, Any] = {"best_rate": median(rates["least"]["seconds"]["best_rate"] for _, rates in both)}
    for name in ("limit", "ideal"):
        found[name] = median(rates["least"]["seconds"][name] for _, rates in both)
        found[f"{name}_share"] = [
            median(rates["least"][clock][name] / swept[clock] for swept, rates in both) for clock in CLOCKS
        ]
    return found


def inexact(summary: list[dict[str, Any]]) -> list[str]:
    """Every contender whose logits in float32 are not the engine's, with the largest difference."""
    return [
        f"{case['shape']}, {case['kind']} thoughts: {row['about']} and the engine "
        f"differ by {row['difference']:.1e} in a logit"
        for case in summary
        for row in case["rows"]
        if case["dtype"] == "float32" and not row.get("difference", 0.0) <= EXACT
    ]


def show(summary: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of the table."""
    for case in summary:
        yield ""
        yield (
            f"{case['shape']}, {case['dtype']}, question of {case['question']} tokens, "
            f"{case['thoughts']} {case['kind']} thoughts, prefix of {case['prefix']}: {case['rounds']} rounds"
        )
        if not case["rounds"]:
            continue
        patches, rounds = case["patches"], case["rounds"]
        columns = "".join(f"{name:>17}" for name in ("to engine (CPU)", "at most (CPU)", "whole job (CPU)"))
        columns = f"{'seconds':>10}{columns}{'max |Δlogit|':>14}  runs"
        yield f"  {f'{patches} patches':46}{columns}"
        for row in case["rows"]:
            yield f"  {row['about']:46}" + (row["reason"] if "reason" in row else _numbers(row, patches * rounds))
        yield f"  {'engine':46}{case['sweep']:10.3g}"
        if "limit" in case:
            share = f"{case['limit']:10.3g}{_pair(case['limit_share'], '.2f'):>17}"
            yield f"  {'limit, at the rates of its row counts':46}{share}  {case['flops'] / 1e9:.4g} GFLOP"
            share = f"{case['ideal']:10.3g}{_pair(case['ideal_share'], '.2f'):>17}"
            yield f"  {'the same at the best rate of any product':46}{share}  {case['best_rate'] / 1e9:.4g} GFLOP/s"
        parts = {"two unpatched runs": case["base"], "whole job": case["job"]}
        known = "".join(f"{name} {taken:.3g} s, " for name, taken in parts.items() if taken is not None)
        yield f"  engine besides: {known}memory over the weights {case['memory'] / 1e6:.0f} MB"
        usual, most = case["others"]
        yield f"  other processes used {usual:.0%} of the machine meanwhile (median; at most {most:.0%})"


def _numbers(row: dict[str, Any], whole: int) -> str:
    ratios = "".join(f"{_pair(row.get(name), '.1f'):>17}" for name in ("ratio", "at_most", "job_ratio"))
    measured = f"{row['measured']} of {whole}" + (", extrapolated" if row["measured"] < whole else "")
    return f"{row['seconds']:10.3g}{ratios}{row['difference']:14.1e}  {measured}"


def _pair(ratios: list[float] | None, form: str) -> str:
    """A ratio by wall time, and by CPU time."""
    return "{:{form}} ({:{form}})".format(*ratios, form=form) if ratios else "—"
