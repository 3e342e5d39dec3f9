"""What is wrong in a TOML file, said as "file:line: key: message", all of it at once.

Nothing here knows a model or a policy: shapes come in as pydantic classes, problems go out.
"""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from modelrouter.errors import ConfigError, Problem, did_you_mean

Place: TypeAlias = tuple[str | int, ...]
"""Where a value stands: the keys and list positions that lead to it, `("rules", 1, "use")`."""

Shape = TypeVar("Shape", bound=BaseModel)

WORDS: Mapping[str, str] = {
    "bool_type": "expected true or false",
    "dict_type": "expected a table",
    "finite_number": "expected a finite number",
    "float_type": "expected a number",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "expected a whole number",
    "less_than_equal": "must be at most {le}",
    "literal_error": "expected {expected}",
    "model_type": "expected a table",
    "string_too_short": "must not be empty",
    "string_type": "expected text in quotes",
    "too_short": "needs at least {min_length} entry",
    "tuple_type": "expected a list",
    "value_error": "{error}",
}
"""What pydantic's kinds of error mean to the person who wrote the file; the rest keep its words."""

SYNTAX_WORDS: Mapping[str, str] = {
    "Cannot declare": "this table stands in the file already",
    "Cannot overwrite": "this key has a value already",
    "Expected newline": "something follows the value (text needs quotes around all of it)",
    "Found invalid character '\\n'": "the closing quote is missing",
    "Illegal character '\\n'": "the closing quote is missing",
    "Invalid statement": "this starts no key, no [table] and no # comment",
    "Invalid value": "this is not a value (text needs quotes; true and false are lower case)",
    "Unescaped '\\'": "a backslash in double quotes must be written twice (or use single quotes)",
    "Unterminated string": "the closing quote is missing",
}
"""The same for tomllib's messages, by how they begin."""

LONGEST_SHOWN = 60
"""Characters of a wrong text that a message repeats."""

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Document:
    """One TOML file: the name to show for it, its text (newlines only) and what it says."""

    file: str
    text: str
    data: Mapping[str, object]

    def line_of(self, place: Place) -> int | None:
        """Return the 1-based line on which the statement that first holds `place` starts.

        tomllib tells no positions, but it can be asked: a prefix of the file that does not parse
        is cut inside a statement, and keys never disappear as the prefix grows. So the answer is
        the shortest prefix that, completed to the end of the statement it is cut in, holds
        `place`. None stands for the file as a whole, the empty place.
        """
        lines = self.text.split("\n")

        def holds(count: int) -> bool:
            return _existing(place, _completed(lines, count)) == place

        return bisect_left(range(len(lines)), True, key=holds) or None

    def problem(self, place: Place, message: str) -> Problem:
        """Return the problem `message` with the value at `place`, which must be in the file."""
        return Problem(self.file, self.line_of(place), dotted(place), message)

    def each(self, *pattern: str | EllipsisType) -> list[tuple[Place, object]]:
        """Return every place that fits `pattern`, with its value; `...` fits any key or position.

        Written for files that may be wrong: what is not there or not a table is passed over.
        """
        found: list[tuple[Place, object]] = [((), self.data)]
        for step in pattern:
            found = [
                ((*place, key), child)
                for place, value in found
                for key, child in _children(value)
                if step in (..., key)
            ]
        return found


def read(path: Path, shown: str) -> Document:
    """Return the file at `path`, named `shown` in every message about it.

    Raises ConfigError for a file that cannot be read, is not UTF-8 or not TOML.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")  # TOML ignores a byte order mark
    except OSError as error:
        raise _refusal(Problem(shown, None, "", f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        problem = Problem(shown, line, "", f"not UTF-8 text: byte 0x{byte:02x} means nothing there")
        raise _refusal(problem) from error
    return parse(text, shown)


def parse(text: str, shown: str) -> Document:
    """Return the TOML document in `text`; ConfigError with the line where it is not TOML."""
    text = text.replace("\r\n", "\n")
    try:
        return Document(shown, text, tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise _refusal(_syntax_problem(text, shown, error)) from error


def validate(shape: type[Shape], document: Document) -> tuple[Shape | None, list[Problem]]:
    """Return the document as a `shape`, or None and everything that keeps it from being one."""
    try:
        return shape.model_validate(document.data), []
    except ValidationError as error:
        return None, [
            _explain(details, shape, document) for details in error.errors(include_url=False)
        ]


def dotted(place: Place) -> str:
    """Return `place` as TOML writes it: `models."qwen2.5".slots`, `rules[1].use[0]`."""
    steps = (
        f"[{step}]" if isinstance(step, int)
        else f".{step}" if BARE_KEY.fullmatch(step)
        else f'."{step}"'
        for step in place
    )  # fmt: skip
    return "".join(steps).removeprefix(".")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ' (did you mean "x"?)' for the nearest of `known`, or nothing where none is near."""
    question = did_you_mean(name, sorted(known))
    return f" ({question})" if question else ""


