"""The mutants of the scheduler's core can be made, so that `make mutants` proves something.

Nothing is run here; each mistake is looked up in the source it is to be made in.
"""

from collections import Counter
from pathlib import Path

import pytest
from mutants import ROOT, Mutant, mutants

MUTANTS = mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.breaks)
def test_a_mutant_can_be_made(mutant: Mutant) -> None:
    """Its old text stands in the file, once, and the new one is another."""
    assert mutant.problem() is None
    assert mutant.new != mutant.old


def test_no_mutant_is_there_twice() -> None:
    """Each breaks something of its own, in its own words."""
    assert max(Counter(mutant.breaks for mutant in MUTANTS).values()) == 1
    assert max(Counter((m.file, m.old, m.new) for m in MUTANTS).values()) == 1


def test_the_documentation_counts_them() -> None:
    """The table of docs/testing.md has each file with the number of its mutants."""
    text = Path(ROOT, "docs", "testing.md").read_text()
    for file, count in Counter(mutant.file for mutant in MUTANTS).items():
        assert f"| `{file}` | {count} |" in text
