"""What an answer may be held to: a JSON schema, or a grammar in llama.cpp's notation (GBNF).

Text within bounds; whether it means anything is said where it is compiled (`engine.constraint`).
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from modelrouter.errors import RequestError

MOST_BYTES: Final = 64 * 1024
MOST_DEPTH: Final = 64
"""How deep a schema may nest: its compiler gives up at 128."""


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The form of an answer: `text` is a JSON schema or a GBNF grammar."""

    kind: Literal["json_schema", "gbnf"]
    text: str

    def __post_init__(self) -> None:
        """Refuse what is larger than anybody needs."""
        size = len(self.text.encode(errors="surrogatepass"))
        if size > MOST_BYTES:
            what = "JSON schema" if self.kind == "json_schema" else "grammar"
            raise RequestError(f"the {what} has {size:,} bytes; it may have {MOST_BYTES:,}")

    @classmethod
    def of_schema(cls, schema: Any) -> "AnswerFormat":
        """Return the format of a JSON schema, as `json.loads` gives it."""
        if not isinstance(schema, dict):
            raise RequestError(f"a JSON schema is an object, got {json.dumps(schema)[:40]}")
        if depth_of(schema) > MOST_DEPTH:
            raise RequestError(f"the JSON schema nests deeper than {MOST_DEPTH} levels")
        return cls("json_schema", json.dumps(schema, ensure_ascii=False, separators=(",", ":")))


ANY_OBJECT: Final = AnswerFormat("json_schema", '{"type":"object"}')


def depth_of(value: Any) -> int:
    """Return how deep the value nests, without recursion: it may be deep enough to break that."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [item for each in level for item in _items(each)]
    return depth


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
