"""The top of a study in words: what was asked of which model, on which pairs, by which engine, and what it cost."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from mechpatch.catalogue import PAIRED, direction_label, donor_label, is_null
from mechpatch.kinds import kind_of
from mechpatch.stats.cells import Group
from mechpatch.stats.summary_values import Summary
from mechpatch.views.report.markup import foreign, power, text
from mechpatch.views.report.studies import Run, Study

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


def describe_study(study: Study) -> list[tuple[str, str]]:
    """Names and values (HTML), in reading order."""
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


def _asked(study: Study) -> str:
    groups = [group for run in study.runs for group in run.groups]
    experiments = [kind_of(name).label for name in dict.fromkeys(group.experiment for group in groups)]
    directions = [f"{direction_label(name)} ({name})" for name in dict.fromkeys(group.direction for group in groups)]
    layers = _spans(sorted(set(study.table["layer"].to_pylist())))
    return text(f"{'; '.join(experiments)}. {'; '.join(directions).capitalize()}. Layers {layers}. {_nulls(groups)}")


def _nulls(groups: Sequence[Group]) -> str:
    donors = [name for name in dict.fromkeys(group.donor for group in groups) if name != PAIRED]
    nulls, others = ([donor_label(name) for name in donors if is_null(name) == null] for null in (True, False))
    said = f"Null donors: {'; '.join(nulls)}." if nulls else "No null donors."
    return f"{said} Also written: {'; '.join(others)}." if others else said


def _model(run: Run, about: Mapping[str, Any]) -> str:
    model, environment = run.spec.get("model", {}), run.spec.get("environment", {})
    parts = [foreign(_place(about["base"]))] if about.get("base") else []
    parts += [text(f"{model.get('dtype') or about.get('dtype')} on {about.get('device', 'an unnamed device')}")]
    parts += [f"fingerprint <code>{text(model.get('fingerprint', 'none'))}</code>"]
    if environment.get("parity") is not None:
        parts.append(f"logits within {power(float(environment['parity']))} of Hugging Face’s own forward")
    return ", ".join(parts)


def _adapter(about: Mapping[str, Any]) -> str:
    for key, kind in (("codi", "CODI"), ("coconut", "Coconut"), ("adapter", "PEFT LoRA")):
        if about.get(key):
            rank = f", rank {about['lora_rank']}, alpha {about['lora_alpha']:g}" if "lora_rank" in about else ""
            targets = f", on {', '.join(map(str, about['lora_targets']))}" if about.get("lora_targets") else ""
            kind = about["title"] if key != "adapter" and about.get("title") else kind
            return f"{text(kind)}: {foreign(_place(about[key]))}{text(rank)}{text(targets)}; merged"
    if "lora_rank" in about:  # the built-in model, which brings its own
        return text(f"CODI: its own, rank {about['lora_rank']}, alpha {about['lora_alpha']:g}; merged")
    return "none"


def _thoughts(asked: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    kind = asked.get("thoughts", "latent")
    count = asked.get("n_thoughts") or (about.get("n_latents") if kind != "text" else None)
    return text(f"{f'{count} of them. ' if count else ''}{THOUGHT_KINDS.get(kind, kind)}")


def _pairs(study: Study) -> str:
    counts, screening = study.summary.counts, study.screening
    parts = [f"{counts.pairs} run, {counts.both_correct} of them answered right on both sides"]
    if "total" in screening:
        dropped = Counter(each["reason"] for each in screening.get("dropped", []))
        reasons = f" ({_counted(dropped)})" if dropped else ""
        parts.append(f"{screening['total']} in the file, {dropped.total()} dropped{reasons}")
    if flagged := screening.get("flagged"):
        reasons = _counted(Counter(reason for reasons in flagged.values() for reason in reasons))
        parts.append(f"flagged in the file: {reasons}")
    file = PurePath(str(study.runs[0].spec.get("environment", {}).get("pairs", ""))).name
    told, pairs = text("; ".join(parts)), study.runs[0].spec.get("pairs", {})
    if digest := pairs.get("sha256"):
        return f"{told}. File {foreign(file)}, sha256 <code>{text(str(digest)[:16])}…</code>"
    return f"{told}. Pairs {foreign(file)}, content <code>{text(str(pairs.get('content', ''))[:16])}</code>"


def _counted(reasons: Counter[str]) -> str:
    return ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in reasons.most_common())


def _engine(asked: Mapping[str, Any], runs: Sequence[Run]) -> str:
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
    return text(words)


def _laws(summary: Summary) -> str:
    asserted = summary.asserted()
    broken = [check.name.replace("_", " ") for check in summary.failed()]
    if broken:
        return f'<strong class="bad">{len(broken)} of {len(asserted)} fail: {text(", ".join(broken))}</strong>'
    hold = "The one identity that the records allow holds"
    if len(asserted) != 1:
        hold = (
            f"All {len(asserted)} identities that the records allow hold" if asserted else "No identity can be checked"
        )
    return text(f"{hold}; see the comparison below.")


def _cost(runs: Sequence[Run]) -> str:
    memory = [run.summary.run.peak_memory_bytes for run in runs if run.summary.run.peak_memory_bytes]
    parts = [duration(sum(run.summary.run.seconds for run in runs))]
    parts += [f"peak memory {max(memory) / 1e9:.2g} GB"] if memory else []
    return text(", ".join(parts))


def _place(path: object) -> str:
    """The last two parts of a path, which a hub's name has: enough to know a model by."""
    return "/".join(PurePath(str(path)).parts[-2:])


def duration(seconds: float) -> str:
    """Seconds under two minutes, else minutes or hours."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


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
