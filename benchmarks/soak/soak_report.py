"""What a soak says: proofs that hold or do not, and tables, as Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Proof:
    """A promise, whether it held, and the figures that say so."""

    promise: str
    holds: bool
    figures: str


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; all columns but the first are numbers or short words."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def verdict(proofs: Iterable[Proof]) -> str:
    """Return the proofs as a table."""
    rows = [(proof.promise, "yes" if proof.holds else "NO", proof.figures) for proof in proofs]
    return table(("promise", "holds", "figures"), rows)


def mib(size_bytes: int) -> str:
    """Return a size in MiB, as the tables have it."""
    return f"{size_bytes / MIB:,.1f}"
