"""A conversation moves to another model only at the price that the rule allows."""

from modelrouter.config import PolicyFile
from modelrouter.forecast import ModelForecast, ModelState
from modelrouter.policy import Policy
from modelrouter.types import Candidate, Decision, Message, Prediction, Request

ROLES = {"code": ("coder",), "general": ("llama",)}
TALK = Request((Message("user", "a"), Message("assistant", "b"), Message("user", "c")))
GENERAL = Prediction("general", 0.9, {"general": 0.9})


def decide(
    answered_by: str | None,
    seconds: float | None,
    switch_within: str | None = "10s",
    usable: dict[str, str | None] | None = None,
) -> Decision:
    """Decide on a general question where the large model would begin after `seconds`."""
    otherwise: dict[str, object] = {"use": ["general"], "when_full": "wait"}
    if switch_within is not None:
        otherwise["switch_within"] = switch_within
    file = PolicyFile.model_validate(
        {
            "description": "For these tests.",
            "rules": [{"name": "code", "field": "code", "use": ["code"]}],
            "otherwise": otherwise,
        }
    )
    policy = Policy("mine", file, ROLES, usable or {"coder": None, "llama": None, "other": None})
    queue = None if seconds is None else 0.0
    llama = ModelForecast(ModelState.READY, True, 1, 0, queue, seconds, float("inf"))
    return policy.decide(TALK, GENERAL, {"llama": llama, "coder": llama}, answered_by)


def test_a_move_that_is_quick_enough_is_made() -> None:
    """Ten seconds are allowed and needed."""
    decision = decide("coder", 10.0)
    assert decision.candidates == (Candidate("llama", "general"),)
    assert decision.stays is None


def test_a_move_that_takes_too_long_is_not_made() -> None:
    """The model that led the talk comes first, the rule's own stay behind it, and it says why."""
    decision = decide("coder", 95.0)
    assert decision.candidates == (Candidate("coder", None), Candidate("llama", "general"))
    assert decision.stays == "llama would need 95 s to begin, and 10 s are allowed for a move"


def test_an_unknown_time_is_too_long() -> None:
    """Before anything is measured of the large model, a talk stays where it is."""
    decision = decide("coder", None)
    assert decision.candidates[0].model == "coder"
    assert decision.stays is not None
    assert "an unknown time" in decision.stays


def test_without_a_price_the_rule_alone_decides() -> None:
    """A policy that says nothing of `switch_within` moves a conversation at any price."""
    assert decide("coder", 95.0, switch_within=None).candidates[0].model == "llama"


def test_a_new_conversation_has_nothing_to_stay_with() -> None:
    """Nobody answered before, or the first candidate did."""
    assert decide(None, 95.0).candidates[0].model == "llama"
    assert decide("llama", 95.0).stays is None


def test_it_stays_only_with_models_of_the_policy() -> None:
    """One that no rule names, or that cannot be used any more, is not kept."""
    assert decide("other", 95.0).candidates[0].model == "llama"
    gone = {"coder": "no file", "llama": None, "other": None}
    assert decide("coder", 95.0, usable=gone).candidates[0].model == "llama"
