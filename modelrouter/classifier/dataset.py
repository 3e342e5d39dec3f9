"""Reads labelled prompts from JSON lines and says which of them are never trained on.

It knows nothing of features and models.

A line is `{"text", "label", "kind", "lang", "run"}`, or `"source"` in place of `"run"`. Lines of
one kind and run (or of one source) are a group: they were written in one go and resemble each
other, so a group is held out whole or not at all.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from modelrouter.errors import ConfigError, Problem

Quarter: TypeAlias = Literal["first", "second", "third", "fourth"]
Part: TypeAlias = Literal["held_out"] | Quarter

QUARTERS: Final[tuple[Quarter, ...]] = get_args(Quarter)
PARTS: Final[tuple[Part, ...]] = ("held_out", *QUARTERS)

HELD_OUT_PERCENT: Final = 15


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled prompt of one file, and the group that it is held out with.

    `lang` is "" where the line has none. `is_found` where the row comes from a source, not from
    somebody who wrote it to train on.
    """

    file: str
    text: str
    label: str
    kind: str
    lang: str
    group: str
    is_found: bool

    @property
    def part(self) -> Part:
        """What the row is for."""
        return part_of(self.group)


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the data: its name, the hash of its bytes, and its rows."""

    name: str
    sha256: str
    rows: tuple[Row, ...]


def part_of(group: str) -> Part:
    """Return what a group is for: by its name alone, so that new data never moves old data.

    The first 8 hex digits of the name's SHA-256, modulo 100: below 15 held out, the rest learned
    from, in four quarters.
    """
    percent = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) % 100
    if percent < HELD_OUT_PERCENT:
        return "held_out"
    return QUARTERS[(percent - HELD_OUT_PERCENT) * len(QUARTERS) // (100 - HELD_OUT_PERCENT)]


def read_sources(files: Sequence[Path]) -> list[Source]:
    """Return the files in the order given; ConfigError names every bad line of all of them."""
    sources: list[Source] = []
    problems: list[Problem] = []
    for file in files:
        try:
            data = file.read_bytes()
        except OSError as error:
            problems.append(Problem(str(file), None, "", f"cannot be read: {error.strerror}"))
            continue
        rows = tuple(_rows(file, data, problems))
        sources.append(Source(file.name, hashlib.sha256(data).hexdigest(), rows))
    if problems:
        raise ConfigError(
            "\n".join(map(str, problems)),
            problems=problems,
            hint='a line is {"text", "label", "kind", "lang", "run"}; nothing was written',
        )
    return sources


def mistakes(error: ConfigError) -> str:
    """Return what the commands of this package print of `error`."""
    return f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else "")


def _rows(file: Path, data: bytes, problems: list[Problem]) -> Iterator[Row]:
    """Yield the good rows of a file, and add what is wrong with the others to `problems`."""
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            yield _row(file.name, line)
        except (ValueError, RecursionError) as error:
            problems.append(Problem(str(file), number, "", str(error)))


def _row(file: str, line: bytes) -> Row:
    """Return the row a line holds; ValueError says what is wrong with it."""
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"expected an object, got {type(fields).__name__}")  # noqa: TRY004
    text, label, kind = (_string(fields, key) for key in ("text", "label", "kind"))
    lang = _string(fields, "lang") if "lang" in fields else ""
    is_found = "source" in fields
    group = _string(fields, "source") if is_found else f"{kind}/{_string(fields, 'run')}"
    return Row(file, text, label, kind, lang, group, is_found)


def _string(fields: dict[str, object], key: str) -> str:
    value = fields.get(key)
    if value is None:
        raise ValueError(f'missing key "{key}"')
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f'"{key}" must be a text that is not blank, got {value!r:.40}')
    return value
