"""Draws how far a long command has come: on standard error, and only where somebody watches it.

It knows no work: the name of a step and two counts come in.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from modelrouter.classifier.progress import Progress


@contextmanager
def progress_on_stderr(*, is_told: bool = False) -> Iterator["Progress"]:
    """Yield what is to be told of every step; it draws a bar for each, and they go with the block.

    Where standard error is no terminal nothing is drawn; with `is_told` there is a plain line for
    each step, and for each tenth of one that is counted.
    """
    if is_told and not sys.stderr.isatty():
        yield Lines().show
        return
    with _bars() as bars:
        steps: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in steps:
                for earlier in steps.values():
                    bars.update(earlier, total=1, completed=1)
                steps[step] = bars.add_task(step, total=total or None, count="")
            count = f"{done:,}/{total:,}" if total else ""
            bars.update(steps[step], completed=done, count=count)

        yield show


class Lines:
    """Plain lines on standard error, few enough for a log."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, step: str, done: int, total: int) -> None:
        """Say how far the step is where that is more than a tenth further."""
        line = f"{step} {done * 10 // total * 10}%" if total else step
        if line != self._last:
            self._last = line
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def _bars() -> "Bars":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
