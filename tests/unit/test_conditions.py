"""Each condition of a rule, on both sides of what it asks."""

import pytest

from modelrouter.config import Rule
from modelrouter.forecast import ModelForecast, ModelState, Standing
from modelrouter.policy import Situation, holds
from modelrouter.types import Message, Prediction, Request, Task

HI = (Message("user", "hi"),)
CODE = Prediction("code", 0.7, {"code": 0.7, "general": 0.3})


def forecast(
    state: ModelState = ModelState.READY, free_slots: int = 1, **seconds: float
) -> ModelForecast:
    """Return a forecast of a model that reads a prompt at once and writes 10 tokens a second."""
    queue_seconds = seconds.get("queue", 0.0)
    return ModelForecast(state, True, free_slots, 0, 0.0, queue_seconds, float("inf"), 10.0)


def does_hold(
    rule: dict[str, object],
    request: Request | None = None,
    prediction: Prediction = CODE,
    large: ModelForecast | None = None,
    least_confidence: float = 0.0,
) -> bool:
    """Tell whether a rule with these conditions holds."""
    forecasts = {} if large is None else {"large": large}
    situation = Situation(request or Request(HI), prediction, forecasts, least_confidence)
    return holds(Rule.model_validate({"name": "r", "use": ["x"], **rule}), situation)


@pytest.mark.parametrize("task", ["chat", "completion", "background"])
def test_the_task_is_what_the_classifier_says(task: Task) -> None:
    """A chat that is a program's side job is `background`, whatever the request called it."""
    said = Prediction("code", 1.0, {"code": 1.0}, task=task)
    assert does_hold({"task": task}, prediction=said)
    assert not does_hold({"task": "chat" if task != "chat" else "completion"}, prediction=said)


def test_below_the_policys_confidence_the_field_is_unsure() -> None:
    """At 0.7 a prediction is trusted; above it no field holds but "unsure"."""
    assert does_hold({"field": "code"}, least_confidence=0.7)
    assert not does_hold({"field": "unsure"}, least_confidence=0.7)
    assert not does_hold({"field": "code"}, least_confidence=0.71)
    assert does_hold({"field": "unsure"}, least_confidence=0.71)


def test_turns_count_what_the_user_said() -> None:
    """The first question is turn 1; answers are no turns."""
    second = Request((*HI, Message("assistant", "hello"), *HI))
    assert does_hold({"turns_under": 2})
    assert not does_hold({"turns_over": 1})
    assert does_hold({"turns_over": 1}, second)
    assert not does_hold({"turns_under": 2}, second)


def test_a_tag_is_one_of_the_requests() -> None:
    """A request may carry several; the rule asks for one."""
    tagged = Request(HI, tags=frozenset({"night", "batch"}))
    assert does_hold({"tag": "night"}, tagged)
    assert not does_hold({"tag": "day"}, tagged)
    assert not does_hold({"tag": "night"})


def test_headers_fit_patterns() -> None:
    """Shell patterns; neither names nor values care for capitals; one that is absent is empty."""
    zed = Request(HI, headers={"user-agent": "Zed/0.200 (linux)"})
    assert does_hold({"header": {"User-Agent": "zed/*"}}, zed)
    assert not does_hold({"header": {"User-Agent": "vscode*"}}, zed)
    assert not does_hold({"header": {"User-Agent": "zed/*", "x-team": "?*"}}, zed)
    assert not does_hold({"header": {"User-Agent": "zed/*"}})


@pytest.mark.parametrize(
    ("large", "standings"),
    [
        (forecast(), {"ready", "free"}),
        (forecast(free_slots=0), {"ready", "busy"}),
        (forecast(ModelState.LOADING, 0), {"loading"}),
        (forecast(ModelState.UNLOADED, 0), {"unloaded"}),
        (forecast(ModelState.UNLOADING, 0), {"unloaded"}),
        (forecast(ModelState.FAILED, 0), {"failed"}),
        (None, set()),
    ],
)
def test_the_state_of_a_model(large: ModelForecast | None, standings: set[Standing]) -> None:
    """A model stands in one or two ways; one that cannot be used stands in none."""
    every: list[Standing] = ["unloaded", "loading", "ready", "free", "busy", "failed"]
    assert {s for s in every if does_hold({"state": {"large": s}}, large=large)} == standings


def test_predicted_seconds() -> None:
    """`first_token_within` counts load, line and prefill; `answer_within` the writing too."""
    request = Request(HI, max_tokens=50)
    large = forecast(queue=4.0)
    assert does_hold({"first_token_within": {"large": "4s"}}, request, large=large)
    assert not does_hold({"first_token_within": {"large": "3900ms"}}, request, large=large)
    assert does_hold({"answer_within": {"large": "9s"}}, request, large=large)
    assert not does_hold({"answer_within": {"large": "8s"}}, request, large=large)


def test_what_nobody_can_predict_is_never_within() -> None:
    """Before anything was measured, and where the model does not fit, no such rule holds."""
    unknown = ModelForecast(ModelState.UNLOADED, True, 0, 0)
    hopeless = ModelForecast(ModelState.UNLOADED, False, 0, 0, 0.0, 0.0, 100.0, 10.0)
    for large in (unknown, hopeless, None):
        assert not does_hold({"first_token_within": {"large": "100h"}}, large=large)
        assert not does_hold({"answer_within": {"large": "100h"}}, large=large)
