"""What the bodies of all completion routes have in common, and the request that they make.

A prompt that wears some family's fill-in-the-middle markers is taken apart: the model that is
chosen may be of another family.
"""

from collections.abc import Mapping
from typing import Any

from modelrouter import types
from modelrouter.engine.fim_prompts import hole_in
from modelrouter.errors import RequestError
from modelrouter.server.headers import answers_given, from_headers
from modelrouter.server.sampling import SamplingFields


class Completing(SamplingFields):
    """How the answer is drawn, and where it ends; llama.cpp's names beside OpenAI's."""

    model: str = ""
    max_tokens: int | None = None
    n_predict: int | None = None
    stop: str | tuple[str, ...] = ()
    stream: bool = False
    n: int = 1
    n_cmpl: int = 1
    best_of: int = 1
    t_max_prompt_ms: float = 0
    t_max_predict_ms: float = 0
    n_indent: int = 0
    grammar: str = ""
    json_schema: Any = None
    cache: bool = True
    """Ours: false asks for a fresh answer."""
    timeout: float | None = None
    """Ours: seconds for the whole answer."""

    def request(self, prompt: str, suffix: str, headers: Mapping[str, str]) -> types.Request:
        """Return the completion of a prompt, or of what stands around a hole."""
        hole = types.Hole(prompt, suffix) if suffix else hole_in(prompt)
        if hole is not None:
            return self.filling(hole, headers)
        return types.Request(
            messages=(types.Message("user", prompt),), task="completion", **self._shared(headers)
        )

    def filling(self, hole: types.Hole, headers: Mapping[str, str]) -> types.Request:
        """Return the request for what belongs in the hole."""
        return types.Request(hole=hole, task="completion", **self._shared(headers))

    def said(self) -> dict[str, str]:
        """Return a header where the caller gets less than was asked for."""
        return answers_given(max(self.n, self.n_cmpl, self.best_of))

    def _shared(self, headers: Mapping[str, str]) -> dict[str, Any]:
        if self.grammar or self.json_schema is not None:
            raise RequestError("this server cannot do a grammar or a schema on this route")
        from_header = from_headers(headers)
        return {
            **from_header,
            "model": self.model or None,
            "max_tokens": self._tokens(),
            "stop": (self.stop,) if isinstance(self.stop, str) else self.stop,
            "sampling": self._drawing(),
            "indent": self.n_indent or None,
            "prompt_seconds": self._seconds(self.t_max_prompt_ms),
            "answer_seconds": self._seconds(self.t_max_predict_ms),
            "use_cache": self.cache,
            "seconds": from_header["seconds"] if self.timeout is None else self.timeout,
        }

    def _tokens(self) -> int | None:
        """Return the most tokens of the answer; llama.cpp's -1 and -2 ask for all there is room."""
        tokens = self.max_tokens if self.n_predict is None else self.n_predict
        return None if self.n_predict is not None and self.n_predict < 0 else tokens

    def _seconds(self, milliseconds: float) -> float | None:
        """Return a time limit; a warm-up has none, since llama.vim sends one of 1 ms with it."""
        return milliseconds / 1000 if milliseconds > 0 and self._tokens() != 0 else None

    def _drawing(self) -> types.SamplingOverrides:
        """Return how to draw; a seed below 0 asks for a fresh one, as none does."""
        drawing = self.overrides()
        if (self.seed or 0) < 0:
            del drawing["seed"]
        return drawing


def one_text(prompt: object) -> str:
    """Return the prompt of a body that may have it in a list; RequestError for what is no text."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        return prompt[0]
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(isinstance(each, str) for each in prompt):
        raise RequestError(
            f"there are {len(prompt):,} prompts", hint="send each in a request of its own"
        )
    raise RequestError(
        "prompt must be text", hint="tokens mean something else to each model: send their text"
    )
