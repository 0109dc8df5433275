"""A comparison in words: how many cells clearly differ, and which most."""

from collections.abc import Mapping
from typing import Any

from mechpatch.catalogue import PAIRED, direction_label, donor_label, measure_of
from mechpatch.views.words.claims import called, differs, limits, place, written

SHOWN = 10


def describe_runs(found: Mapping[str, Any], a: str, b: str) -> list[str]:
    """Lines about two runs compared by `compare_runs`; null donors are counted, not listed."""
    counts = found["counts"]
    lines = [
        f"A {a}, B {b}: {counts['pairs']} pairs in both, of which A answers {counts['used_a']} and B "
        f"{counts['used_b']} right on both sides. {_about(found['metric'])}, A − B, over the pairs that both can use:"
    ]
    if apart := [
        f"{counts[key]} {said}"
        for key, said in (
            ("only_in_a", "only in A"),
            ("only_in_b", "only in B"),
            ("unlike", "with one id and other questions or answers"),
        )
        if counts[key]
    ]:
        lines.append(f"Pairs left out: {', '.join(apart)}.")
    if found["only_in_a"] or found["only_in_b"]:
        lines.append(f"Not compared: {found['only_in_a']} cells that only A has, {found['only_in_b']} that only B has.")
    movable = [cell for cell in found["cells"] if not cell["structural"] and cell["difference"]["mean"] is not None]
    paired = [cell for cell in movable if cell["donor"] == PAIRED]
    clear = [cell for cell in paired if differs(cell["difference"])]
    nulls = [cell for cell in movable if cell["donor"] != PAIRED]
    unlike = sum(differs(cell["difference"]) for cell in nulls)
    lines.append(
        f"{len(clear)} of {len(paired)} cells clearly differ (95 % interval without zero, false discovery rate at most "
        f"5 %){f'; with null donors {unlike} of {len(nulls)}' if nulls else ''}."
    )
    if paired and not clear:
        lines.append(f"The largest difference is {_line(max(paired, key=_distance))}")
    lines += [f"  {_line(cell)}" for cell in sorted(clear, key=_distance, reverse=True)[:SHOWN]]
    if len(clear) > SHOWN:
        lines.append(f"  … and {len(clear) - SHOWN} more; --out writes them all")
    return lines


def describe_cells(found: Mapping[str, Any]) -> list[str]:
    """Lines about two cells compared by `compare_cells`."""
    (cell,) = found["cells"]
    names = [_place(each) for each in cell["places"]]
    if cell["difference"]["mean"] is None:
        return [f"{names[0]} and {names[1]} have no pair in common that can be used: nothing to compare."]
    lines = [f"  {side} {name}: {written(cell[side.lower()]['mean'])}" for side, name in zip("AB", names, strict=True)]
    return [f"{_about(found['metric'])}:", *lines, _verdict(cell)]


def _verdict(cell: Mapping[str, Any]) -> str:
    difference = cell["difference"]
    if difference["low"] is None:
        return f"A − B is {written(difference['mean'])}: one pair, so no interval and no test."
    clear = differs(difference)
    said = "a clear difference" if clear else "no clear difference"
    could = cell["minimum_detectable_difference"]
    if not clear and could:
        said += f"; so many pairs would show {could:.2f} or more four times in five"
    return f"A − B is {_estimate(difference)}: {said}."


def _line(cell: Mapping[str, Any]) -> str:
    return (
        f"{_place(dict(cell))}: A {written(cell['a']['mean'])}, B {written(cell['b']['mean'])}, "
        f"difference {_estimate(cell['difference'])}"
    )


def _estimate(difference: Mapping[str, Any]) -> str:
    if difference["low"] is None:
        return f"{written(difference['mean'])} (one pair)"
    q = "" if difference["q"] is None else f", q {difference['q']:.2g}"
    return (
        f"{written(difference['mean'])} (95 % interval {limits(dict(difference))}, {difference['n']} pairs, "
        f"p {difference['p']:.2g}{q})"
    )


def _place(cell: dict[str, Any]) -> str:
    parts = [called(cell["experiment"]), place(cell)]
    if cell.get("direction"):
        parts.append(direction_label(str(cell["direction"])))
    if cell["donor"] != PAIRED:
        parts.append("null donor " + donor_label(str(cell["donor"])))
    return ", ".join(parts)


def _about(metric: str) -> str:
    if metric == "effect":
        return "Effect (share of gap)"
    return measure_of(metric).axis


def _distance(cell: Mapping[str, Any]) -> float:
    return abs(cell["difference"]["mean"])
