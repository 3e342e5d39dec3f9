"""Rows of cells as lines of text, each column as wide as its widest cell, and sizes as cells.

It knows no command.
"""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row; all rows have as many cells as the first, the headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def gib(size_bytes: int) -> str:
    """Return a size in GiB, without the unit."""
    return f"{size_bytes / 2**30:.2f}"
