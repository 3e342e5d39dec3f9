"""What the bodies of OpenAI's and llama.cpp's routes have in common, chats and completions alike:
who is to answer, how much, and in which form.
"""

from collections.abc import Mapping
from typing import Any

from modelrouter.errors import RequestError
from modelrouter.formats import AnswerFormat
from modelrouter.server.bodies import Body, Stop
from modelrouter.server.headers import from_headers
from modelrouter.server.sampling import SamplingFields


class StreamOptions(Body):
    """What a stream should also carry."""

    include_usage: bool = False


class AnswerFields(SamplingFields):
    """The fields of a body that say what answer is wanted, OpenAI's names beside llama.cpp's."""

    model: str = ""
    max_tokens: int | None = None
    n_predict: int | None = None
    stop: Stop = ()
    stream: bool = False
    n: int = 1
    grammar: str = ""
    json_schema: Any = None
    cache: bool = True
    """Ours: false asks for a fresh answer."""
    timeout: float | None = None
    """Ours: seconds for the whole answer."""

    def shared(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return what of a `types.Request` these fields and the headers say."""
        from_header = from_headers(headers)
        return {
            **from_header,
            "model": self.model or None,
            "max_tokens": self.most_tokens(),
            "stop": self.stop,
            "sampling": self.overrides(),
            "answer_format": self._answer_format(),
            "use_cache": self.cache,
            "seconds": from_header["seconds"] if self.timeout is None else self.timeout,
        }

    def most_tokens(self) -> int | None:
        """Return the bound on the answer: OpenAI's key before llama.cpp's, where any number below 0
        is none.
        """
        if self.max_tokens is not None:
            return self.max_tokens
        return None if (self.n_predict or 0) < 0 else self.n_predict

    def _answer_format(self) -> AnswerFormat | None:
        """Return what the answer is to be held to, in whichever way it is said."""
        wanted = [form for form in self.forms() if form is not None]
        if len(wanted) > 1:
            raise RequestError(
                "grammar, json_schema and response_format each hold the answer to a form: "
                "only one of them may"
            )
        return wanted[0] if wanted else None

    def forms(self) -> tuple[AnswerFormat | None, ...]:
        """Return the forms that are said, None for each way that is not used."""
        return (
            AnswerFormat("gbnf", self.grammar) if self.grammar else None,
            None if self.json_schema is None else AnswerFormat.of_schema(self.json_schema),
        )
