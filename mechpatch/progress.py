"""How far long work is: a bar on a terminal or in a notebook."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr with rate and time left; nothing where nobody could see it move."""
    rate = TextColumn("{task.fields[rate]} runs/s")
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    console = Console(stderr=True)
    seen = console.is_interactive or (console.is_jupyter and find_spec("ipywidgets") is not None)
    with Progress(*columns, console=console, transient=True, disable=not seen) as bar:
        task = bar.add_task(title, total=total, rate="…")

        def tick(cells: int) -> None:
            speed = bar.tasks[task].speed
            bar.update(task, advance=cells, rate="…" if speed is None else f"{speed:.0f}")

        yield tick
