"""Figures in one format: PNG and PDF beside it take longer than the small run that they are of.

That every figure can be written in every format is for `tests/views/figures`.
"""

from pathlib import Path

from matplotlib.figure import Figure

from mechpatch.views.figures import files as figure_files


def save_once(figure: Figure, path: Path) -> list[Path]:
    """In place of `figure_files.save`."""
    return [figure_files.save_as(figure, path.with_name(f"{path.name}.svg"))]
