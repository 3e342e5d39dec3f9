"""A tiny model that is taken for one that was trained to call tools, and what it is asked for."""

from pathlib import Path
from typing import Any

TOOLS_TEMPLATE = (
    "{% if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}<tool_call>{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}"
    "<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
"""A template that knows tools, in the manner of the models that write `<tool_call>`."""

PARIS: Any = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris"]}},
    "required": ["city"],
    "additionalProperties": False,
}
"""A schema that one object fits."""


def with_template(model: Path, path: Path, template: str) -> Path:
    """Write a copy of the tiny model with another chat template.

    The header grows by whole steps of its alignment, so that all behind it keeps its distances.
    """
    content = model.read_bytes()
    key = b"tokenizer.chat_template" + (8).to_bytes(4, "little")
    start = content.index(key) + len(key)
    end = start + 8 + int.from_bytes(content[start : start + 8], "little")
    text = template.encode()
    text += b" " * (-(len(text) - (end - start - 8)) % 32)
    path.write_bytes(content[:start] + len(text).to_bytes(8, "little") + text + content[end:])
    return path
