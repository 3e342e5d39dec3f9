"""What of mapped models is pinned: all that nobody has or wants, and less as soon as somebody does.

Pure: events in, effects out, a clock that moves only with them.
"""

import pytest
from scheduler_by_hand import ByHand, needs, pin

from modelrouter.scheduler.effects import Grant, Load, Unload
from modelrouter.scheduler.room import HALF_LIFE_SECONDS

LARGE = needs(5, pinnable=100)


def large_and_small() -> ByHand:
    """Return a core whose large model is loaded and has pinned all that is left: 15 of 20 GiB."""
    core = ByHand(20, large=LARGE, small=needs(8))
    core.arrived(0, "large")
    assert core.loaded("large") == [Grant(0, "large"), pin("large", 15)]
    core.pinned("large", 15)
    return core


def test_a_loaded_model_pins_what_is_left() -> None:
    """All of it counts from the decision on, before the worker has pinned a byte."""
    core = ByHand(20, a=LARGE, b=needs(5))
    core.arrived(0, "b")
    assert core.arrived(1, "a") == [Load("a")]
    core.loaded("b")
    assert core.loaded("a") == [Grant(1, "a"), pin("a", 10)]
    assert core.used() == 20


def test_no_model_pins_more_than_its_weights() -> None:
    """The rest stays free."""
    core = ByHand(20, a=needs(5, pinnable=4))
    core.arrived(0, "a")
    assert core.loaded("a")[1:] == [pin("a", 4)]
    assert core.used() == 9


def test_a_pin_gives_way_to_a_load() -> None:
    """It shrinks by as much as is missing, and the load begins once that is given back."""
    core = large_and_small()
    assert core.arrived(1, "small") == [pin("large", 7)]
    assert core.used() == 20
    assert core.pinned("large", 7) == [Load("small")]
    assert core.used() == 20


def test_a_pin_gives_way_before_a_model_is_evicted() -> None:
    """Idle models stay where shrinking the pin is enough."""
    core = ByHand(20, large=LARGE, idle=needs(5), small=needs(8))
    core.ready("idle", 0)
    core.at_work("large", 1)
    core.pinned("large", 10)
    assert core.arrived(2, "small") == [pin("large", 2)]


def test_a_pin_does_not_shrink_for_a_load_that_others_keep_waiting() -> None:
    """What it would free is of no use yet: a model at work has to leave first."""
    core = ByHand(20, large=LARGE, busy=needs(9), small=needs(8))
    core.at_work("busy", 0)
    core.at_work("large", 1)
    core.pinned("large", 6)
    assert core.arrived(2, "small") == []
    assert core.left(0) == [Unload("busy")]
    assert core.unloaded("busy") == [Load("small"), pin("large", 7)]


def test_what_is_being_unloaded_is_not_pinned_yet_and_shrinks_no_pin() -> None:
    """The pin waits for the memory; it never gives up what it will have again at once."""
    core = ByHand(20, large=LARGE, a=needs(10), b=needs(10))
    core.ready("a", 0)
    core.at_work("large", 1)
    core.pinned("large", 5)
    assert core.arrived(2, "b") == [Unload("a")]
    assert core.unloaded("a") == [Load("b")]
    core.loaded("b")
    core.left(2)
    assert core.dismissed("b") == [Unload("b")]
    assert core.unloaded("b") == [pin("large", 15)]


def test_several_loads_at_once_claim_their_room_together() -> None:
    """One shrinking makes room for both."""
    core = ByHand(20, large=LARGE, a=needs(4), b=needs(3))
    core.at_work("large", 0)
    core.pinned("large", 15)
    assert core.arrived(1, "a") == [pin("large", 11)]
    assert core.arrived(2, "b") == [pin("large", 8)]
    core.pinned("large", 11)
    assert core.pinned("large", 8) == [Load("a"), Load("b")]


def test_the_pin_grows_back_when_the_wish_is_gone() -> None:
    """Who waited has left."""
    core = large_and_small()
    core.arrived(1, "small")
    assert core.left(1) == [pin("large", 15)]
    core.pinned("large", 7)
    assert core.used() == 20
    assert core.pinned("large", 15) == []


def test_the_pin_of_a_budget_that_shrank_shrinks() -> None:
    """Nothing grows before it has."""
    core = large_and_small()
    assert core.budget(16) == [pin("large", 11)]
    assert core.arrived(1, "small") == [pin("large", 3)]
    assert core.pinned("large", 11) == []
    assert core.pinned("large", 3) == [Load("small")]


def test_a_ceiling_bounds_all_pins_together() -> None:
    """The box is short of memory; when it is not any more, they grow again."""
    core = ByHand(40, a=LARGE, b=needs(5, pinnable=100))
    core.ready("a", 0)
    core.pinned("a", 35)
    core.arrived(1, "b")
    assert core.pinned("a", 30) == [Load("b")]
    assert core.loaded("b") == [Grant(1, "b")]
    assert core.ceiling(10) == [pin("a", 10)]
    assert core.pinned("a", 10) == []
    assert core.ceiling(None) == [pin("a", 30)]


def test_a_ceiling_touches_no_models() -> None:
    """They have their memory; only pins give way."""
    core = large_and_small()
    assert core.ceiling(0) == [pin("large", 0)]
    core.pinned("large", 0)
    assert core.arrived(1, "small") == [Load("small")]


def test_what_the_system_does_not_let_it_pin_is_not_asked_for_again() -> None:
    """RLIMIT_MEMLOCK, as a rule: the rest is free for others."""
    core = ByHand(20, a=LARGE, b=needs(5, pinnable=100))
    core.at_work("a", 0)
    assert core.pinned("a", 2) == []
    assert core.used() == 7
    assert core.arrived(1, "b") == [Load("b")]
    assert core.loaded("b") == [Grant(1, "b"), pin("b", 8)]


