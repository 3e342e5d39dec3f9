"""Counts labelled prompts by kind and language, and finds those that come twice.

It knows no features and no models. Run as `python -m modelrouter.classifier.census FILES...`, it
prints the counts as Markdown.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from modelrouter.classifier.dataset import Row, mistakes, read_sources
from modelrouter.errors import ConfigError

CODE_KINDS: Final = ("pasted-code", "pasted-data", "prefix")
"""Kinds whose language is that of the code or the data, not that of the ask."""

FEWEST_PROMPTS: Final = 10
"""A kind or language of at least so many prompts must hold every label."""


def table(rows: Sequence[Row]) -> str:
    """Return the counts of `rows` by label: in all, by kind, and by language of the ask."""
    labels = sorted({row.label for row in rows})
    asked = [row for row in rows if row.kind not in CODE_KINDS]
    total = ", ".join(f"{_count(rows, label):,} {label}" for label in labels)
    blocks = [
        [f"{len(rows):,} prompts: {total}."],
        _counts("kind", rows, labels, lambda row: row.kind),
        _counts("language", asked, labels, lambda row: row.lang),
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def duplicates(rows: Iterable[Row]) -> list[tuple[Row, Row]]:
    """Return the pairs of rows whose texts differ in case, blanks and punctuation at most.

    Texts of signs alone are compared as they are.
    """
    first: dict[str, Row] = {}
    pairs = []
    for row in rows:
        bare = "".join(filter(str.isalnum, row.text.casefold())) or row.text
        if bare in first:
            pairs.append((first[bare], row))
        first.setdefault(bare, row)
    return pairs


def one_sided(rows: Sequence[Row]) -> list[str]:
    """Return the kinds and languages that stand for a label, for lack of prompts of another."""
    asked = [row for row in rows if row.kind not in CODE_KINDS]
    groups = [*((f"kind {row.kind}", row.label) for row in rows)]
    groups += ((f"language {row.lang}", row.label) for row in asked)
    sizes = Counter(name for name, _ in groups)
    held = Counter(name for name, _ in set(groups))
    labels = len({row.label for row in rows})
    return sorted(n for n, size in sizes.items() if size >= FEWEST_PROMPTS and held[n] < labels)


def _counts(
    title: str, rows: Sequence[Row], labels: Sequence[str], name_of: Callable[[Row], str]
) -> list[str]:
    """Return a table with a line for each name, by the alphabet."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(name_of(row), []).append(row)
    lines = [f"| {title} | {' | '.join(labels)} |", f"|---|{'--:|' * len(labels)}"]
    for name in sorted(groups):
        counts = (f"{_count(groups[name], label):,}" for label in labels)
        lines.append(f"| {name} | {' | '.join(counts)} |")
    return lines


def _count(rows: Iterable[Row], label: str) -> int:
    return sum(row.label == label for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the counts of the files given, or every mistake in them."""
    parser = argparse.ArgumentParser(
        prog="python -m modelrouter.classifier.census",
        description="Count labelled prompts by kind and language.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    try:
        sources = read_sources(parser.parse_args(arguments).files)
    except ConfigError as error:
        sys.stderr.write(mistakes(error))
        return error.exit_code
    sys.stdout.write(table([row for source in sources for row in source.rows]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
