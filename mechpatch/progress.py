"""How far long work is: a bar on a terminal or in a notebook."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mechpatch.formats import significant

# Seconds over which the rate is taken: a batch of a large model takes minutes, in which nothing is counted.
WINDOW = 3600.0


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr with rate and time left; nothing where nobody could see it move."""
    rate = TextColumn("{task.fields[rate]} runs/s")
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    console = Console(stderr=True)
    seen = console.is_interactive or (console.is_jupyter and find_spec("ipywidgets") is not None)
    with Progress(*columns, console=console, transient=True, disable=not seen, speed_estimate_period=WINDOW) as bar:
        task = bar.add_task(title, total=total, rate="…")

        def tick(cells: int) -> None:
            bar.update(task, advance=cells)
            speed = bar.tasks[task].speed
            bar.update(task, rate="…" if speed is None else significant(speed))

        yield tick
