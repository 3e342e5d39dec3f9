"""What a policy decides: the first rule that holds, roles opened up, missing models passed over."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from modelrouter import config
from modelrouter.config import ConfigSource, PolicyFile, Rule
from modelrouter.errors import NoModel, UnknownModel
from modelrouter.forecast import ModelForecast
from modelrouter.policy import Policy, Situation, holds
from modelrouter.types import Candidate, Decision, Message, Prediction, Request, Skipped, Task

ROLES = {"code": ("coder", "llama"), "general": ("llama", "coder")}
ALL_USABLE = {"coder": None, "llama": None}
SHIPPED = Path(config.__file__).parent.parent.parent

FILE = PolicyFile.model_validate(
    {
        "description": "For these tests.",
        "rules": [
            {"name": "completion", "task": "completion", "use": ["coder"], "when_full": "next"},
            {"name": "sure code", "field": "code", "confidence": 0.6, "use": ["code"]},
            {"name": "long", "prompt_tokens_over": 25, "use": ["llama", "code", "general"]},
        ],
        "otherwise": {"use": ["general"], "when_full": "next"},
    }
)


def asking(text: str = "hello", *, model: str | None = None, task: Task = "chat") -> Request:
    """Return a request of one message."""
    return Request((Message("user", text),), task=task, model=model)


def seen_as(field: str, confidence: float = 0.9, task: Task = "chat") -> Prediction:
    """Return a prediction of one field."""
    return Prediction(field, confidence, {field: confidence}, task=task)


def decide(
    request: Request,
    prediction: Prediction | None = None,
    usable: dict[str, str | None] | None = None,
) -> Decision:
    """Decide by the rules above; the field is "general" and all models usable unless said."""
    policy = Policy("mine", FILE, ROLES, ALL_USABLE if usable is None else usable)
    return policy.decide(request, prediction or seen_as("general"), {})


def does_hold(
    rule: Rule,
    request: Request,
    prediction: Prediction | None = None,
    forecasts: Mapping[str, ModelForecast] | None = None,
) -> bool:
    """Tell whether the rule holds; the field is "code" unless said."""
    return holds(rule, Situation(request, prediction or seen_as("code"), forecasts or {}))


def test_the_first_rule_that_holds_decides() -> None:
    """Rules are asked in the order of the file, and the decision names the one that held."""
    request = asking("x" * 101, task="completion")
    decision = decide(request, seen_as("code", task="completion"))
    assert decision == Decision("mine", "completion", (Candidate("coder", None),), "next")


def test_a_role_becomes_its_models() -> None:
    """A role's models come in its order, each with the role that named it."""
    decision = decide(asking(), seen_as("code"))
    candidates = (Candidate("coder", "code"), Candidate("llama", "code"))
    assert decision == Decision("mine", "sure code", candidates, "wait")


def test_a_model_named_twice_is_a_candidate_once() -> None:
    """The first mention counts: by its own name or through the first role that has it."""
    decision = decide(asking("x" * 101))
    assert decision.candidates == (Candidate("llama", None), Candidate("coder", "code"))


def test_without_a_rule_the_rest_applies() -> None:
    """Where no rule holds, [otherwise] decides, and says so."""
    decision = decide(asking())
    candidates = (Candidate("llama", "general"), Candidate("coder", "general"))
    assert decision == Decision("mine", "otherwise", candidates, "next")


def test_confidence_is_reached_at_its_own_value() -> None:
    """`confidence = 0.6` means at least 0.6."""
    assert decide(asking(), seen_as("code", 0.6)).rule == "sure code"
    assert decide(asking(), seen_as("code", 0.5999)).rule == "otherwise"


def test_the_prompt_is_all_messages() -> None:
    """Lengths count every message, four bytes a token: `over` excludes its own value."""
    half = Message("user", "x" * 48)
    assert Request((half, half)).prompt_tokens == 25
    assert decide(Request((half, half))).rule == "otherwise"
    assert decide(Request((half, half, Message("user", "xxxx")))).rule == "long"


