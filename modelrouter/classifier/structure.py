"""Measures what a prompt looks like, whatever its words: fences, indentation, brackets, names.

It knows no weights and no n-grams; a measure is a number from 0 to 1 with a name people can read.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

QUESTION_MARKS: Final = ("?", "\uff1f", "\u061f")
"""The Latin one, the full-width one of Chinese and Japanese, the Arabic one."""


@dataclass(frozen=True, slots=True)
class Page:
    """A prompt made ready for measuring.

    `lines` are those that are not blank; `small` and `letters` say which `codes` are ASCII's.
    """

    text: str
    lines: tuple[str, ...]
    codes: NDArray[np.uint32]
    small: NDArray[np.bool_]
    letters: NDArray[np.bool_]


def measure(text: str) -> NDArray[np.float32]:
    """Return the value of each measure of STRUCTURE, in its order, each from 0 to 1."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    page = Page(
        text=text,
        lines=tuple(line for line in text.split("\n") if line.strip()),
        codes=codes,
        small=_between(codes, "a", "z"),
        letters=_between(codes | np.uint32(0x20), "a", "z"),  # the bit that tells A from a
    )
    return np.fromiter((m(page) for m in STRUCTURE.values()), np.float32, len(STRUCTURE))


def _between(codes: NDArray[np.uint32], first: str, last: str) -> NDArray[np.bool_]:
    flags: NDArray[np.bool_] = (codes >= ord(first)) & (codes <= ord(last))
    return flags


def _has(*marks: str) -> Callable[[Page], float]:
    """1 where the text holds one of `marks`."""
    return lambda page: float(any(mark in page.text for mark in marks))


def _many(*marks: str) -> Callable[[Page], float]:
    """How often `marks` stand in the text: 0, 1/3, 1/2, 3/5 ... towards 1."""
    return lambda page: _saturated(sum(page.text.count(mark) for mark in marks))


def _share(characters: str) -> Callable[[Page], float]:
    """The root of the share of `characters` in the text, so that few of them already count."""
    return lambda page: math.sqrt(sum(map(page.text.count, characters)) / max(1, len(page.text)))


def _lines(holds: Callable[[str], bool]) -> Callable[[Page], float]:
    """The share of lines of which `holds` is true."""
    return lambda page: sum(map(holds, page.lines)) / max(1, len(page.lines))


def _saturated(count: int) -> float:
    return count / (count + 2)


def _camel_case(page: Page) -> float:
    """Capitals right after a small letter."""
    return _saturated(int(np.count_nonzero(page.small[:-1] & page.letters[1:] & ~page.small[1:])))


def _joined_by(mark: str) -> Callable[[Page], float]:
    """How often `mark` stands between two letters, as in snake_case and list.append."""

    def measure_joins(page: Page) -> float:
        marks = page.codes[1:-1] == ord(mark)
        return _saturated(int(np.count_nonzero(page.letters[:-2] & marks & page.letters[2:])))

    return measure_joins


def _calls(page: Page) -> float:
    """Opening brackets right after a letter, as in print(x)."""
    return _saturated(int(np.count_nonzero(page.letters[:-1] & (page.codes[1:] == ord("(")))))


def _starts(*marks: str) -> Callable[[str], bool]:
    return lambda line: line.lstrip().startswith(marks)


def _ends(*marks: str) -> Callable[[str], bool]:
    return lambda line: line.rstrip().endswith(marks)


STRUCTURE: Final[Mapping[str, Callable[[Page], float]]] = {
    "fenced code": _has("```", "~~~"),
    "inline code": _many("`"),
    "shebang": lambda page: float(page.text.startswith("#!")),
    "fill-in-the-middle marks": _has("<|fim_prefix|>", "<fim_prefix>", "<PRE>"),
    "stack trace": _has(
        "Traceback (most", "\n    at ", '  File "', "Exception in thread", "panic:"
    ),
    "indented lines": _lines(lambda line: line.startswith(("  ", "\t"))),
    "lines ending in ; { }": _lines(_ends(";", "{", "}")),
    "lines ending in a colon": _lines(_ends(":")),
    "comment lines": _lines(_starts("//", "#", "--", "/*", "* ", ";;")),
    "list items": _lines(_starts("- ", "• ", "* ", "1.", "2.", "3.")),
    "brackets": _share("()[]{}"),
    "angle brackets": _share("<>"),
    "operators": _share("=+*/|&!%^~"),
    "quotes": _share("\"'"),
    "digits": _share("0123456789"),
    "dollars and backslashes": _share("$\\"),
    "assignments": _many(" = ", ":=", "+=", "-="),
    "code arrows and comparisons": _many("->", "=>", "::", "==", "!=", "&&", "||"),
    "tags": _many("</", "/>", "<!"),
    "flags": _many(" -"),
    "pipes and paths": _many(" | ", "./", "~/", " /"),
    "camelCase": _camel_case,
    "snake_case": _joined_by("_"),
    "dotted names": _joined_by("."),
    "calls": _calls,
    "question": lambda page: float(page.text.rstrip().endswith(QUESTION_MARKS)),
    "many lines": lambda page: min(1.0, math.log(max(1, len(page.lines))) / 5),
}
"""Every structural feature by the name a person reads in an explanation."""
