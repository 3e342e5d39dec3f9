"""Who may wait for a load but not for other requests: when that is so, and what is said of it.

Pure: events in, effects out.
"""

import copy

import pytest
from scheduler_by_hand import PATIENCE, ByHand, needs, the_refusal

from modelrouter.errors import SlotsBusy
from modelrouter.scheduler.effects import Grant, Load, Priority, Refuse, Unload


def test_who_may_not_wait_waits_for_a_load() -> None:
    """A load, and an unload before it, is no other request's work."""
    core = ByHand(a=needs(), b=needs())
    core.ready("a", 0)
    assert core.arrived(1, "b", may_wait=False) == [Unload("a")]
    assert core.unloaded("a") == [Load("b")]
    assert core.loaded("b") == [Grant(1, "b")]


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ([("a", True)], "a is busy: 1 of 1 slots taken"),
        ([("a", False)], "a is not loaded yet, and 1 requests wait for its 1 slots"),
        (
            [("b", True)],
            "a needs 10.00 GiB; other requests have or wait for too much of the 10.00 GiB",
        ),
    ],
)
def test_who_may_not_wait_is_told_why(before: list[tuple[str, bool]], message: str) -> None:
    """Busy slots, a line as long as the slots, or memory that others use: each has its words."""
    core = ByHand(a=needs(), b=needs())
    for ticket, (model, is_loaded) in enumerate(before):
        core.arrived(ticket, model)
        if is_loaded:
            core.loaded(model)
    error = the_refusal(core.arrived(9, "a", may_wait=False))
    assert isinstance(error, SlotsBusy)
    assert error.message == message


@pytest.mark.parametrize("why", ["dismissed", "drained"])
def test_a_model_that_is_to_go_takes_nobody_who_may_not_wait(why: str) -> None:
    """Free slots or not: they are granted to nobody."""
    core = ByHand(a=needs(slots=2), b=needs())
    core.at_work("a", 0)
    if why == "dismissed":
        core.dismissed("a")
    else:
        core.arrived(1, "b")
        core.ticked(PATIENCE)
    error = the_refusal(core.arrived(2, "a", may_wait=False))
    assert error.message == "a takes no more requests: it is to be unloaded"


def test_who_may_not_wait_does_not_count_on_room_that_others_wait_for() -> None:
    """Memory that is being freed for an older ticket's model is not free."""
    core = ByHand(a=needs(), b=needs())
    core.ready("a", 0)
    assert core.arrived(1, "b") == [Unload("a")]
    assert isinstance(the_refusal(core.arrived(2, "a", may_wait=False)), SlotsBusy)


def test_who_may_not_wait_does_not_count_on_a_model_that_is_to_come_back() -> None:
    """An older ticket for a model that is just being unloaded wants the room again."""
    core = ByHand(20, a=needs(), b=needs(), c=needs())
    core.ready("a", 0)
    core.at_work("b", 1)
    assert core.arrived(2, "c") == [Unload("a")]
    core.left(2)
    assert core.arrived(3, "a") == []
    assert isinstance(the_refusal(core.arrived(4, "c", may_wait=False)), SlotsBusy)


def test_who_may_not_wait_is_not_sent_away_for_someone_younger() -> None:
    """Room that is being freed for him stays his when more people come."""
    core = ByHand(20, a=needs(), b=needs(), c=needs(), d=needs())
    core.ready("a", 0)
    core.ready("b", 1)
    assert core.arrived(2, "c", may_wait=False) == [Unload("a")]
    assert core.arrived(3, "d") == []
    assert core.unloaded("a") == [Load("c"), Unload("b")]


def test_who_may_not_wait_is_sent_away_for_someone_more_urgent() -> None:
    """He would wait for that one's answer."""
    core = ByHand(a=needs())
    assert core.arrived(0, "a", may_wait=False) == [Load("a")]
    refused = core.arrived(1, "a", priority=Priority.INTERACTIVE)
    error = the_refusal(refused)
    assert error.message == "a is not loaded yet, and 1 requests wait for its 1 slots"
    assert core.loaded("a") == [Grant(1, "a")]


def test_who_may_not_wait_counts_on_models_that_nobody_uses() -> None:
    """They can leave for him, but for the one that is used again before he comes to it."""
    core = ByHand(20, a=needs(), c=needs())
    core.ready("a", 0)
    core.ready("c", 1)
    assert core.budget(10) == [Unload("a")]
    assert core.arrived(2, "a", may_wait=False) == []
    again = copy.deepcopy(core)
    assert core.unloaded("a") == [Unload("c")]
    assert core.unloaded("c") == [Load("a")]
    granted, refused = again.arrived(3, "c")
    assert granted == Grant(3, "c")
    assert isinstance(the_refusal([refused]), SlotsBusy)


def test_a_refusal_that_makes_room_is_followed_up() -> None:
    """When a budget cut turns a hurried ticket away, who waited behind it is served at once."""
    core = ByHand(22, a=needs(3), b=needs(), c=needs(), tiny=needs(2))
    core.ready("a", 0)
    core.at_work("b", 1)
    assert core.arrived(2, "c", may_wait=False) == [Unload("a")]
    assert core.arrived(3, "tiny") == []
    refused, *rest = core.budget(19)
    assert isinstance(refused, Refuse)
    assert refused.ticket == 2
    assert rest == [Load("tiny")]


def test_who_may_not_wait_waits_until_a_failed_load_is_tried_again() -> None:
    """That too is no other request's work."""
    core = ByHand(a=needs())
    core.ready("a", 0)
    core.died("a")
    core.arrived(1, "a")
    core.died("a")
    core.left(1)
    assert core.arrived(2, "a", may_wait=False) == []
