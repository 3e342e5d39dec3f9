"""Grammars in llama.cpp's notation (GBNF), rewritten in the one that the compiler reads (Lark).

Pure. Every character becomes a terminal of its own: Lark's terminals take the longest match, and a
GBNF rule such as `[a-z]+ "a"` means any.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, NoReturn

from modelrouter.errors import RequestError

MOST_REPEATS: Final = 2000
MOST_NESTING: Final = 64

TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
    |(?P<define>(?P<rule>[a-zA-Z0-9_-]+)\s*::=)
    |(?P<name>[a-zA-Z0-9_-]+)
    |(?P<literal>"(?:[^"\\\n]|\\.)*")
    |(?P<set>\[(?:[^\]\\\n]|\\.)*\])
    |(?P<repeat>[*+?]|\{\s*(?P<least>\d{1,9})\s*(?P<to>,\s*(?P<most>\d{1,9})?\s*)?\})
    |(?P<mark>[|().])""",
    re.VERBOSE,
)
CHARACTER = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|(.)", re.DOTALL
)
ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"} | {each: each for each in '"\\[]-^/'}


class Token(NamedTuple):
    """A word of the grammar: its kind, its text, where it stands, and what it is in Lark."""

    kind: str
    text: str
    line: int
    lark: str


def to_lark(grammar: str) -> str:
    """Return the grammar in Lark's notation; RequestError with the line of what is wrong."""
    tokens = list(_tokens(grammar))
    rules: dict[str, list[Token]] = {}
    body: list[Token] | None = None
    for token in tokens:
        if token.kind == "define":
            if token.text in rules:
                _refuse(token.line, f'rule "{token.text}" stands there twice')
            body = rules[token.text] = []
        elif body is None:
            _refuse(token.line, f"expected a rule, `name ::= ...`, got {token.text}")
        else:
            body.append(token)
    if "root" not in rules:
        raise RequestError('the grammar has no rule "root"', hint="answers begin with it")
    names = {name: "start" if name == "root" else f"r{n}" for n, name in enumerate(rules)}
    return "".join(f"{names[name]}: {_body(rules[name], names)}\n" for name in rules)


def _tokens(grammar: str) -> Iterator[Token]:
    at, line = 0, 1
    while at < len(grammar):
        match = TOKEN.match(grammar, at)
        if match is None:
            _refuse(line, f"cannot read {grammar[at : at + 20]!r}")
        kind = match.lastgroup if match["define"] is None else "define"
        kind = "repeat" if match["repeat"] else kind
        if kind != "blank":
            text = match["rule"] if kind == "define" else match[0]
            yield Token(str(kind), text, line, _lark(str(kind), match, line))
        line += match[0].count("\n")
        at = match.end()


def _lark(kind: str, match: "re.Match[str]", line: int) -> str:
    if kind == "literal":
        return " ".join(f"/{_hex(c)}/" for c in _characters(match[0][1:-1], line)) or '""'
    if kind == "set":
        return f"/{_set(match[0][1:-1], line)}/"
    if kind == "repeat" and match["least"]:
        return _count(match, line)
    return r"/(?s:.)/" if match[0] == "." else match[0]


def _count(match: "re.Match[str]", line: int) -> str:
    least = int(match["least"])
    most = int(match["most"]) if match["most"] else None if match["to"] else least
    if max(least, most or 0) > MOST_REPEATS:
        _refuse(line, f"{match[0]} repeats more than {MOST_REPEATS:,} times")
    if most is not None and most < least:
        _refuse(line, f"{match[0]} ends below its beginning")
    return f"{{{least},{'' if most is None else most}}}"


def _set(text: str, line: int) -> str:
    """Return a set of characters, `[^a-z]`, in hexadecimal."""
    negation, text = ("^", text[1:]) if text.startswith("^") else ("", text)
    characters = _characters(text, line)
    dashes = {n for n, match in enumerate(CHARACTER.finditer(text)) if match[0] == "-"}
    parts, n = [], 0
    while n < len(characters):
        if n + 1 in dashes and n + 2 < len(characters):
            if characters[n] > characters[n + 2]:
                _refuse(line, f"{characters[n]}-{characters[n + 2]} ends before it begins")
            parts.append(f"{_hex(characters[n])}-{_hex(characters[n + 2])}")
            n += 3
        else:
            parts.append(_hex(characters[n]))
            n += 1
    if not parts:
        return r"(?s:.)" if negation else r"[^\x{0}-\x{10FFFF}]"
    return f"[{negation}{''.join(parts)}]"


def _characters(text: str, line: int) -> list[str]:
    return [_character(match, line) for match in CHARACTER.finditer(text)]


def _character(match: "re.Match[str]", line: int) -> str:
    digits = match[1] or match[2] or match[3]
    if digits:
        point = int(digits, 16)
        if point > 0x10FFFF or 0xD800 <= point < 0xE000:
            _refuse(line, f"{match[0]} is no character")
        return chr(point)
    if match[4]:
        if match[4] not in ESCAPES:
            _refuse(line, f"{match[0]} is no escape")
        return ESCAPES[match[4]]
    return match[0]


def _hex(character: str) -> str:
    return f"\\x{{{ord(character):X}}}"


def _body(tokens: Sequence[Token], names: dict[str, str]) -> str:
    """Return a rule's right side; an empty alternative is Lark's empty string."""
    parts: list[str] = []
    may_repeat, is_empty, nesting = False, True, 0
    for token in tokens:
        if token.kind == "name" and token.text not in names:
            _refuse(token.line, f'there is no rule "{token.text}"')
        if token.kind == "repeat" and not may_repeat:
            _refuse(token.line, f"{token.text} has nothing before it to repeat")
        if token.text in {"|", ")"} and token.kind == "mark" and is_empty:
            parts.append('""')
        nesting += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "mark" else 0
        if not 0 <= nesting <= MOST_NESTING:
            _refuse(token.line, f"{token.text} stands where no group is open, or too many are")
        is_literal = token.kind == "literal"
        lark = names[token.text] if token.kind == "name" else token.lark
        parts.append(f"({lark})" if is_literal else lark)
        is_empty = token.kind == "mark" and token.text in {"|", "("}
        may_repeat = not is_empty
    if nesting:
        _refuse(tokens[-1].line, "a group is not closed")
    return " ".join([*parts, '""'] if is_empty else parts)


def _refuse(line: int, said: str) -> NoReturn:
    raise RequestError(f"the grammar, line {line}: {said}")
