"""The body of an OpenAI chat, and what it means in our words.

Every key that clients send is taken: those that change nothing here are passed over, as are unknown
ones; wishes that would change the answer and cannot be fulfilled are refused.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from modelrouter import types
from modelrouter.errors import RequestError
from modelrouter.formats import ANY_OBJECT, AnswerFormat
from modelrouter.server.headers import public_headers, tags_in
from modelrouter.server.sampling import SamplingFields
from modelrouter.tokens import biases_of


class TextPart(BaseModel):
    """A piece of a message's content."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One turn. `developer` is the newer word for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    tool_calls: list[Any] | None = Field(default=None, max_length=0)

    def to_message(self) -> types.Message:
        """Return the turn in our words."""
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return types.Message("system" if self.role == "developer" else self.role, text)


class StreamOptions(BaseModel):
    """What a stream should also carry."""

    include_usage: bool = False


class ChatRequest(SamplingFields):
    """The body of a chat completion."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    model: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
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
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    grammar: str | None = None
    json_schema: Any = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None

    def to_request(self, headers: Mapping[str, str]) -> types.Request:
        """Return the request in our words; RequestError for what this server cannot do."""
        self._refuse_unbuilt()
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        newer, older = self.max_completion_tokens, self.max_tokens
        return types.Request(
            messages=tuple(message.to_message() for message in self.messages),
            model=self.model or None,
            max_tokens=older if newer is None else newer,
            stop=tuple(stop),
            sampling={**self.overrides(), "logit_bias": biases_of(self.logit_bias or {})},
            use_cache=self.cache,
            seconds=self.timeout,
            tags=frozenset(self.tags) | tags_in(headers),
            headers=public_headers(headers),
            logprobs=self._logprobs(),
            answer_format=self._answer_format(),
        )

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

    def _refuse_unbuilt(self) -> None:
        wishes = {"tools": self.tools, "functions": self.functions}
        if refused := [wish for wish, value in wishes.items() if value]:
            raise RequestError(f"this server cannot do {', '.join(refused)}")


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
