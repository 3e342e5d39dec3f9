"""Rows of cells as lines of text, each column as wide as its widest cell; sizes and times as cells.

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


def in_seconds(seconds: float) -> str:
    """Return a time with the digits that matter: 12.3 s, 0.45 s, 6.8 ms."""
    if seconds >= 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"
