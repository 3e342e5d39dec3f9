"""The ways in which model families call tools and mark their reasoning, told by their templates.

The templates themselves are the models'; only what they agree with their answers about is here.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelrouter.chat.calls import CallReader, JsonCalls, ListedCalls, TaggedCalls
from modelrouter.formats import AnswerFormat
from modelrouter.tools import Tool

THINK: Final = "<think>"
THOUGHT: Final = "</think>"

MOST_FORCED_CALLS: Final = 16


@dataclass(frozen=True, slots=True)
class Family:
    """How models of one kind call tools.

    A call begins with `opening`; with "" it is the whole answer, and begins with a bracket.
    `tokens` are spelled in the answer though they may be control tokens. `begins` is what the
    prompt says on the model's behalf where it must call. `reader` makes what reads the calls behind
    one opening.
    """

    name: str
    opening: str
    begins: str
    reader: Callable[[], CallReader]
    tokens: tuple[str, ...] = ()
    arguments: str = "arguments"
    is_list: bool = False

    def forced_format(self, tools: Sequence[Tool]) -> AnswerFormat:
        """Return the form of what must follow `begins`: a call of one of these tools."""
        schema: Any = {
            "anyOf": [self._call_schema(number, tool) for number, tool in enumerate(tools)]
        }
        if self.is_list:
            schema = {
                "type": "array",
                "items": schema,
                "minItems": 1,
                "maxItems": MOST_FORCED_CALLS,
            }
        definitions = {
            f"tool{number}": _moved(json.loads(tool.parameters), f"#/$defs/tool{number}")
            for number, tool in enumerate(tools)
        }
        return AnswerFormat.of_schema({**schema, "$defs": definitions})

    def _call_schema(self, number: int, tool: Tool) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {
                "name": {"const": tool.name},
                self.arguments: {"$ref": f"#/$defs/tool{number}"},
            },
            "required": ["name", self.arguments],
            "additionalProperties": False,
        }


TAGGED: Final = Family(
    "tagged", "<tool_call>", "<tool_call>\n", TaggedCalls, ("<tool_call>", "</tool_call>")
)
LISTED: Final = Family(
    "listed",
    "[TOOL_CALLS]",
    "[TOOL_CALLS]",
    ListedCalls,
    ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
    is_list=True,
)
PYTHON_TAG: Final = "<|python_tag|>"
LLAMA: Final = Family("llama", "", "", JsonCalls, (PYTHON_TAG,), arguments="parameters")
PLAIN: Final = Family("plain", "", "", JsonCalls)


def family_of(template: str) -> Family | None:
    """Return how the models of a chat template call tools; None where it knows of none."""
    if not re.search(r"\btools\b", template):
        return None
    if "[TOOL_CALLS]" in template:
        return LISTED
    if "<tool_call>" in template:
        return TAGGED
    if PYTHON_TAG in template or '"parameters"' in template:
        return LLAMA
    return PLAIN


def _moved(schema: Any, place: str) -> Any:
    """Return a schema whose references into itself still hold once it stands at `place`."""
    if isinstance(schema, list):
        return [_moved(each, place) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: place + value[1:]
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else _moved(value, place)
        for key, value in schema.items()
    }
