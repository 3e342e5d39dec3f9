"""Which idle model is evicted: the one whose bytes save the fewest seconds.

Pure: events in, effects out, a clock that moves only with them.
"""

import pytest
from scheduler_by_hand import ByHand, needs

from modelrouter.scheduler.effects import Load, Unload
from modelrouter.scheduler.room import HALF_LIFE_SECONDS


def test_the_model_used_less_is_evicted() -> None:
    """Uses count, the last of them included."""
    core = ByHand(20, a=needs(), b=needs(), c=needs())
    core.ready("a", 0)
    core.arrived(1, "a")
    core.left(1)
    core.ready("b", 2)
    assert core.arrived(3, "c") == [Unload("b")]


def test_use_lasts_until_the_request_leaves() -> None:
    """A long answer's model was used just now."""
    core = ByHand(20, a=needs(), b=needs(), c=needs())
    core.at_work("a", 0)
    core.ready("b", 1)
    core.left(0, later=HALF_LIFE_SECONDS)
    assert core.arrived(2, "c") == [Unload("b")]


def test_uses_fade() -> None:
    """After a half-life a use counts half: what was busy last week makes room."""
    core = ByHand(20, a=needs(), b=needs(), c=needs())
    core.ready("a", 0)
    for ticket in range(1, 9):
        core.arrived(ticket, "a")
        core.left(ticket)
    core.ticked(4 * HALF_LIFE_SECONDS)
    core.ready("b", 10)
    for ticket, model in ((11, "a"), (12, "b")):
        core.arrived(ticket, model)
        core.left(ticket)
    assert core.arrived(13, "c") == [Unload("a")]


def test_what_loads_slowly_is_kept() -> None:
    """The seconds are those that were measured, not what was guessed."""
    core = ByHand(20, a=needs(load_seconds=9), b=needs(load_seconds=1), c=needs())
    core.ready("a", 0, seconds=1)
    core.ready("b", 1, seconds=9)
    assert core.arrived(2, "c") == [Unload("a")]


def test_what_takes_much_memory_goes_first() -> None:
    """Worth is by the byte."""
    core = ByHand(30, a=needs(20), b=needs(), c=needs())
    core.ready("b", 0)
    core.ready("a", 1)
    assert core.arrived(2, "c") == [Unload("a")]


def test_what_nobody_ever_used_goes_first_and_the_longest_unused_of_them() -> None:
    """A warmed model that no request came for is worth nothing yet."""
    core = ByHand(20, a=needs(load_seconds=100), b=needs(), c=needs())
    core.ready("b", 0)
    core.warmed("a")
    core.loaded("a")
    assert core.arrived(1, "c") == [Unload("a")]


def test_ages_hence_the_older_use_still_loses() -> None:
    """When all heat is gone, the time of the last use decides."""
    core = ByHand(20, a=needs(), b=needs(), c=needs())
    core.ready("b", 0)
    core.ticked(1)
    core.ready("a", 1)
    core.ticked(1e7)
    assert core.room("a").heat_at(core.now) == core.room("b").heat_at(core.now) == 0
    assert core.arrived(2, "c") == [Unload("b")]


def test_a_superfluous_victim_is_let_off() -> None:
    """Where a larger model has to go anyway, the smaller one stays."""
    core = ByHand(30, a=needs(5), b=needs(20), c=needs())
    core.ready("a", 0, seconds=0.1)
    core.ready("b", 1)
    core.budget(25)
    assert core.arrived(2, "c") == [Unload("b")]


def test_of_two_superfluous_victims_the_worthier_is_let_off() -> None:
    """Both are small enough to be spared, but not both of them."""
    core = ByHand(13, a=needs(2), b=needs(2), c=needs(9), d=needs(11))
    for ticket, model in enumerate("abc"):
        core.ready(model, ticket, seconds=(ticket + 1) ** 2)
    assert core.arrived(3, "d") == [Unload("a"), Unload("c")]


@pytest.mark.parametrize("seconds", [0, 1, HALF_LIFE_SECONDS])
def test_heat_is_halved_with_each_half_life(seconds: float) -> None:
    """A request counts when it comes and when it ends."""
    core = ByHand(a=needs())
    core.ready("a", 0)
    fraction = 2 ** -(seconds / HALF_LIFE_SECONDS)
    assert core.room("a").heat_at(core.now + seconds) == pytest.approx(2 * fraction)


def test_what_was_measured_is_the_load_alone() -> None:
    """Not the time that it had to wait for memory."""
    core = ByHand(a=needs(), b=needs())
    core.at_work("a", 0)
    core.arrived(1, "b")
    core.left(0, later=100)
    assert core.unloaded("a", later=1) == [Load("b")]
    core.loaded("b", later=3)
    assert core.room("b").load_seconds == 3
