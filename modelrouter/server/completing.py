"""What the bodies of all completion routes have in common, and the request that they make.

A prompt that wears some family's fill-in-the-middle markers is taken apart: the model that is
chosen may be of another family.
"""

from collections.abc import Mapping
from typing import Any

from modelrouter import types
from modelrouter.engine.fim_prompts import hole_in
from modelrouter.errors import RequestError
from modelrouter.server.answer_fields import AnswerFields
from modelrouter.server.headers import answers_given


class Completing(AnswerFields):
    """What a completion has beside a chat's fields."""

    n_cmpl: int = 1
    best_of: int = 1
    t_max_prompt_ms: float = 0
    t_max_predict_ms: float = 0
    n_indent: int = 0

    def request(self, prompt: str, suffix: str, headers: Mapping[str, str]) -> types.Request:
        """Return the completion of a prompt, or of what stands around a hole."""
        hole = types.Hole(prompt, suffix) if suffix else hole_in(prompt)
        if hole is not None:
            return self.filling(hole, headers)
        return types.Request(
            messages=(types.Message("user", prompt),), task="completion", **self.shared(headers)
        )

    def filling(self, hole: types.Hole, headers: Mapping[str, str]) -> types.Request:
        """Return the request for what belongs in the hole."""
        return types.Request(hole=hole, task="completion", **self.shared(headers))

    def said(self) -> dict[str, str]:
        """Return a header where the caller gets less than was asked for."""
        return answers_given(max(self.n, self.n_cmpl, self.best_of))

    def shared(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return what of a `types.Request` the fields and the headers say."""
        return {
            **super().shared(headers),
            "indent": self.n_indent or None,
            "prompt_seconds": self._seconds(self.t_max_prompt_ms),
            "answer_seconds": self._seconds(self.t_max_predict_ms),
        }

    def _seconds(self, milliseconds: float) -> float | None:
        """Return a time limit; a warm-up has none, since llama.vim sends one of 1 ms with it."""
        return milliseconds / 1000 if milliseconds > 0 and self.most_tokens() != 0 else None


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
