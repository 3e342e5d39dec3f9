"""How fast each model is on this box: what answers and loads have taken, the latest counting most.

It measures nothing itself and forecasts nothing; it keeps a few numbers, also over restarts.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from modelrouter import kept_json
from modelrouter.generation import Done

log = logging.getLogger(__name__)

KEPT: Final = 0.8
"""What of all that was seen before counts beside a new answer."""

FEWEST_TOKENS: Final = 4
"""Fewer tokens say more of overheads than of speed."""

MOST_MODELS: Final = 200


@dataclass(slots=True)
class Rate:
    """One model's sums, each answer's share shrinking with every later one."""

    prefill_tokens: float = 0.0
    prefill_seconds: float = 0.0
    decode_tokens: float = 0.0
    decode_seconds: float = 0.0
    answers: float = 0.0
    answer_seconds: float = 0.0
    load_seconds: float | None = None

    @property
    def prefill_tokens_per_second(self) -> float | None:
        """None before the first prompt worth the name."""
        return self.prefill_tokens / self.prefill_seconds if self.prefill_seconds else None

    @property
    def decode_tokens_per_second(self) -> float | None:
        """None before the first answer worth the name."""
        return self.decode_tokens / self.decode_seconds if self.decode_seconds else None

    @property
    def seconds_an_answer(self) -> float | None:
        """How long an answer holds its slot, on average; None before the first."""
        return self.answer_seconds / self.answers if self.answers else None

    def answered(self, done: Done) -> None:
        """Take an answer's token counts and times in."""
        fresh_tokens = done.usage.prompt_tokens - done.usage.cached_tokens
        prefill, decode = done.timings.prefill_seconds, done.timings.decode_seconds
        if fresh_tokens >= FEWEST_TOKENS:
            self.prefill_tokens = self.prefill_tokens * KEPT + fresh_tokens
            self.prefill_seconds = self.prefill_seconds * KEPT + prefill
        if done.usage.completion_tokens >= FEWEST_TOKENS:
            self.decode_tokens = self.decode_tokens * KEPT + done.usage.completion_tokens
            self.decode_seconds = self.decode_seconds * KEPT + decode
        self.answers = self.answers * KEPT + 1
        self.answer_seconds = self.answer_seconds * KEPT + prefill + decode


class Rates:
    """The rates of all models, by what identifies their arithmetic (`ModelSpec.identity`)."""

    def __init__(self, path: Path | None = None) -> None:
        """Begin with what was kept in `path`; None keeps nothing."""
        self._path = path
        self._rates: dict[str, Rate] = {} if path is None else _read(path)

    def of(self, identity: str) -> Rate:
        """Return a model's rate, which takes new figures in; it is then the one used last."""
        rate = self._rates[identity] = self._rates.pop(identity, Rate())
        return rate

    def save(self) -> None:
        """Write the rates down, those used last; a folder that cannot be written is a warning."""
        if self._path is None:
            return
        kept = dict(list(self._rates.items())[-MOST_MODELS:])
        try:
            kept_json.write(self._path, {name: asdict(rate) for name, rate in kept.items()})
        except OSError as error:
            log.warning("the speeds measured are not kept: %s", error)


def _read(path: Path) -> dict[str, Rate]:
    """Return the rates in a file; one that is damaged counts for nothing, and a warning says so."""
    try:
        return {str(name): _rate(sums) for name, sums in kept_json.read(path).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("%s: measured speeds cannot be read and are measured anew: %s", path, error)
        return {}


def _rate(sums: Mapping[str, float | None]) -> Rate:
    if sums.keys() != {each.name for each in fields(Rate)}:
        raise ValueError("the file is of another version")
    if not all(value is None or value >= 0 for value in sums.values()):
        raise ValueError("a sum is below zero")
    return Rate(**sums)  # type: ignore[arg-type]
