"""Watching a run from outside: an observer is told of each finished pair and cannot stop the run.

Nothing reaches the network unless online mode is asked for by name.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol, cast, runtime_checkable

from mechpatch.errors import MechpatchError
from mechpatch.stats.summary_values import Summary
from mechpatch.stats.values_json import as_json

logger = logging.getLogger(__name__)

Mode = Literal["online", "offline", "disabled"]
P = ParamSpec("P")


@runtime_checkable  # beartype needs it
class TellSummary(Protocol):
    """Is told the headline numbers, the figures (image files) and the page of a run, where there is one."""

    def __call__(self, values: Mapping[str, object], images: Sequence[Path], report: Path | None = None) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """What a run tells: the numbers of each pair, its summary with the figures and the report, and its end."""

    pair_done: Callable[[Mapping[str, object]], None]
    summary: TellSummary
    finish: Callable[[], None]


def null_observer() -> Observer:
    """An observer that does nothing."""
    return Observer(pair_done=lambda row: None, summary=lambda values, images, report=None: None, finish=lambda: None)


def wandb_observer(
    project: str, name: str, config: Mapping[str, object], folder: Path, mode: Mode | None = None
) -> Observer:
    """An observer that keeps a Weights & Biases run in `folder`/wandb.

    Without `mode` the environment variable WANDB_MODE decides, and without that the run is offline, to be sent later
    with `wandb sync`. The first failure is a warning, and after it the observer does nothing.
    Raises `MechpatchError` if wandb is not installed.
    """
    # Otherwise wandb reports its own errors and usage over the network, in offline mode too.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb
    except ImportError as error:
        raise MechpatchError("wandb is not installed; pip install 'mechpatch[wandb]', or run without it") from error
    try:
        run = wandb.init(
            project=project,
            name=name,
            config=dict(config),
            dir=folder,
            mode=mode or cast("Mode", os.environ.get("WANDB_MODE", "offline")),
            reinit="create_new",  # a run that the caller has open stays open
            settings=wandb.Settings(
                console="off",
                disable_git=True,
                save_code=False,
                silent=True,
                x_disable_meta=True,
                x_disable_stats=True,
            ),
        )
    except Exception as error:
        _warn(error)
        return null_observer()

    def summary(values: Mapping[str, object], images: Sequence[Path], report: Path | None = None) -> None:
        run.log({path.stem: wandb.Image(str(path)) for path in images})
        run.summary.update(dict(values))
        if report is not None:
            # As it is: wandb would add a style sheet that the page's own policy forbids.
            run.log({report.stem: wandb.Html(report.read_text(encoding="utf-8"), inject=False)})

    return _until_failure(
        Observer(pair_done=lambda row: run.log(dict(row)), summary=summary, finish=lambda: run.finish())
    )


def _until_failure(observer: Observer) -> Observer:
    """`observer` up to its first exception, which becomes a warning; nothing after it."""
    failed = False

    def guarded(tell: Callable[P, None]) -> Callable[P, None]:
        def attempt(*args: P.args, **kwargs: P.kwargs) -> None:
            nonlocal failed
            if failed:
                return
            try:
                tell(*args, **kwargs)
            except Exception as error:
                failed = True
                _warn(error)

        return attempt

    return Observer(
        pair_done=guarded(observer.pair_done), summary=guarded(observer.summary), finish=guarded(observer.finish)
    )


def _warn(error: Exception) -> None:
    logger.warning("wandb failed and the run goes on without it: %s: %s", type(error).__name__, error)


def headline(summary: Summary) -> dict[str, Any]:
    """The few numbers that a tracker shows: the counts, and the leading cell of each direction, its switch first."""
    found: dict[str, Any] = as_json(summary.counts)
    for cell in summary.leading():
        told = {
            "switched": cell.switched.share,
            "neither": cell.neither.share,
            "effect": cell.effect.mean,
            "recovery": cell.recovery.mean,
            **{f"switched_{donor}": test.share for donor, test in cell.switched.beyond.items()},
            **{name: getattr(cell, name) for name in ("experiment", "layer", "site", "step")},
        }
        found |= {f"{cell.direction}_{name}": value for name, value in told.items()}
    return found
