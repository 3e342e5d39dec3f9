"""Whether a rule's conditions hold: each looks at one thing, and all must hold.

It knows neither the order of rules nor what they lead to.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from modelrouter.config import Rule
from modelrouter.forecast import ModelForecast
from modelrouter.types import UNSURE, Prediction, Request


@dataclass(frozen=True, slots=True)
class Situation:
    """What conditions look at. `forecasts` are by model and by role; a role's is that of its first
    usable model, and what cannot be used has none.
    """

    request: Request
    prediction: Prediction
    forecasts: Mapping[str, ModelForecast]
    least_confidence: float = 0.0

    @property
    def field(self) -> str:
        """The field, or "unsure" where the policy does not trust the prediction."""
        is_trusted = self.prediction.confidence >= self.least_confidence
        return self.prediction.field if is_trusted else UNSURE


def holds(rule: Rule, situation: Situation) -> bool:
    """True where all conditions of `rule` hold."""
    return all(condition(rule, situation) for condition in CONDITIONS)


def _task(rule: Rule, situation: Situation) -> bool:
    return rule.task in (None, situation.prediction.task)


def _field(rule: Rule, situation: Situation) -> bool:
    return rule.field in (None, situation.field) and (
        rule.confidence is None or situation.prediction.confidence >= rule.confidence
    )


def _prompt_tokens(rule: Rule, situation: Situation) -> bool:
    return _is_between(
        situation.request.prompt_tokens, rule.prompt_tokens_over, rule.prompt_tokens_under
    )


def _turns(rule: Rule, situation: Situation) -> bool:
    return _is_between(situation.request.turns, rule.turns_over, rule.turns_under)


def _tag(rule: Rule, situation: Situation) -> bool:
    return rule.tag is None or rule.tag in situation.request.tags


def _header(rule: Rule, situation: Situation) -> bool:
    """Patterns are those of a shell, and capitals do not matter."""
    headers = situation.request.headers
    return all(
        fnmatchcase(headers.get(name.lower(), "").lower(), pattern.lower())
        for name, pattern in rule.header.items()
    )


def _state(rule: Rule, situation: Situation) -> bool:
    return all(
        name in situation.forecasts and situation.forecasts[name].stands(standing)
        for name, standing in rule.state.items()
    )


def _first_token(rule: Rule, situation: Situation) -> bool:
    prompt_tokens = situation.request.prompt_tokens
    return all(
        name in situation.forecasts
        and _is_within(situation.forecasts[name].first_token_seconds(prompt_tokens), most)
        for name, most in rule.first_token_within.items()
    )


def _answer(rule: Rule, situation: Situation) -> bool:
    request = situation.request
    return all(
        name in situation.forecasts
        and _is_within(
            situation.forecasts[name].answer_seconds(request.prompt_tokens, request.max_tokens),
            most,
        )
        for name, most in rule.answer_within.items()
    )


CONDITIONS: Final[tuple[Callable[[Rule, Situation], bool], ...]] = (
    _task,
    _field,
    _prompt_tokens,
    _turns,
    _tag,
    _header,
    _state,
    _first_token,
    _answer,
)


def _is_between(value: int, over: int | None, under: int | None) -> bool:
    return (over is None or value > over) and (under is None or value < under)


def _is_within(seconds: float | None, most: float) -> bool:
    return seconds is not None and seconds <= most
