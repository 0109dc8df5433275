"""The top of a study in words: what was asked of which model, on which pairs, by which engine, and what it cost."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from mechpatch.catalogue import PAIRED, direction_label, donor_label, is_null
from mechpatch.formats import amount, duration
from mechpatch.kinds import kind_of
from mechpatch.points import POINTS
from mechpatch.stats.cells import Group
from mechpatch.stats.finished import FinishedRun
from mechpatch.stats.summary_values import Summary
from mechpatch.views.report.parts import Part, joined
from mechpatch.views.report.studies import Study

THOUGHT_KINDS = {
    "latent": "Continuous latent thoughts, really rolled out: each is the head's image of the state before it, so a "
    "patch at one changes every later one.",
    "text": "Explicit text, teacher-forced: one site for each reasoning step of each run's own chain.",
    "placeholder": "No thought was rolled out: the positions hold copies of one placeholder token, in one forward "
    "pass.",
}
ENGINES = {
    "fast": "Fast: all patches of a batch in a few exact passes.",
    "reference": "Reference: one plain hooked run for each patch.",
}


def describe_study(study: Study) -> list[tuple[str, list[Part]]]:
    """Each fact with its name, in reading order."""
    first = study.runs[0]
    asked, about = first.spec.get("spec", {}), first.spec.get("environment", {}).get("model", {})
    return [
        ("Asked", _asked(study)),
        ("Model", _model(first, about)),
        ("Adapter", _adapter(about)),
        ("Thoughts", _thoughts(asked, about)),
        ("Pairs", _pairs(study)),
        ("Engine", _engine(asked, study.runs)),
        ("Laws", _laws(study.summary)),
        ("Cost", _cost(study.runs)),
    ]


def _asked(study: Study) -> list[Part]:
    groups = [group for run in study.runs for group in run.groups]
    experiments = [kind_of(name).label for name in dict.fromkeys(group.experiment for group in groups)]
    directions = [f"{direction_label(name)} ({name})" for name in dict.fromkeys(group.direction for group in groups)]
    layers = _spans(sorted(set(study.table["layer"].to_pylist())))
    hooks = [POINTS[hook].label if hook in POINTS else hook for hook in dict.fromkeys(group.hook for group in groups)]
    parts = ("; ".join(experiments), "; ".join(directions).capitalize(), f"Written: {', '.join(hooks)}")
    return [Part(f"{'. '.join(parts)}. Layers {layers}. {_nulls(groups)}")]


def _nulls(groups: Sequence[Group]) -> str:
    donors = [name for name in dict.fromkeys(group.donor for group in groups) if name != PAIRED]
    nulls, others = ([donor_label(name) for name in donors if is_null(name) == null] for null in (True, False))
    said = f"Null donors: {'; '.join(nulls)}." if nulls else "No null donors."
    return f"{said} Also written: {'; '.join(others)}." if others else said


def _model(run: FinishedRun, about: Mapping[str, Any]) -> list[Part]:
    model, environment = run.spec.get("model", {}), run.spec.get("environment", {})
    facts = [[Part(_place(about["base"]), "foreign")]] if about.get("base") else []
    facts.append([Part(f"{model.get('dtype') or about.get('dtype')} on {about.get('device', 'an unnamed device')}")])
    facts.append([Part("fingerprint "), Part(model.get("fingerprint", "none"), "code")])
    if environment.get("parity") is not None:
        parity = Part(float(environment["parity"]), "power")
        facts.append([Part("logits within "), parity, Part(" of Hugging Face’s own forward")])
    return joined(facts, ", ")


def _adapter(about: Mapping[str, Any]) -> list[Part]:
    for key, kind in (("codi", "CODI"), ("coconut", "Coconut"), ("adapter", "PEFT LoRA")):
        if about.get(key):
            rank = f", rank {about['lora_rank']}, alpha {about['lora_alpha']:g}" if "lora_rank" in about else ""
            targets = f", on {', '.join(map(str, about['lora_targets']))}" if about.get("lora_targets") else ""
            kind = about["title"] if key != "adapter" and about.get("title") else kind
            return [Part(f"{kind}: "), Part(_place(about[key]), "foreign"), Part(f"{rank}{targets}; merged")]
    if "lora_rank" in about:  # the built-in model brings an adapter with it
        return [Part(f"CODI: its own, rank {about['lora_rank']}, alpha {about['lora_alpha']:g}; merged")]
    return [Part("none")]


def _thoughts(asked: Mapping[str, Any], about: Mapping[str, Any]) -> list[Part]:
    kind = asked.get("thoughts", "latent")
    count = asked.get("n_thoughts") or (about.get("n_latents") if kind != "text" else None)
    return [Part(f"{f'{count} of them. ' if count else ''}{THOUGHT_KINDS.get(kind, kind)}")]


def _pairs(study: Study) -> list[Part]:
    counts, screening = study.summary.counts, study.screening
    facts = [f"{counts.pairs} run, {counts.both_correct} of them answered right on both sides"]
    if "total" in screening:
        dropped = Counter(each["reason"] for each in screening.get("dropped", []))
        reasons = f" ({_counted(dropped)})" if dropped else ""
        facts.append(f"{screening['total']} in the file, {dropped.total()} dropped{reasons}")
    if flagged := screening.get("flagged"):
        reasons = _counted(Counter(reason for reasons in flagged.values() for reason in reasons))
        facts.append(f"flagged in the file: {reasons}")
    file = PurePath(str(study.runs[0].spec.get("environment", {}).get("pairs", ""))).name
    told, name, pairs = "; ".join(facts), Part(file, "foreign"), study.runs[0].spec.get("pairs", {})
    if digest := pairs.get("sha256"):
        return [Part(f"{told}. File "), name, Part(", sha256 "), Part(f"{str(digest)[:16]}…", "code")]
    return [Part(f"{told}. Pairs "), name, Part(", content "), Part(str(pairs.get("content", ""))[:16], "code")]


def _counted(reasons: Counter[str]) -> str:
    return ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in reasons.most_common())


def _engine(asked: Mapping[str, Any], runs: Sequence[FinishedRun]) -> list[Part]:
    engine, checks = str(asked.get("engine", "")), asked.get("checks", 0)
    words = ENGINES.get(engine, engine)
    if engine == "fast":
        words += (
            f" {checks} cells of each batch were recomputed with plain hooks; a difference beyond rounding would have "
            "stopped the run."
            if checks
            else " Nothing was recomputed with plain hooks (checks were turned off)."
        )
    found = [run.summary.run.rounding for run in runs]
    words += "".join(f" {said}" for said in dict.fromkeys(each.says for each in found if each))
    return [Part(words)]


def _laws(summary: Summary) -> list[Part]:
    asserted = summary.asserted()
    broken = [check.name.replace("_", " ") for check in summary.failed()]
    if broken:
        return [Part(f"{len(broken)} of {len(asserted)} fail: {', '.join(broken)}", "warning")]
    hold = "The one identity that the records allow holds"
    if len(asserted) != 1:
        hold = (
            f"All {len(asserted)} identities that the records allow hold" if asserted else "No identity can be checked"
        )
    return [Part(f"{hold}; see the comparison below.")]


def _cost(runs: Sequence[FinishedRun]) -> list[Part]:
    memory = [run.summary.run.peak_memory_bytes for run in runs if run.summary.run.peak_memory_bytes]
    peak = f", peak memory {amount(max(memory))}B" if memory else ""
    return [Part(f"{duration(sum(run.summary.run.seconds for run in runs))}{peak}")]


def _place(path: object) -> str:
    """The last two parts of a path, which a hub's name has: enough to know a model by."""
    return "/".join(PurePath(str(path)).parts[-2:])


def _spans(numbers: Sequence[int]) -> str:
    """0, 1, 2, 5 as "0–2, 5"."""
    return ", ".join(f"{first}–{last}" if last > first else str(first) for first, last in _runs(numbers))


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for number in numbers:
        if first is None or last is None or number != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last
