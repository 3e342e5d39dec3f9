"""From a hole to a prompt: laid out as the chosen model was trained, by its own markers.

The caller's text never becomes a marker: the pieces that hold it are plain, and where it spells one
of the model's markers it is cut inside the spelling. No tokenizer here: tokens are counted by a
generous estimate, so that what is left of a long file fits the context.

What the files around the hole say comes first: it stays the same from one key stroke to the next,
and so does its KV. A prefix that is too long begins at a line that its content chooses, for the
same reason: cut by length alone, it would begin elsewhere after every key stroke.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from modelrouter.errors import RequestError
from modelrouter.forecast import TYPICAL_ANSWER_TOKENS
from modelrouter.generation import Piece
from modelrouter.gguf.fim import Family
from modelrouter.types import Extra, Hole

MOST_PREFIX_TOKENS = 1280
MOST_SUFFIX_TOKENS = 160
"""What a model reads around the hole, whatever its context. On a CPU every token of the suffix
costs time with each key stroke, since it stands behind what was typed.
"""

PREFIX_SHARE, SUFFIX_SHARE = 0.7, 0.2
"""The most of the room that each may have."""

ROOM_SHARE = 0.85
"""How much of the context is filled by the estimate below. It is meant to be high for code; for
columns of numbers, or Chinese in a vocabulary of few such letters, it may be low.
"""

MARKER_TOKENS = 16
"""Room for the markers and the names around them."""

LEAST_ROOM_TOKENS = 32
MOST_CHARACTERS_PER_TOKEN = 16
TOKENS_OF_ASTRAL = 4
"""What a character beyond U+FFFF is worth, such as most emoji: a token for each of its bytes."""

PROJECT = "project"
CURRENT_FILE = "filename"
"""The name of the file with the hole, which no client says; llama.cpp calls it the same."""

SNIPPET = "\n\n--- snippet ---\n\n"
"""What stands between files where the model has no marker for them; llama.cpp's line."""

_LIKE_TOKENS = re.compile(r"[A-Z]?[a-z]{1,6}|[A-Z]{1,3}|[ \t]{2,16}|\n|[^\sA-Za-z]")
"""Pieces of words, runs of blanks, and every digit, sign and other letter by itself."""


