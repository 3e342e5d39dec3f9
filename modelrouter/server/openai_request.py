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
from modelrouter.server.bodies import Body
from modelrouter.server.content import not_text, text_of
from modelrouter.server.headers import from_headers
from modelrouter.server.sampling import SamplingFields
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


class StreamOptions(BaseModel):
    """What a stream should also carry."""

    include_usage: bool = False


class ChatRequest(SamplingFields):
    """The body of a chat completion."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    model: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n_predict: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    cache: bool = True
    """Ours: false asks for a fresh answer."""
    timeout: float | None = None
    """Ours: seconds for the whole answer."""
    tags: tuple[str, ...] = ()
    """Ours: words for the policy's rules, as the header x-modelrouter-tags has them."""

    n: int | None = None
    tools: tuple[OfferedTool, ...] = ()
    tool_choice: str | dict[str, Any] = "auto"
    functions: list[Any] | None = None
    function_call: Any = None
    audio: Any = None
    modalities: list[str] | None = None
    web_search_options: Any = None
    response_format: dict[str, Any] | None = None
    grammar: str | None = None
    json_schema: Any = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None

    def to_request(self, headers: Mapping[str, str]) -> types.Request:
        """Return the request in our words; RequestError for what this server cannot do."""
        self._refuse_unbuilt()
        from_header = from_headers(headers)
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return types.Request(
            messages=tuple(message.to_message() for message in self.messages),
            model=self.model or None,
            max_tokens=self._most_tokens(),
            stop=tuple(stop),
            sampling={**self.overrides(), "logit_bias": biases_of(self.logit_bias or {})},
            use_cache=self.cache,
            seconds=from_header["seconds"] if self.timeout is None else self.timeout,
            tags=from_header["tags"] | frozenset(self.tags),
            headers=from_header["headers"],
            logprobs=self._logprobs(),
            answer_format=self._answer_format(),
            toolbox=self._toolbox(),
        )

    def _most_tokens(self) -> int | None:
        """Return the bound on the answer: OpenAI's newer key before its older, before llama.cpp's,
        where any number below 0 is none.
        """
        if self.max_completion_tokens is not None:
            return self.max_completion_tokens
        if self.max_tokens is not None:
            return self.max_tokens
        return None if (self.n_predict or 0) < 0 else self.n_predict

    def _logprobs(self) -> int | None:
        if self.logprobs:
            return self.top_logprobs or 0
        if self.top_logprobs:
            raise RequestError("top_logprobs needs logprobs: true")
        return None

    def _answer_format(self) -> AnswerFormat | None:
        """Return what the answer is to be held to, in whichever of the four ways it is said."""
        said = [
            None if self.grammar is None else AnswerFormat("gbnf", self.grammar),
            None if self.json_schema is None else AnswerFormat.of_schema(self.json_schema),
            _format_of(self.response_format or {}),
        ]
        wanted = [each for each in said if each is not None]
        if len(wanted) > 1:
            raise RequestError(
                "grammar, json_schema and response_format each hold the answer to a form: "
                "only one of them may"
            )
        return wanted[0] if wanted else None

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