def test_a_new_worker_is_asked_for_all_of_it_again() -> None:
    """What the system let the last one pin was its own matter."""
    core = ByHand(20, a=LARGE)
    core.at_work("a", 0)
    core.pinned("a", 2)
    core.arrived(1, "a")
    core.died("a")
    assert core.loaded("a") == [Grant(1, "a"), pin("a", 15)]


def test_an_answer_to_an_earlier_goal_says_nothing() -> None:
    """It may have been broken off for a later one; only the last is the state of things."""
    core = large_and_small()
    core.arrived(1, "small")
    core.left(1)
    assert core.pinned("large", 12) == []
    assert core.room("large").pin_most_bytes is None
    assert core.used() == 20
    assert core.pinned("large", 15) == []


def test_an_answer_that_looks_like_the_last_is_not_taken_for_it() -> None:
    """The same goal twice with another between: the worker is still to pin more."""
    core = ByHand(20, large=LARGE, small=needs(8), tiny=needs(1))
    core.arrived(0, "large")
    core.ceiling(7)
    assert core.loaded("large")[-1] == pin("large", 7)
    assert core.ceiling(15) == [pin("large", 15)]
    assert core.arrived(1, "small") == [pin("large", 7)]
    assert core.pinned("large", 7) == []
    assert core.used() == 20
    core.pinned("large", 15)
    assert core.pinned("large", 7) == [Load("small")]


def test_a_worker_may_have_a_little_more_than_it_was_told() -> None:
    """It counts whole pages, and so does the ledger."""
    core = ByHand(20, a=needs(5, pinnable=4))
    core.at_work("a", 0)
    assert core.pinned("a", 4.5) == []
    assert core.used() == 9.5


def test_the_busier_of_two_has_the_pin() -> None:
    """A byte saves more where most of the weights are pinned already, so it is not shared."""
    core = ByHand(30, a=LARGE, b=needs(5, pinnable=12))
    core.arrived(0, "b")
    core.arrived(1, "a")
    core.ceiling(0)
    core.loaded("a")
    core.loaded("b")
    core.arrived(2, "b")
    core.left(0)
    assert core.ceiling(None) == [pin("b", 12), pin("a", 8)]


@pytest.mark.parametrize(("uses", "moves"), [(3, False), (9, True)])
def test_a_pin_moves_to_a_much_busier_model_only(uses: int, moves: bool) -> None:  # noqa: FBT001
    """Moving it means reading gigabytes again; the new one grows as the old one lets go."""
    core = ByHand(20, b=needs(5, pinnable=10), a=needs(5, pinnable=10))
    core.ready("a", 0)
    core.pinned("a", 10)
    core.at_work("b", 1)
    effects = []
    for ticket in range(1, uses):
        effects += core.left(ticket) + core.arrived(ticket + 1, "b")
    assert (pin("a", 0) in effects) == moves
    assert core.pinned("a", 0 if moves else 10) == ([pin("b", 10)] if moves else [])


def test_two_that_share_the_pins_do_not_take_them_from_each_other() -> None:
    """One has all it can pin, one what is left; they take turns, and nothing moves."""
    core = ByHand(23, a=needs(5, pinnable=9), b=needs(5, pinnable=9))
    core.ready("a", 0)
    core.ready("b", 1)
    for ticket in range(2, 12):
        granted = core.arrived(ticket, "ab"[ticket % 2], later=60)
        assert granted == [Grant(ticket, "ab"[ticket % 2])]
        assert core.left(ticket, later=60) == []


def test_a_pin_is_not_lost_by_getting_smaller() -> None:
    """Who is a little busier gets nothing of it when there is less."""
    core = ByHand(22, a=needs(5, pinnable=12), b=needs(5, pinnable=12), c=needs(6))
    core.ready("a", 0)
    core.ready("b", 1)
    core.arrived(2, "b")
    core.left(2)
    assert core.pinned("a", 12) == []
    assert core.arrived(3, "c") == [pin("a", 6)]


def test_time_alone_moves_no_pin() -> None:
    """Heat fades for all alike."""
    core = ByHand(20, a=needs(5, pinnable=10), b=needs(5, pinnable=10))
    core.ready("a", 0)
    core.pinned("a", 10)
    core.ready("b", 1)
    for _ in range(20):
        assert core.ticked(100 * HALF_LIFE_SECONDS) == []


def test_the_pin_goes_with_its_worker() -> None:
    """Dead or unloaded, nothing of it counts any more, and a late answer is no news."""
    core = large_and_small()
    core.left(0)
    core.dismissed("large")
    assert core.used() == 20
    assert core.pinned("large", 15) == []
    core.unloaded("large")
    assert core.used() == 0
    assert core.pinned("large", 15) == []
    core.arrived(1, "large")
    core.loaded("large")
    core.pinned("large", 15)
    core.arrived(2, "small")
    assert core.pinned("large", 7) == [Load("small")]
    core.died("large")
    assert core.used() == 8


def test_pins_that_grow_at_once_share_what_is_free() -> None:
    """Both are due more; what a leaving worker still holds neither has."""
    core = ByHand(20, a=needs(2, pinnable=5), b=needs(2, pinnable=5), c=needs(10))
    core.ceiling(0)
    for ticket, model in enumerate("cba"):
        core.ready(model, ticket)
    core.dismissed("c")
    assert core.ceiling(None) == [pin("a", 5), pin("b", 1)]
    assert core.unloaded("c") == [pin("b", 5)]
