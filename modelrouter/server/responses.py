"""OpenAI's Responses dialect, the stateless part of it: `/v1/responses`, whole and as events.

Field names and shapes are those of the OpenAI API reference. Nothing is kept between requests: what
would need that is refused, `store` is passed over.
"""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from modelrouter import types
from modelrouter.errors import RequestError
from modelrouter.formats import ANY_OBJECT, AnswerFormat
from modelrouter.server import exchange
from modelrouter.server.bodies import Body
from modelrouter.server.content import text_of
from modelrouter.server.headers import from_headers
from modelrouter.server.responses_answer import Answer
from modelrouter.server.sampling import SamplingFields
from modelrouter.tools import Tool, Toolbox, ToolCall
from modelrouter.trace import Fact

routes = APIRouter(prefix="/v1")

Content = str | tuple[dict[str, Any], ...]


class Item(Body):
    """One item of the input: a message, unless it says otherwise."""

    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] = "user"
    content: Content = ""
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: Content = ""

    def to_message(self) -> types.Message:
        """Return it as a turn in our words."""
        match self.type:
            case "message":
                speaker: types.Speaker = "system" if self.role == "developer" else self.role
                return types.Message(speaker, text_of(self.content))
            case "function_call":
                call = ToolCall(self.call_id, self.name, self.arguments)
                return types.Message("assistant", "", (call,))
            case "function_call_output":
                return types.Message("tool", text_of(self.output), tool_call_id=self.call_id)
        raise RequestError(f"this server cannot do input items of the type {self.type[:40]}")


class OfferedTool(Body):
    """A tool that may be called."""

    type: str = "function"
    name: str = ""
    description: str = ""
    parameters: Any = None

    def to_tool(self) -> Tool:
        """Return the tool in our words; RequestError for one that only OpenAI could run."""
        if self.type != "function":
            raise RequestError(
                f"a tool of the type {self.type[:40]} cannot be offered: only functions can"
            )
        return Tool.of(self.name, self.description, self.parameters)


class Format(Body):
    """The form that the answer's text is to have."""

    type: str = "text"
    schema_: Any = Field(default=None, alias="schema")

    def to_format(self) -> AnswerFormat | None:
        """Return what the answer is held to; None for free text."""
        match self.type:
            case "text":
                return None
            case "json_object":
                return ANY_OBJECT
            case "json_schema":
                return AnswerFormat.of_schema(self.schema_)
        raise RequestError(
            f"text.format {self.type[:40]} is none of text, json_object, json_schema"
        )


class TextOptions(Body):
    """What is wanted of the answer's text."""

    format: Format = Format()


class ResponsesBody(SamplingFields):
    """The body of `/v1/responses`. Thoughts in `input` are not shown again."""

    model: str = ""
    input: str | Annotated[tuple[Item, ...], Field(min_length=1)]
    instructions: str = ""
    max_output_tokens: int | None = None
    stream: bool = False
    tools: tuple[OfferedTool, ...] = ()
    tool_choice: str | dict[str, Any] = "auto"
    text: TextOptions = TextOptions()
    previous_response_id: str = ""
    conversation: Any = None
    background: bool = False

    def to_request(self, request: Request) -> types.Request:
        """Return the request in our words; RequestError for what this server cannot do."""
        self._refuse_state()
        return types.Request(
            messages=self._messages(),
            model=self.model or None,
            max_tokens=self.max_output_tokens,
            sampling=self.overrides(),
            answer_format=self.text.format.to_format(),
            toolbox=self._toolbox(),
            **from_headers(request.headers),
        )

    def repeated(self) -> dict[str, Fact]:
        """Return what the response says again of the request."""
        return {
            "instructions": self.instructions or None,
            "max_output_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "text": self.text.model_dump(by_alias=True, exclude_none=True),
            "tool_choice": self.tool_choice,
            "tools": [{**tool.model_dump(), "strict": False} for tool in self.tools],
        }

    def _messages(self) -> tuple[types.Message, ...]:
        first = (types.Message("system", self.instructions),) if self.instructions else ()
        if isinstance(self.input, str):
            return (*first, types.Message("user", self.input))
        said = (item.to_message() for item in self.input if item.type != "reasoning")
        return (*first, *_in_turns(said))

    def _toolbox(self) -> Toolbox:
        tools = tuple(tool.to_tool() for tool in self.tools)
        match self.tool_choice:
            case "auto" | "none" | "required" as calling:
                return Toolbox(tools, calling)
            case {"type": "function", "name": str(name)}:
                return Toolbox(tools, "required", name)
        raise RequestError(
            "tool_choice is none of auto, none, required and the name of one function: "
            f"{json.dumps(self.tool_choice)[:80]}"
        )

    def _refuse_state(self) -> None:
        state = {
            "previous_response_id": self.previous_response_id,
            "conversation": self.conversation,
            "background": self.background,
        }
        if asked := [name for name, value in state.items() if value]:
            raise RequestError(
                f"nothing is kept between requests, so there is no {', '.join(asked)}",
                hint="send the whole conversation as input, and wait for its answer",
            )


def _in_turns(messages: Iterable[types.Message]) -> list[types.Message]:
    """Return the messages with the calls of one turn in that turn: each is an item of its own."""
    turns: list[types.Message] = []
    for message in messages:
        if message.tool_calls and turns and turns[-1].speaker == "assistant":
            said = turns.pop()
            calls = said.tool_calls + message.tool_calls
            turns.append(types.Message("assistant", said.content, calls))
        else:
            turns.append(message)
    return turns


@routes.post("/responses", response_model=None)
async def responses(body: ResponsesBody, request: Request) -> Response:
    """Answer an input, as a whole or as a stream."""
    wanted = body.to_request(request)
    answer = Answer(body.model, body.repeated())
    if body.stream:
        return await exchange.streamed(request, wanted, answer.events)
    return await exchange.whole(request, wanted, answer.whole)
