"""Tests the tests: makes each mistake of mutants.toml in a copy of the package and has it found.

`make mutants`, or `python tests/mutants.py [--tests PATH ...] [WORD ...]` for the mutants that have
the words in their file or description. It exits with 1 where a mutant survives, cannot be made, or
breaks the program before a test could.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "modelrouter"
TABLE = ROOT / "tests" / "mutants.toml"
TESTS = (
    "tests/unit/test_plan.py",
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("tests/unit/test_scheduler_*.py"))),
    "tests/properties/test_shares.py",
    "tests/properties/test_scheduling.py",
)
LONGEST_SECONDS = 300
TESTS_FAILED = 1
"""What pytest exits with where tests ran and failed."""


@dataclass(frozen=True)
class Mutant:
    """A mistake: `new` in place of `old`, which stands once in the file of the package."""

    file: str
    breaks: str
    old: str
    new: str

    def problem(self) -> str | None:
        """Return why it cannot be made, None where it can."""
        count = (PACKAGE / self.file).read_text().count(self.old)
        return None if count == 1 else f"its old text is there {count} times"

    def make(self, package: Path) -> None:
        """Make it in a copy of the package."""
        file = package / self.file
        file.write_text(file.read_text().replace(self.old, self.new))


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant, in words."""

    is_killed: bool
    words: str


def mutants() -> list[Mutant]:
    """Return all mutants of the table."""
    return [Mutant(**entry) for entry in tomllib.loads(TABLE.read_text())["mutant"]]


def outcome(mutant: Mutant, tests: Sequence[str]) -> Outcome:
    """Make a mutant, run the tests, and return what became of it."""
    if problem := mutant.problem():
        return Outcome(is_killed=False, words=f"cannot be made: {problem}")
    try:
        run = run_tests(tests, mutant)
    except subprocess.TimeoutExpired:
        return Outcome(is_killed=True, words=f"killed: no end within {LONGEST_SECONDS} s")
    if run.returncode == 0:
        return Outcome(is_killed=False, words="survived")
    found = re.search(r"^FAILED \S+?::(\S+)", run.stdout, re.MULTILINE)
    if run.returncode != TESTS_FAILED or found is None:
        last_line = (run.stdout.strip().splitlines() or ["nothing was said"])[-1]
        return Outcome(is_killed=False, words=f"does not run: {last_line}")
    return Outcome(is_killed=True, words=f"killed by {found[1]}")


def run_tests(
    tests: Sequence[str], mutant: Mutant | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the tests, until one fails, on a copy of the package with the mutant in it, if any."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / PACKAGE.name
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            mutant.make(copy)
        options = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile", "mutants")
        return subprocess.run(
            # -P: the folder it runs in must not come before the copy
            [sys.executable, "-P", "-m", "pytest", *options, *tests],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )


def arguments() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tests", nargs="+", default=TESTS, help="run these tests only")
    parser.add_argument("words", nargs="*", help="only mutants with all of these words")
    return parser.parse_args()


def main() -> int:
    """Run what was asked for and print what became of each mutant."""
    asked = arguments()
    chosen = [
        mutant
        for mutant in mutants()
        if all(word in f"{mutant.file} {mutant.breaks}" for word in asked.words)
    ]
    unchanged = run_tests(asked.tests)
    if unchanged.returncode:
        print(unchanged.stdout, "the tests fail without any mutant", sep="\n")
        return 1
    alive = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = pool.map(lambda mutant: outcome(mutant, asked.tests), chosen)
        for mutant, became in zip(chosen, outcomes, strict=True):
            alive += not became.is_killed
            print(f"{mutant.file}: {mutant.breaks}: {became.words}", flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} mutants killed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
