"""Tool calls in the middle of a text: where one ends, and what it says.

Pure. Each reader gets the text from behind a call's opening on. While that may still become a call
it returns None; text that is none is NotACall.
"""

import json
import re
from typing import Any, NamedTuple, TypeAlias

STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*(?P<closed>"?)|[\[\]{}]', re.DOTALL)
NAME_AND_ARGS = re.compile(r"\s*([A-Za-z0-9_.:/-]+)(?:\[CALL_ID\][^\[\]]*)?\[ARGS\]\s*")
MAY_BECOME_NAME = re.compile(r"\s*[A-Za-z0-9_.:/-]*(?:\[[A-Z_]*\]?[^\[\]]*(?:\[[A-Z_]*)?)?")

Call: TypeAlias = tuple[str, str]
"""A tool's name, and its arguments as JSON text."""


class NotACall(ValueError):
    """The text is not what a call looks like."""


class Calls(NamedTuple):
    """The calls that were read, and where the text goes on behind them."""

    calls: tuple[Call, ...]
    end: int


def read_tagged(text: str, *, is_last: bool) -> Calls | None:
    """Read `{"name": ..., "arguments": {...}} </tool_call>`, as Hermes and Qwen write it."""
    found = read_json(text, is_last=is_last)
    if found is None:
        return None
    rest = text[found.end :]
    close = "</tool_call>"
    closing = rest.lstrip()
    if closing.startswith(close):
        return Calls(found.calls, len(text) - len(closing) + len(close))
    if close.startswith(closing) and not is_last:
        return None
    return Calls(found.calls, len(text)) if close.startswith(closing) else found


def read_listed(text: str, *, is_last: bool) -> Calls | None:
    """Read `[{"name": ..., "arguments": {...}}, ...]` or `name[ARGS]{...}`, as Mistral has them."""
    if text.lstrip()[:1] in {"", "[", "{"}:
        return read_json(text, is_last=is_last)
    head = NAME_AND_ARGS.match(text)
    if head is None:
        if not is_last and MAY_BECOME_NAME.fullmatch(text):
            return None
        raise NotACall
    end = _json_end(text, head.end())
    if end is None and is_last:
        raise NotACall
    if end is None:
        return None
    return Calls(((head[1], _arguments(_loaded(text[head.end() : end]))),), end)


def read_json(text: str, *, is_last: bool) -> Calls | None:
    """Read one call as a JSON object, or several as a list of them."""
    start = len(text) - len(text.lstrip())
    end = _json_end(text, start)
    if end is None and is_last:
        raise NotACall
    if end is None:
        return None
    value = _loaded(text[start:end])
    calls = tuple(_call(each) for each in (value if isinstance(value, list) else [value]))
    if not calls:
        raise NotACall
    return Calls(calls, end)


def _json_end(text: str, start: int) -> int | None:
    """Return where the object or list that begins at `start` ends; None where it does not yet."""
    if start == len(text):
        return None
    if text[start] not in "{[":
        raise NotACall
    depth = 0
    for match in STRING_OR_BRACKET.finditer(text, start):
        if match[0] in "{[":
            depth += 1
        elif match[0] in "]}":
            depth -= 1
            if depth == 0:
                return match.end()
        elif not match["closed"]:
            return None
    return None


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