def _refusal(problem: Problem) -> ConfigError:
    return ConfigError(str(problem), problems=[problem])


def _completed(lines: list[str], count: int) -> Mapping[str, object]:
    """Parse the first `count` lines and as many more as finish the statement they are cut in."""
    for end in range(count, len(lines)):
        try:
            return tomllib.loads("\n".join(lines[:end]))
        except ValueError:
            continue
    return tomllib.loads("\n".join(lines))


def _syntax_problem(text: str, shown: str, error: Exception) -> Problem:
    """Return where the statement that tomllib stumbled over starts, and what is wrong with it."""
    lines = text.split("\n")
    said, _, at = str(error).rpartition(" (at ")
    position = re.fullmatch(r"line (\d+), column \d+\)", at)
    stumble = int(position[1]) if position else len(lines)
    start = next(n for n in range(stumble - 1, -1, -1) if _parses(lines[:n])) + 1
    noticed = f" (noticed on line {stumble})" if position and stumble > start else ""
    return Problem(shown, start, "", f"not TOML: {_syntax_words(said or at)}{noticed}")


def _syntax_words(said: str) -> str:
    for beginning, words in SYNTAX_WORDS.items():
        if said.startswith(beginning):
            return words
    return _lower_first(said)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _parses(lines: list[str]) -> bool:
    try:
        tomllib.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return False
    return True


def _children(value: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _existing(place: Place, data: object) -> Place:
    """Return the steps of `place` that lead somewhere in `data`.

    pydantic adds steps of its own ("[key]", a union's tag), and a missing key is not there.
    """
    found: list[str | int] = []
    for step in place:
        children = dict(_children(data))
        if step in children:
            data = children[step]
            found.append(step)
    return tuple(found)


def _explain(details: ErrorDetails, shape: type[BaseModel], document: Document) -> Problem:
    place = _existing(details["loc"], document.data)
    if details["type"] == "missing":
        message = f'missing key "{details["loc"][-1]}"'
    elif details["type"] == "extra_forbidden":
        message = f"unknown key ({_advice(place, details['input'], shape)})"
    else:
        message = _words(details)
    return document.problem(place, message)


def _advice(place: Place, value: object, shape: type[BaseModel]) -> str:
    """Return what whoever wrote the unknown key at `place` may have meant."""
    known = _keys_at(shape, place[:-1])
    if question := did_you_mean(str(place[-1]), known):
        return question
    if isinstance(value, dict) and len(place) > 1:
        return f'a name with a dot in it needs quotes: "{place[-2]}.{place[-1]}"'
    return f"known keys: {', '.join(known)}"


def _keys_at(shape: type[BaseModel], place: Place) -> list[str]:
    """Return the keys that `shape` allows in the table at `place`."""
    kind: object = shape
    for step in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = _annotations(kind)[str(step)]
        else:  # in `Mapping[str, Entry]` and `tuple[Rule, ...]` any step leads to an element
            kind = next(arg for arg in reversed(get_args(kind)) if arg is not ...)
    assert isinstance(kind, type)
    return list(_annotations(kind))


def _annotations(shape: type[BaseModel]) -> dict[str, object]:
    return {field.alias or name: field.annotation for name, field in shape.model_fields.items()}


def _words(details: ErrorDetails) -> str:
    """Return what was expected, in a person's words, and what stands there instead."""
    kind, value = details["type"], details["input"]
    facts = {
        name: f"{fact:g}" if isinstance(fact, float) else fact
        for name, fact in details.get("ctx", {}).items()
    }
    words = WORDS[kind].format_map(facts) if kind in WORDS else _lower_first(details["msg"])
    if kind == "literal_error":
        words = words.replace("'", '"')  # as the file writes text
    if kind == "tuple_type" and isinstance(value, dict):
        return f"{words}; the header of a table in a list has double brackets"
    return words if _is_said(details) else f"{words}, got {_shown(value)}"


def _is_said(details: ErrorDetails) -> bool:
    """True where the message names the value: a key, or a table or list that was looked into."""
    is_inside = details["type"] == "value_error" and isinstance(details["input"], (dict, list))
    return is_inside or details["loc"][-1:] == ("[key]",)


def _shown(value: object) -> str:
    """Return a value as a TOML file writes it, tables and lists only by their kind."""
    match value:
        case dict():
            return "a table" if value else "an empty table"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case str() if len(value) > LONGEST_SHOWN:
            return f'"{value[:LONGEST_SHOWN]}..."'
        case str():
            return f'"{value}"'
        case _:
            return str(value)
