"""Anthropic's dialect: `/v1/messages`, whole and as named events, and its count of tokens.

Field names and shapes are those of Anthropic's Messages API. Known wishes that this server cannot
fulfil are refused; fields it does not know are passed over.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from modelrouter import types
from modelrouter.errors import RequestError
from modelrouter.formats import AnswerFormat
from modelrouter.server import exchange
from modelrouter.server.anthropic_answer import events, message
from modelrouter.server.bodies import Body
from modelrouter.server.content import not_text
from modelrouter.server.headers import from_headers
from modelrouter.server.sampling import SamplingFields
from modelrouter.tools import Calling, Tool, Toolbox, ToolCall
from modelrouter.trace import Fact

routes = APIRouter(prefix="/v1/messages")

BILLING_LINE = re.compile(r"\Ax-anthropic-billing-header:[^\n]*\n?")
"""Claude Code's first words of the system prompt. They differ in every request and say nothing to a
model; left in, no prompt would begin like the one before, and all of it be read anew each time."""

THOUGHTS = frozenset({"thinking", "redacted_thinking"})
"""Blocks of earlier answers that a model is not shown again."""

Choice = Literal["auto", "any", "tool", "none"]

CALLING: Mapping[Choice, Calling] = {
    "auto": "auto",
    "any": "required",
    "tool": "required",
    "none": "none",
}
"""What the types of `tool_choice` are in our words."""


class Block(Body):
    """A block of a message's content: text, a call, or what a tool answered to one."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] = Field(default_factory=dict)
    tool_use_id: str = ""
    content: "str | tuple[Block, ...]" = ""

    def to_call(self) -> ToolCall:
        """Return a `tool_use` block in our words."""
        return ToolCall(self.id, self.name, json.dumps(self.input, ensure_ascii=False))

    def to_answer(self) -> types.Message:
        """Return a `tool_result` block as a turn in our words."""
        return types.Message("tool", _text_of(self.content), tool_call_id=self.tool_use_id)


class Turn(Body):
    """One turn."""

    role: Literal["user", "assistant"]
    content: str | tuple[Block, ...]

    def to_messages(self) -> list[types.Message]:
        """Return the turn in our words: what tools answered comes first, as turns of their own."""
        if isinstance(self.content, str):
            return [types.Message(self.role, self.content)]
        results = [block for block in self.content if block.type == "tool_result"]
        uses = [block for block in self.content if block.type == "tool_use"]
        rest = tuple(b for b in self.content if b.type not in {"tool_result", "tool_use"})
        if results and self.role != "user":
            raise RequestError("a tool_result block stands in a message of the user's")
        if uses and self.role != "assistant":
            raise RequestError("a tool_use block stands in a message of the assistant's")
        answers = [block.to_answer() for block in results]
        if answers and not rest:
            return answers
        calls = tuple(block.to_call() for block in uses)
        return [*answers, types.Message(self.role, _text_of(rest), calls)]


class OfferedTool(Body):
    """A tool that may be called. Those with another type are Anthropic's own."""

    type: str = "custom"
    name: str = ""
    description: str = ""
    input_schema: Any = None

    def to_tool(self) -> Tool:
        """Return the tool in our words; RequestError for one that only Anthropic could run."""
        if self.type != "custom":
            raise RequestError(
                f"a tool of the type {self.type[:40]} cannot be offered: "
                "only those with an input_schema can"
            )
        return Tool.of(self.name, self.description, self.input_schema)


class ToolChoice(Body):
    """Whether a tool must be called, and which."""

    type: Choice = "auto"
    name: str | None = None


class Form(Body):
    """The form that the answer is held to."""

    type: Literal["json_schema"]
    schema_: Any = Field(alias="schema")


class OutputConfig(Body):
    """What is wanted of the answer."""

    format: Form | None = None


class Conversation(SamplingFields):
    """What is asked: the body of a count, and the most of that of a message."""

    model: str = ""
    messages: Annotated[tuple[Turn, ...], Field(min_length=1)]
    system: str | tuple[Block, ...] = ""
    tools: tuple[OfferedTool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()

    def to_messages(self) -> tuple[types.Message, ...]:
        """Return the conversation in our words; RequestError for what this server cannot do."""
        if self.messages[-1].role == "assistant":
            raise RequestError(
                "the last message is the assistant's; no model here goes on with a begun answer",
                hint="end with a message of the user's",
            )
        system = BILLING_LINE.sub("", _text_of(self.system))
        first = (types.Message("system", system),) if system else ()
        return (*first, *(each for turn in self.messages for each in turn.to_messages()))

    def toolbox(self) -> Toolbox:
        """Return the tools in our words."""
        tools = tuple(tool.to_tool() for tool in self.tools)
        only = self.tool_choice.name if self.tool_choice.type == "tool" else None
        return Toolbox(tools, CALLING[self.tool_choice.type], only)


class MessageBody(Conversation):
    """The body of `/v1/messages`."""

    max_tokens: int
    stop_sequences: tuple[str, ...] = ()
    stream: bool = False
    output_config: OutputConfig = OutputConfig()

    def to_request(self, request: Request) -> types.Request:
        """Return the request in our words; RequestError for what this server cannot do."""
        form = self.output_config.format
        return types.Request(
            messages=self.to_messages(),
            model=self.model or None,
            max_tokens=self.max_tokens,
            stop=self.stop_sequences,
            sampling=self.overrides(),
            answer_format=None if form is None else AnswerFormat.of_schema(form.schema_),
            toolbox=self.toolbox(),
            **from_headers(request.headers),
        )


@routes.post("", response_model=None)
async def messages(body: MessageBody, request: Request) -> Response:
    """Answer a conversation, as a whole or as a stream."""
    wanted = body.to_request(request)
    if body.stream:
        return await exchange.streamed(request, wanted, events)
    return await exchange.whole(request, wanted, message)


@routes.post("/count_tokens", response_model=None)
async def count_tokens(body: Conversation) -> dict[str, Fact]:
    """Say about how many tokens the conversation has: its bytes, four to a token.

    Only the model that will answer counts exactly, and to load one may take minutes.
    """
    wanted = types.Request(messages=body.to_messages(), toolbox=body.toolbox())
    return {"input_tokens": wanted.prompt_tokens}


def _text_of(content: str | tuple[Block, ...]) -> str:
    if isinstance(content, str):
        return content
    blocks = [block for block in content if block.type not in THOUGHTS]
    if (other := next((b.type for b in blocks if b.type != "text"), None)) is not None:
        raise not_text(other[:40])
    return "\n".join(block.text for block in blocks)
