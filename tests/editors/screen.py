"""What an editor draws, as lines of text: Neovim's line-grid events, applied to a grid.

The events are those of `:help ui-linegrid`; colours are passed over.
"""

from collections.abc import Sequence
from typing import Any


class Screen:
    """A grid of `width` by `height` cells."""

    def __init__(self, width: int, height: int) -> None:
        self._width = width
        self._cells = [[" "] * width for _ in range(height)]

    def __str__(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self._cells)

    def apply(self, events: Sequence[Any]) -> None:
        """Draw one batch of events: each a name and any number of its arguments."""
        for name, *calls in events:
            draw = getattr(self, f"_{name}", None)
            for arguments in calls if draw else ():
                draw(*arguments)

    def _grid_clear(self, _grid: int) -> None:
        self._cells = [[" "] * self._width for _ in self._cells]

    def _grid_line(
        self, _grid: int, row: int, column: int, cells: Sequence[Any], *_wrap: bool
    ) -> None:
        for text, *more in cells:
            repeat = more[1] if len(more) > 1 else 1
            self._cells[row][column : column + repeat] = [text] * repeat
            column += repeat

    def _grid_scroll(
        self, _grid: int, top: int, bottom: int, left: int, right: int, rows: int, _columns: int
    ) -> None:
        before = [row[left:right] for row in self._cells]
        for row in range(top, bottom):
            if top <= row + rows < bottom:
                self._cells[row][left:right] = before[row + rows]
