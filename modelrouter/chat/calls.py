"""Tool calls in the middle of a text: where one ends, and what it says.

Pure. A reader is made for each opening, and gets the text from behind it, longer every time. While
that may still become a call it returns None; text that is none is NotACall. What it has looked at
it does not look at again: a call may be as long as an answer, and comes token by token.
"""

import json
import re
from typing import Any, NamedTuple, Protocol, TypeAlias

QUOTE_OR_BRACKET = re.compile(r'["\[\]{}]')
QUOTE_OR_ESCAPE = re.compile(r'["\\]')
NOT_BLANK = re.compile(r"\S")
HEAD = re.compile(r"([A-Za-z0-9_.:/-]+)(?:\[CALL_ID\][^\[\]]*)?\[ARGS\]")
MAY_BECOME_HEAD = re.compile(r"[A-Za-z0-9_.:/-]*(?:\[[A-Z_]*\]?[^\[\]]*(?:\[[A-Z_]*)?)?")
MOST_OF_HEAD = 256
"""The most characters up to the arguments: a name has 128 at most. It alone is read repeatedly."""

TAG_END = "</tool_call>"

Call: TypeAlias = tuple[str, str]
"""A tool's name, and its arguments as JSON text."""


class NotACall(ValueError):
    """The text is not what a call looks like."""


class Calls(NamedTuple):
    """The calls that were read, and where the text goes on behind them."""

    calls: tuple[Call, ...]
    end: int


class CallReader(Protocol):
    """Reads the calls behind one opening."""

    def read(self, text: str, *, is_last: bool) -> Calls | None:
        """Return them, or None while the text may still become some; NotACall for other text."""


class JsonCalls:
    """Reads one call as a JSON object, or several as a list of them."""

    def __init__(self) -> None:
        """Begin behind an opening."""
        self._json = _Json(0)

    def read(self, text: str, *, is_last: bool) -> Calls | None:
        """Return the calls once their JSON is whole."""
        found = self._json.read(text, is_last=is_last)
        if found is None:
            return None
        value, end = found
        calls = tuple(_call(each) for each in (value if isinstance(value, list) else [value]))
        if not calls:
            raise NotACall
        return Calls(calls, end)


class TaggedCalls:
    """Reads `{"name": ..., "arguments": {...}} </tool_call>`, as Hermes and Qwen write it."""

    def __init__(self) -> None:
        """Begin behind an opening."""
        self._json = JsonCalls()
        self._found: Calls | None = None
        self._at = 0
        """Between the JSON and here are blanks."""

    def read(self, text: str, *, is_last: bool) -> Calls | None:
        """Return the calls once it is known whether they are closed, as they need not be."""
        if self._found is None:
            self._found = self._json.read(text, is_last=is_last)
        if self._found is None:
            return None
        calls, end = self._found
        self._at = _past_blanks(text, max(self._at, end))
        closing = text[self._at : self._at + len(TAG_END)]
        if closing == TAG_END:
            return Calls(calls, self._at + len(TAG_END))
        if not TAG_END.startswith(closing):
            return self._found
        return Calls(calls, len(text)) if is_last else None


class ListedCalls:
    """Reads `[{"name": ..., "arguments": {...}}, ...]` or `name[ARGS]{...}`, as Mistral writes."""

    def __init__(self) -> None:
        """Begin behind an opening."""
        self._listed = JsonCalls()
        self._begin = 0
        self._name = ""
        self._arguments: _Json | None = None

    def read(self, text: str, *, is_last: bool) -> Calls | None:
        """Return the calls once their JSON is whole."""
        if self._arguments is None:
            self._begin = _past_blanks(text, self._begin)
            if text[self._begin : self._begin + 1] in {"", "[", "{"}:
                return self._listed.read(text, is_last=is_last)
            self._arguments = self._behind_head(text, is_last=is_last)
        if self._arguments is None:
            return None
        found = self._arguments.read(text, is_last=is_last)
        return None if found is None else Calls(((self._name, _arguments(found[0])),), found[1])

    def _behind_head(self, text: str, *, is_last: bool) -> "_Json | None":
        """Take the name in; return what reads its arguments, None where the head is not whole."""
        head = HEAD.match(text, self._begin, self._begin + MOST_OF_HEAD)
        if head is not None:
            self._name = head[1]
            return _Json(head.end())
        is_short = len(text) - self._begin < MOST_OF_HEAD
        if is_last or not is_short or not MAY_BECOME_HEAD.fullmatch(text, self._begin):
            raise NotACall
        return None


class _Json:
    """Reads one object or list."""

    def __init__(self, at: int) -> None:
        """Begin at this place of the text, where blanks may come first."""
        self._start = at
        self._at = at
        """Up to here all has been looked at."""
        self._depth = 0
        self._is_in_string = False

    def read(self, text: str, *, is_last: bool) -> tuple[Any, int] | None:
        """Return what it says and where it ends, None where it does not yet."""
        if self._depth == 0:
            self._start = self._at = _past_blanks(text, self._at)
            if text[self._at : self._at + 1] not in {"", "[", "{"}:
                raise NotACall
        end = self._end(text)
        if end is None and is_last:
            raise NotACall
        return None if end is None else (_loaded(text[self._start : end]), end)

    def _end(self, text: str) -> int | None:
        while mark := (QUOTE_OR_ESCAPE if self._is_in_string else QUOTE_OR_BRACKET).search(
            text, self._at
        ):
            self._at = mark.end()
            match mark[0]:
                case "\\":
                    self._at += 1  # what is escaped may not be here yet
                case '"':
                    self._is_in_string = not self._is_in_string
                case "{" | "[":
                    self._depth += 1
                case _:
                    self._depth -= 1
                    if self._depth == 0:
                        return self._at
        self._at = max(self._at, len(text))
        return None


def _past_blanks(text: str, at: int) -> int:
    """Return where the first letter from `at` on stands that is no blank."""
    found = NOT_BLANK.search(text, at)
    return len(text) if found is None else found.start()


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise NotACall from error


def _call(value: Any) -> Call:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise NotACall
    given = [value[key] for key in ("arguments", "parameters") if key in value]
    if len(given) != 1:
        raise NotACall
    return value["name"], _arguments(given[0])


def _arguments(value: Any) -> str:
    """Return the arguments as JSON text; some models write them as a string of JSON."""
    if isinstance(value, str):
        value = _loaded(value)
    if not isinstance(value, dict):
        raise NotACall
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
