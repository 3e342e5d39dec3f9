"""Says how far a training has come, to whoever wants to know.

It knows no training and no screen: the name of a step and two counts go out.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias, TypeVar

Progress: TypeAlias = Callable[[str, int, int], None]
"""Is told the step at work, and how many of how many are done: 0 of 0 where nothing is counted."""

STRIDE: Final = 100
"""Of so many items one is told of: drawing must not take longer than the work."""

Item = TypeVar("Item")


def silent(step: str, done: int, total: int) -> None:
    """Tell nobody."""


def counted(items: Sequence[Item], step: str, progress: Progress) -> Iterator[Item]:
    """Yield the items, and tell `progress` of every hundredth and of the end."""
    total = len(items)
    for done, item in enumerate(items):
        if done % STRIDE == 0:
            progress(step, done, total)
        yield item
    progress(step, total, total)
