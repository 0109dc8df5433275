"""Figures of a run, from its records: a mean over pairs is drawn with how sure it is and how many pairs made it.

A cell that is zero by construction is grey and hatched, or left out and named: it is not a finding.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure

from mechpatch.catalogue import MEASURES, PAIRED
from mechpatch.errors import SpecError
from mechpatch.kinds import kind_of
from mechpatch.kinds.cells import spelt
from mechpatch.names import not_known
from mechpatch.points import POINTS
from mechpatch.stats.cells import Group
from mechpatch.stats.finished import FinishedRun
from mechpatch.storage.atomic import remove_stale, write_bytes, writing
from mechpatch.views.figures.answers import answer_figure as answer_figure
from mechpatch.views.figures.answers import answer_groups
from mechpatch.views.figures.components import component_ranking as component_ranking
from mechpatch.views.figures.curves import layer_profile as layer_profile
from mechpatch.views.figures.curves import trajectories as trajectories
from mechpatch.views.figures.heads import readers as readers
from mechpatch.views.figures.heatmaps import difference_map as difference_map
from mechpatch.views.figures.heatmaps import heatmap as heatmap
from mechpatch.views.figures.theme import style
from mechpatch.views.figures.triangles import pair_maps as pair_maps

METADATA: dict[str, dict[str, str | None]] = {  # nothing that differs from run to run
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": "mechpatch"},
    ".pdf": {"CreationDate": None, "Creator": "mechpatch"},
}
MAPPED = ("switched", "recovery")  # what every experiment is drawn by


def save(figure: Figure, path: Path) -> list[Path]:
    """Write `path` with the suffixes .png (250 dots per inch), .svg and .pdf; equal figures give equal bytes.

    Text in the SVG and PDF is text, which a drawing program can edit. The folder must exist.

    Raises:
        StorageError: a file cannot be written; what was there before is left whole.
    """
    return [save_as(figure, path.with_name(path.name + suffix)) for suffix in METADATA]


def save_as(figure: Figure, path: Path) -> Path:
    """Write one file in the format that its suffix names, and return its path.

    Raises:
        SpecError: the suffix is none of .png, .svg and .pdf.
        StorageError: the file cannot be written; what was there before is left whole.
    """
    require_format(path)
    with style():
        image = io.BytesIO()
        figure.savefig(image, format=path.suffix[1:], metadata=METADATA[path.suffix])
    write_bytes(path, image.getvalue())
    return path


def require_format(path: Path) -> None:
    """Raise a `SpecError` if the suffix of a figure's file is none of those that are written."""
    if path.suffix not in METADATA:
        raise SpecError(f"{path}: a figure is written as {', '.join(METADATA)}; give a name that ends so")


def suffix_of(metric: str) -> str:
    """What a metric adds to the name of a figure's file; the headline adds nothing."""
    return {"switched": "", "kl_divergence": "-kl"}.get(metric, f"-{metric}")


def plot_run(
    run_dir: Path,
    out_dir: Path | None = None,
    include_incorrect: bool = False,
    metrics: Sequence[str] = (),
    column: str = "double",
) -> list[Path]:
    """Draw every figure that the records in `run_dir` allow into `out_dir` (by default `figures` in the run).

    Args:
        metrics: what is drawn beside the pairs that switch and the recovery.
        column: how wide figures are: a key of `COLUMNS`. Where one has many cells it is as wide as they need.

    Raises:
        SpecError: a metric is not known.
        StorageError: the run is not finished, is damaged or holds no rows, or a file cannot be written.
    """
    run = FinishedRun(run_dir)
    table = run.records
    numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    if unknown := [metric for metric in metrics if metric not in (*MEASURES, *numbers)]:
        raise SpecError(not_known("--metric", unknown, list(dict.fromkeys((*MEASURES, *numbers)))))
    run.require_rows()
    folder = out_dir or run_dir / "figures"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remove_stale(folder)
    written = []
    for group in run.groups:
        if group.donor != PAIRED:
            continue
        for suffix, figure in _figures(table, group, run.groups, include_incorrect, metrics, column).items():
            name = spelt(group.experiment, group.hook, None).replace("@", "-")
            written += save(figure, folder / f"{name}-{group.direction}{suffix}")
    for experiment, direction, hook in answer_groups(run.groups):
        name = experiment if experiment in ("count", "early") else spelt(experiment, hook, None).replace("@", "-")
        written += save(answer_figure(table, experiment, direction, hook, column), folder / f"{name}-{direction}")
    for direction in dict.fromkeys(group.direction for group in run.groups):
        for name, figure in (
            ("components", component_ranking(table, direction=direction, include_incorrect=include_incorrect)),
            ("readers", readers(table, direction=direction, include_incorrect=include_incorrect)),
        ):
            if figure is not None:
                written += save(figure, folder / f"{name}-{direction}")
    return written


def _figures(
    table: pa.Table,
    group: Group,
    found: Sequence[Group],
    include_incorrect: bool,
    metrics: Sequence[str],
    column: str,
) -> dict[str, Figure]:
    """The figures of one experiment, direction and hook point, by what they add to the name of the file."""
    experiment, direction, _, hook = group
    mapped = dict.fromkeys((*MAPPED, *metrics))
    kind = kind_of(experiment)
    given: dict[str, Any] = {"include_incorrect": include_incorrect, "hook": hook}
    sized: dict[str, Any] = given | {"column": column}
    if hook in POINTS and POINTS[hook].parts:
        return {suffix_of(metric): heatmap(table, metric, experiment, direction, **given) for metric in mapped}
    if kind.drawing == "profile":
        return {suffix_of(metric): layer_profile(table, metric, direction, **sized) for metric in mapped}
    if kind.drawing == "chain":
        return {
            suffix_of(metric): trajectories(table, experiment, direction, metric=metric, **sized) for metric in mapped
        }
    if kind.drawing == "triangle":
        parts = ("synergy",) if group._replace(experiment=kind.needs) in found else ()
        return {suffix_of(what): pair_maps(table, what, direction, **given) for what in (*mapped, *parts)}
    figures = {suffix_of(metric): heatmap(table, metric, experiment, direction, **sized) for metric in mapped}
    beyond = difference_map(table, experiment, direction, **sized)
    if beyond is not None:
        figures[f"-{kind.gives}"] = beyond
    return figures