def test_under_excludes_its_own_value() -> None:
    """`prompt_tokens_under = 3` holds for two tokens and not for three."""
    rule = Rule(name="short", prompt_tokens_under=3, use=("coder",))
    assert does_hold(rule, asking("x" * 7))
    assert not does_hold(rule, asking("x" * 8))


def test_a_model_in_the_request_beats_the_rules() -> None:
    """Whoever names a model gets that model and no other."""
    decision = decide(asking(model="llama"), seen_as("code"))
    assert decision == Decision("mine", "model", (Candidate("llama", None),), "wait")


def test_a_role_in_the_request_beats_the_rules() -> None:
    """Whoever names a role gets its models in the role's order."""
    decision = decide(asking(model="code"))
    candidates = (Candidate("coder", "code"), Candidate("llama", "code"))
    assert decision == Decision("mine", "role", candidates, "wait")


def test_auto_asks_the_rules() -> None:
    """Clients that must name a model can leave the choice to the policy."""
    assert decide(asking(model="auto")) == decide(asking())


@pytest.mark.parametrize(
    ("name", "hint"), [("lama", 'did you mean "llama"?'), ("gpt-4", None), ("", None)]
)
def test_an_unknown_name_is_refused(name: str, hint: str | None) -> None:
    """A name that is neither model nor role never gets some other model's answer."""
    with pytest.raises(UnknownModel) as refused:
        decide(asking(model=name))
    assert refused.value.message == (
        f'no model or role "{name}"; there are coder, llama, code, general, auto'
    )
    assert refused.value.hint == hint


def test_a_model_that_cannot_be_used_is_skipped_with_the_reason() -> None:
    """The next model of the role steps in, and the decision says what is missing."""
    decision = decide(asking(), seen_as("code"), {"coder": "no such file", "llama": None})
    assert decision.candidates == (Candidate("llama", "code"),)
    assert decision.skipped == (Skipped("coder", "no such file"),)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("coder", 'the model "coder" cannot be used: no file'),
        ("code", 'no model of the role "code" can be used: coder: no file; llama: cut'),
        (
            None,
            'no model of policy "mine", rule "otherwise", can be used: llama: cut; coder: no file',
        ),
    ],
)
def test_where_no_model_can_be_used_all_reasons_are_told(model: str | None, message: str) -> None:
    """Nothing is left to try: the error names the models and what is wrong with each."""
    with pytest.raises(NoModel) as refused:
        decide(asking(model=model), usable={"coder": "no file", "llama": "cut"})
    assert refused.value.message == message


@pytest.mark.parametrize(
    ("policy", "code", "completion", "general"),
    [
        ("balanced", ["coder", "llama"], ["coder", "llama"], ["llama"]),
        ("editor", ["coder", "llama"], ["coder"], ["coder", "llama"]),
        ("quality", ["llama", "coder"], ["coder"], ["llama"]),
        ("small-only", ["coder"], ["coder"], ["coder"]),
    ],
)
def test_the_shipped_policies_with_a_small_and_a_large_model(
    policy: str, code: list[str], completion: list[str], general: list[str]
) -> None:
    """Each shipped policy sends code, completions and the rest where its description says."""
    file = config.load(ConfigSource(SHIPPED / "models.toml", "shipped"), policy).policy_file
    roles = {"code": ("coder",), "general": ("llama",)}
    parts = Policy(policy, file, roles, ALL_USABLE)
    decisions = [
        parts.decide(asking(), seen_as("code"), {}),
        parts.decide(asking(task="completion"), seen_as("code", 1.0, "completion"), {}),
        parts.decide(asking(), seen_as("general"), {}),
    ]
    models = [[candidate.model for candidate in each.candidates] for each in decisions]
    assert models == [code, completion, general]
