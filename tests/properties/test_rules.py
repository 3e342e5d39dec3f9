"""Rules against each other: `check` calls one unreachable exactly where it is."""

from itertools import product
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.config import Rule
from modelrouter.forecast import ModelForecast, ModelState
from modelrouter.policy import Situation, holds
from modelrouter.types import Message, Prediction, Request, Task

TASKS = (None, "chat", "completion")
FIELDS = ((None, None), ("code", None), ("code", 0.5), ("code", 1.0), ("general", 0.5))
LENGTHS = ((None, None), (1, None), (3, None), (None, 3), (None, 5), (1, 3), (1, 5), (3, 5))
KEYS = ("task", "field", "confidence", "prompt_tokens_over", "prompt_tokens_under")


def rule_of(values: dict[str, Any]) -> Rule:
    """Return a rule with these conditions."""
    return Rule.model_validate({k: v for k, v in values.items() if v is not None} | REST)


REST: dict[str, Any] = {"name": "any", "use": ["x"]}


def every_rule() -> list[Rule]:
    """Return a rule for each combination of a few values of the conditions on a request."""
    return [
        rule_of(dict(zip(KEYS, values, strict=True)))
        for task, field, length in product(TASKS, FIELDS, LENGTHS)
        if any(values := (task, *field, *length))
    ]


def every_case() -> list[Situation]:
    """Return situations on both sides of every value in `every_rule`."""
    prompts = ["x" * 4 * (tokens - 1) + "x" for tokens in range(1, 7)]
    return [
        Situation(
            Request((Message("user", prompt),), task=task),
            Prediction(field, confidence, {field: confidence}, task=task),
            {},
        )
        for prompt, task, field, confidence in product(
            prompts, get_args(Task), ("code", "general"), (0.25, 0.5, 1.0)
        )
    ]


def test_a_rule_includes_another_exactly_if_it_holds_whenever_the_other_does() -> None:
    """`check` calls a rule unreachable where an earlier one takes all its requests, only there."""
    cases = every_case()
    rules = [
        (rule, {n for n, case in enumerate(cases) if holds(rule, case)}) for rule in every_rule()
    ]
    wrong = [
        (first, second)
        for (first, taken_by_first), (second, taken_by_second) in product(rules, rules)
        if first.includes(second) != (taken_by_second <= taken_by_first)
    ]
    assert wrong == []


conditions = st.fixed_dictionaries(
    {},
    optional={
        "turns_over": st.sampled_from([0, 1]),
        "turns_under": st.sampled_from([3, 4]),
        "tag": st.sampled_from(["a", "b"]),
        "header": st.sampled_from([{"user-agent": "*zed*"}, {"x-a": "1"}]),
        "state": st.sampled_from([{"m": "ready"}, {"m": "free"}, {"m": "busy"}, {"n": "loading"}]),
        "first_token_within": st.sampled_from([{"m": "1s"}, {"m": "5s"}]),
        "answer_within": st.sampled_from([{"m": "10s"}, {"n": "1m"}]),
    },
).filter(bool)

forecasts = st.builds(
    ModelForecast,
    state=st.sampled_from(ModelState),
    fits=st.just(True),
    free_slots=st.integers(0, 1),
    waiting=st.just(0),
    load_seconds=st.sampled_from([None, 0.0, 3.0]),
    queue_seconds=st.just(0.0),
    prefill_tokens_per_second=st.sampled_from([None, 1000.0]),
    decode_tokens_per_second=st.sampled_from([None, 10.0, 100.0]),
)

situations = st.builds(
    Situation,
    request=st.builds(
        Request,
        st.lists(st.just(Message("user", "hi")), min_size=1, max_size=4).map(tuple),
        tags=st.frozensets(st.sampled_from(["a", "b"])),
        headers=st.dictionaries(
            st.sampled_from(["user-agent", "x-a"]), st.sampled_from(["Zed/1", "1"])
        ),
    ),
    prediction=st.just(Prediction("code", 0.9, {"code": 0.9})),
    forecasts=st.dictionaries(st.sampled_from(["m", "n"]), forecasts),
)


@settings(max_examples=400)
@given(conditions, conditions, situations)
def test_what_a_rule_includes_it_holds_for(
    left: dict[str, Any], right: dict[str, Any], situation: Situation
) -> None:
    """Whatever the conditions: where the included rule holds, so does the including one."""
    first, second = rule_of(left), rule_of(left | right)
    assert first.includes(first)
    if first.includes(second) and holds(second, situation):
        assert holds(first, situation)
