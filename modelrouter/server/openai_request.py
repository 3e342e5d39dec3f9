"""The body of an OpenAI chat, and what it means in our words.

Every key that clients send is taken: those that change nothing here are passed over, as are unknown
ones; wishes that would change the answer and cannot be fulfilled are refused.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from modelrouter import types
from modelrouter.errors import RequestError
from modelrouter.formats import ANY_OBJECT, AnswerFormat
from modelrouter.server.answer_fields import AnswerFields, StreamOptions
from modelrouter.server.bodies import Body
from modelrouter.server.content import not_text, text_of
from modelrouter.tokens import biases_of
from modelrouter.tools import Tool, Toolbox, ToolCall


class Function(BaseModel):
    """A function that is called: its name, and its arguments as JSON text."""

    name: str
    arguments: str


class CalledTool(BaseModel):
    """A call that the model has asked for before."""

    id: str
    function: Function


class OfferedFunction(BaseModel):
    """A function that may be called."""

    name: str
    description: str | None = None
    parameters: Any = None


class OfferedTool(BaseModel):
    """A tool that may be called."""

    type: str = "function"
    function: OfferedFunction | None = None

    def to_tool(self) -> Tool:
        """Return the tool in our words; RequestError for one that only OpenAI could run."""
        if self.type == "function" and self.function is None:
            raise RequestError("a tool of the type function has no function")
        if self.function is None or self.type != "function":
            raise RequestError(
                f"a tool of the type {self.type} cannot be offered: only functions can"
            )
        return Tool.of(self.function.name, self.function.description, self.function.parameters)


class ChatMessage(Body):
    """One turn. `developer` is the newer word for `system`; null is as good as no content."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] = ""
    tool_calls: list[CalledTool] = Field(default_factory=list)
    tool_call_id: str | None = None

    def to_message(self) -> types.Message:
        """Return the turn in our words."""
        role: types.Speaker = "system" if self.role == "developer" else self.role
        if self.tool_calls and role != "assistant":
            raise RequestError(f"a message of the role {self.role} cannot have tool_calls")
        if (role == "tool") != (self.tool_call_id is not None):
            raise RequestError("a message of the role tool, and no other, has a tool_call_id")
        calls = (
            ToolCall(call.id, call.function.name, call.function.arguments)
            for call in self.tool_calls
        )
        return types.Message(role, text_of(self.content), tuple(calls), self.tool_call_id)


class ChatRequest(AnswerFields):
    """The body of a chat completion."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: int | None = None
    stream_options: StreamOptions = StreamOptions()
    tags: tuple[str, ...] = ()
    """Ours: words for the policy's rules, as the header x-modelrouter-tags has them."""

    tools: tuple[OfferedTool, ...] = ()
    tool_choice: str | dict[str, Any] = "auto"
    functions: list[Any] | None = None
    function_call: Any = None
    audio: Any = None
    modalities: list[str] | None = None
    web_search_options: Any = None
    response_format: Mapping[str, Any] = {}
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: Mapping[str, float] = {}

    def to_request(self, headers: Mapping[str, str]) -> types.Request:
        """Return the request in our words; RequestError for what this server cannot do."""
        self._refuse_unbuilt()
        shared = self.shared(headers)
        shared["sampling"]["logit_bias"] = biases_of(self.logit_bias)
        shared["tags"] |= frozenset(self.tags)
        return types.Request(
            messages=tuple(message.to_message() for message in self.messages),
            logprobs=self._logprobs(),
            toolbox=self._toolbox(),
            **shared,
        )

    def most_tokens(self) -> int | None:
        """Return the bound on the answer: OpenAI's newer key comes before its older."""
        newer = self.max_completion_tokens
        return super().most_tokens() if newer is None else newer

    def _logprobs(self) -> int | None:
        if self.logprobs:
            return self.top_logprobs or 0
        if self.top_logprobs:
            raise RequestError("top_logprobs needs logprobs: true")
        return None

    def forms(self) -> tuple[AnswerFormat | None, ...]:
        """Return the forms that are said: OpenAI's way beside llama.cpp's."""
        return (*super().forms(), _format_of(self.response_format))

    def _toolbox(self) -> Toolbox:
        tools = tuple(tool.to_tool() for tool in self.tools)
        match self.tool_choice:
            case "auto" | "none" | "required" as calling:
                return Toolbox(tools, calling)
            case {"type": "function", "function": {"name": str(name)}}:
                return Toolbox(tools, "required", name)
        raise RequestError(
            "tool_choice is none of auto, none, required and the name of one function: "
            f"{json.dumps(self.tool_choice)[:80]}"
        )

    def _refuse_unbuilt(self) -> None:
        """Raise RequestError for wishes that would make another answer and cannot be fulfilled."""
        if self.functions or self.function_call:
            raise RequestError(
                "functions and function_call are of an API that is gone", hint="send tools"
            )
        if self.audio or {*(self.modalities or ())} - {"text"}:
            raise not_text("audio")
        if self.web_search_options is not None:
            raise RequestError("this server cannot search the web")


def _format_of(response_format: Mapping[str, Any]) -> AnswerFormat | None:
    """Return the form that OpenAI's `response_format` names, or llama.cpp's with a schema of its
    own; RequestError for a type that there is none of.
    """
    match response_format:
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return AnswerFormat.of_schema(schema)
        case {"type": "json_object" | "json_schema", "schema": schema}:
            return AnswerFormat.of_schema(schema)
        case {"type": "json_object"}:
            return ANY_OBJECT
        case {"type": "json_schema"}:
            raise RequestError("response_format json_schema has no json_schema.schema")
    if (kind := response_format.get("type", "text")) == "text":
        return None
    raise RequestError(f"response_format {kind} is none of text, json_object, json_schema")