def render_hole(
    hole: Hole, family: Family | None, context_tokens: int, max_tokens: int | None
) -> tuple[Piece, ...]:
    """Return the prompt for a model of this family, cut to what its context holds.

    Without a family the prefix is gone on with from left to right, and the suffix is not shown.
    """
    # The same for a warm-up as for the request that it is for.
    answer_tokens = min(max(max_tokens or 0, TYPICAL_ANSWER_TOKENS), context_tokens // 4)
    room = int((context_tokens - answer_tokens) * ROOM_SHARE) - MARKER_TOKENS
    ours = fitted(hole, max(room, LEAST_ROOM_TOKENS))
    if family is not None:
        return tuple(_pieces(ours, family))
    if not ours.prefix and hole.suffix:
        raise RequestError(
            "nothing stands before the cursor, and the model was not trained to fill in",
            hint="name a model that was, such as Qwen2.5-Coder",
        )
    text = _joined(ours.extras) + ours.prefix
    return (Piece(text, special=False),) if text else ()


def fitted(hole: Hole, room_tokens: int) -> Hole:
    """Return the hole with the prefix's end, the suffix's start and the last extras that fit.

    The extras have what prefix and suffix could leave them at most length: did they get more while
    both are short, the first would fall out while one types, and all would be read anew.
    """
    prefix_tokens = min(MOST_PREFIX_TOKENS, int(room_tokens * PREFIX_SHARE))
    suffix_tokens = min(MOST_SUFFIX_TOKENS, int(room_tokens * SUFFIX_SHARE))
    prefix = _anchored(_at_most(prefix_tokens, hole.prefix, at_end=True), hole.prefix)
    suffix = _at_most(suffix_tokens, hole.suffix, at_end=False)
    return Hole(prefix, suffix, _last_of(hole.extras, room_tokens - prefix_tokens - suffix_tokens))


def tokens_in(text: str) -> int:
    """Return about how many tokens a text has, rather more than fewer."""
    astral = len(text.encode("utf-16-le")) // 2 - len(text)
    return len(_LIKE_TOKENS.findall(text)) + (TOKENS_OF_ASTRAL - 1) * astral


def _at_most(tokens: int, text: str, *, at_end: bool) -> str:
    """Return the end or the start of the text that has so many tokens."""
    most = MOST_CHARACTERS_PER_TOKEN * tokens
    kept = text[max(0, len(text) - most) :] if at_end else text[:most]
    while (found := tokens_in(kept)) > tokens:
        fewer = max(1, len(kept) * (found - tokens) // found)
        kept = kept[fewer:] if at_end else kept[:-fewer]
    return kept


def _anchored(kept: str, whole: str) -> str:
    """Return `kept`, where it is not the whole, from a line of its first third on.

    The line with the smallest checksum: the same one until it has left the third, also where the
    caller cuts the text before us and each time elsewhere.
    """
    if len(kept) == len(whole):
        return kept
    lines = kept[: len(kept) // 3].splitlines(keepends=True)
    inner = range(1, len(lines) - 1)  # the first and the last may be cut
    chosen = min(inner, key=lambda n: zlib.crc32(lines[n].encode()), default=0)
    return kept[sum(map(len, lines[:chosen])) :]


def _last_of(extras: Sequence[Extra], tokens: int) -> tuple[Extra, ...]:
    """Return the last extras that have at most so many tokens together."""
    kept: list[Extra] = []
    for extra in reversed(extras):
        text = (extra.filename or "") + extra.text
        if len(text) > MOST_CHARACTERS_PER_TOKEN * tokens:
            break  # counting would take long
        tokens -= tokens_in(text) + MARKER_TOKENS
        if tokens < 0:
            break
        kept.insert(0, extra)
    return tuple(kept)


def _pieces(hole: Hole, family: Family) -> Iterator[Piece]:
    """Yield what stands around the hole, then the hole itself in the family's order."""
    if family.file_line:
        hole = replace(hole, prefix=_with_files(hole, family.file_line), extras=())
    yield from _files(hole.extras, family)
    prefix, suffix = _plain(hole.prefix, family), _plain(hole.suffix, family)
    match family.order:
        case "prefix-first":
            yield from (_marker(family.prefix), *prefix, _marker(family.suffix), *suffix)
            yield from _last_marker(family)
        case "suffix-first":
            yield from (_marker(family.suffix), *suffix, _marker(family.prefix), *prefix)
            yield from _last_marker(family)
        case "suffix-inside":
            yield from (_marker(family.prefix), _marker(family.suffix), *suffix)
            yield from (*_last_marker(family), *prefix)


def _files(extras: Sequence[Extra], family: Family) -> Iterator[Piece]:
    if not extras:
        return
    if not family.file:
        yield from _plain(_joined(extras), family)
        return
    if family.repository:
        yield _marker(family.repository)
        yield Piece(f"{PROJECT}\n", special=False)
    for extra in extras:
        yield _marker(family.file)
        yield from _plain(f"{_name(extra)}\n{_whole_lines(extra.text)}", family)
    yield _marker(family.file)
    yield Piece(f"{CURRENT_FILE}\n", special=False)


def _with_files(hole: Hole, file_line: str) -> str:
    """Return the prefix with the extras before it, each below a line of text that names it."""
    if not hole.extras:
        return hole.prefix
    files = [f"{file_line}{_name(e)}\n{_whole_lines(e.text)}\n" for e in hole.extras]
    return "".join([*files, f"{file_line}{CURRENT_FILE}\n", hole.prefix])


def _joined(extras: Sequence[Extra]) -> str:
    return "".join(extra.text + SNIPPET for extra in extras)


def _name(extra: Extra) -> str:
    """Return the file's name as one line."""
    return " ".join((extra.filename or "").split()) or CURRENT_FILE


def _whole_lines(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _marker(text: str) -> Piece:
    return Piece(text, special=True)


def _last_marker(family: Family) -> tuple[Piece, ...]:
    return (_marker(family.middle),) if family.middle else ()


def _plain(text: str, family: Family) -> list[Piece]:
    """Return the text as plain pieces, cut inside whatever spells one of the family's markers.

    llama.cpp reads tokens of the type "user defined" in plain text too; control tokens it does not.
    """
    parts = [text]
    for marker in family.markers:
        parts = [cut for part in parts for cut in _cut(part, marker)]
    return [Piece(part, special=False) for part in parts if part]


def _cut(text: str, marker: str) -> Iterator[str]:
    """Yield the text in parts: one ends, and the next begins, inside every `marker`."""
    start, half = 0, max(1, len(marker) // 2)
    while (at := text.find(marker, start)) >= 0:
        yield text[start : at + half]
        start = at + half
    yield text[start:]
