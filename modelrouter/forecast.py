"""What the scheduler tells the policy of each model: plain frozen values, out of date at once.

Nothing here looks at a model or a clock.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Standing = Literal["unloaded", "loading", "ready", "free", "busy", "failed"]
"""What a rule may ask of a model; `free` and `busy` are both `ready`."""

TYPICAL_ANSWER_TOKENS: Final = 256
"""The length of an answer that nobody bounds, for forecasts."""


class ModelState(enum.StrEnum):
    """Where a model stands, as the scheduler sees it."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelForecast:
    """A snapshot of one model for the policy: advisory, out of date the moment it is made.

    Times are what this box has measured of the model so far; None where it has not yet.
    `load_seconds` and `queue_seconds` are what is left of the load and of the line at this moment.
    """

    state: ModelState
    fits: bool
    free_slots: int
    waiting: int
    load_seconds: float | None = None
    queue_seconds: float | None = None
    prefill_tokens_per_second: float | None = None
    decode_tokens_per_second: float | None = None

    def stands(self, standing: Standing) -> bool:
        """Tell whether a rule that asks for this standing holds."""
        is_ready = self.state is ModelState.READY
        if standing == "free":
            return is_ready and self.free_slots > 0
        if standing == "busy":
            return is_ready and self.free_slots == 0
        if standing == "unloaded":
            return self.state in {ModelState.UNLOADED, ModelState.UNLOADING}
        return self.state.value == standing

    def first_token_seconds(self, prompt_tokens: int) -> float | None:
        """Return the seconds until an answer to so long a prompt begins."""
        known = (self.load_seconds, self.queue_seconds, self.prefill_tokens_per_second)
        if not self.fits or None in known or not self.prefill_tokens_per_second:
            return None
        waiting_seconds = (self.load_seconds or 0) + (self.queue_seconds or 0)
        return waiting_seconds + prompt_tokens / self.prefill_tokens_per_second

    def answer_seconds(self, prompt_tokens: int, answer_tokens: int | None) -> float | None:
        """Return the seconds until an answer is whole; None for its tokens takes a usual length."""
        begun = self.first_token_seconds(prompt_tokens)
        if begun is None or not self.decode_tokens_per_second:
            return None
        tokens = TYPICAL_ANSWER_TOKENS if answer_tokens is None else answer_tokens
        return begun + tokens / self.decode_tokens_per_second


Forecast = Mapping[str, ModelForecast]
