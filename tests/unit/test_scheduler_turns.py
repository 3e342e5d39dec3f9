"""Who goes first at the scheduler, and when time changes that: priority, patience, deadlines.

Pure: events in, effects out, a clock that moves only with them.
"""

import pytest
from scheduler_by_hand import PATIENCE, ByHand, needs, the_refusal

from modelrouter.errors import DeadlineExceeded
from modelrouter.scheduler.effects import Effect, Grant, Load, Priority, Unload

INTERACTIVE, BACKGROUND = Priority.INTERACTIVE, Priority.BACKGROUND


def test_slots_go_by_priority_then_by_age() -> None:
    """An editor before a chat before a side job; among equals who came first."""
    core = ByHand(a=needs())
    core.at_work("a", 0)
    core.arrived(1, "a", priority=BACKGROUND)
    core.arrived(2, "a")
    core.arrived(3, "a")
    core.arrived(4, "a", priority=INTERACTIVE)
    assert [core.left(ticket) for ticket in (0, 4, 2, 3)] == [
        [Grant(4, "a")],
        [Grant(2, "a")],
        [Grant(3, "a")],
        [Grant(1, "a")],
    ]


def test_memory_goes_by_priority_then_by_age() -> None:
    """The model of the most urgent ticket is loaded first, whoever else waits for it."""
    core = ByHand(a=needs(), b=needs(), c=needs())
    core.at_work("a", 0)
    core.arrived(1, "b", priority=BACKGROUND)
    core.arrived(2, "c")
    core.arrived(3, "b", priority=INTERACTIVE)
    assert core.left(0) == [Unload("a")]
    assert core.unloaded("a") == [Load("b")]


def test_a_request_comes_before_what_was_only_warmed() -> None:
    """Room goes to a request's model first, though the warmed one was wished for earlier."""
    core = ByHand(20, a=needs(is_resident=True), b=needs(), c=needs(20))
    core.budget(30)
    core.at_work("c", 0)
    core.budget(20)
    assert core.warmed("a") == []
    assert core.arrived(1, "b") == []
    core.left(0)
    assert core.unloaded("c") == [Load("b"), Load("a")]


@pytest.mark.parametrize(("waited", "first"), [(PATIENCE - 1, 2), (PATIENCE, 1)])
def test_who_has_waited_long_for_a_slot_ranks_by_age_alone(waited: float, first: int) -> None:
    """A side job is not put off for ever by editors."""
    core = ByHand(a=needs())
    core.at_work("a", 0)
    core.arrived(1, "a", priority=BACKGROUND)
    core.arrived(2, "a", priority=INTERACTIVE, later=waited)
    assert core.left(0) == [Grant(first, "a")]


def test_models_at_work_run_dry_for_who_has_waited_long() -> None:
    """They take no new requests, and once the last has left they make room."""
    core = ByHand(a=needs(slots=2), b=needs())
    core.at_work("a", 0)
    core.arrived(1, "b")
    assert core.arrived(2, "a", later=PATIENCE - 1) == [Grant(2, "a")]
    assert core.ticked(1) == []
    assert core.left(0) == []
    assert core.arrived(3, "a") == []
    assert core.left(2) == [Unload("a")]
    assert core.unloaded("a") == [Load("b")]
    assert core.loaded("b") == [Grant(1, "b")]
    assert core.left(1) == [Unload("b")]
    assert core.unloaded("b") == [Load("a")]


@pytest.mark.parametrize("leaves", ["goes away", "is late"])
def test_draining_ends_when_nobody_waits_for_it_any_more(leaves: str) -> None:
    """The model takes requests again at once."""
    core = ByHand(a=needs(slots=2), b=needs())
    core.at_work("a", 0)
    core.arrived(1, "b", seconds=PATIENCE + 1)
    assert core.arrived(2, "a", later=PATIENCE) == []
    effects = core.left(1) if leaves == "goes away" else core.ticked(1)
    assert effects[-1] == Grant(2, "a")


def test_no_more_models_run_dry_than_needed() -> None:
    """The one worth least does where it is large enough; the other goes on."""
    core = ByHand(20, a=needs(slots=2), b=needs(slots=2), c=needs())
    core.at_work("a", 0, seconds=9)
    core.at_work("b", 1)
    core.arrived(2, "c")
    core.ticked(PATIENCE)
    assert core.arrived(3, "a") == [Grant(3, "a")]
    assert core.arrived(4, "b") == []


def test_residents_never_run_dry() -> None:
    """They would not leave anyway."""
    core = ByHand(20, a=needs(slots=2, is_resident=True), b=needs(slots=2), c=needs())
    core.at_work("a", 0)
    core.at_work("b", 1, seconds=9)
    core.arrived(2, "c")
    core.ticked(PATIENCE)
    assert core.arrived(3, "a") == [Grant(3, "a")]
    assert core.arrived(4, "b") == []


def test_a_model_that_runs_dry_does_so_to_the_end() -> None:
    """Each request that leaves makes it seem worth more; no other begins in its place."""
    core = ByHand(20, a=needs(slots=2), b=needs(slots=2), c=needs())
    core.at_work("a", 0)
    core.arrived(1, "a")
    core.at_work("b", 2)
    core.arrived(3, "b")
    core.arrived(4, "c")
    core.ticked(PATIENCE)
    core.arrived(5, "a")
    core.arrived(6, "b")
    assert core.left(0) == []
    assert core.left(2) == [Grant(6, "b")]
    assert core.left(1) == [Unload("a")]


def test_no_model_runs_dry_in_vain() -> None:
    """Where others that are more urgent have too much, everybody goes on."""
    core = ByHand(20, a=needs(slots=2), b=needs(), large=needs(20))
    core.at_work("a", 0)
    core.at_work("b", 1)
    core.arrived(2, "b")
    core.arrived(3, "large")
    assert core.arrived(4, "a", later=PATIENCE) == [Grant(4, "a")]
    core.arrived(5, "a")
    assert core.left(1) == [Grant(2, "b")]
    assert core.left(0) == []


def test_a_model_that_an_older_ticket_waits_for_is_loaded_to_the_end() -> None:
    """A long load is not broken off for someone younger, or both would be loading for ever."""
    core = ByHand(a=needs(), b=needs())
    core.arrived(0, "a")
    core.arrived(1, "b")
    assert core.ticked(PATIENCE) == []
    assert core.loaded("a") == [Grant(0, "a")]
    assert core.left(0) == [Unload("a")]


def test_a_load_for_someone_younger_is_broken_off() -> None:
    """Who has waited long goes before those of higher priority."""
    core = ByHand(20, a=needs(15), b=needs(), c=needs())
    core.at_work("c", 0)
    core.arrived(1, "a", priority=BACKGROUND)
    assert core.arrived(2, "b", priority=INTERACTIVE) == [Load("b")]
    assert core.ticked(PATIENCE) == []
    assert core.left(0) == [Unload("b"), Unload("c")]


def test_what_waits_for_its_turn_is_not_drained_for() -> None:
    """Nobody hurries before the patience is over; idle models are taken at once."""
    core = ByHand(20, a=needs(), b=needs(), c=needs())
    core.at_work("a", 0)
    core.ready("b", 1)
    assert core.arrived(2, "c") == [Unload("b")]


def test_a_late_ticket_is_refused_with_the_seconds() -> None:
    """When its time has come, and not before; the next in line is not touched."""
    core = ByHand(a=needs())
    core.arrived(0, "a", seconds=2.5)
    core.arrived(1, "a")
    assert core.ticked(2) == []
    error = the_refusal(core.ticked(0.5))
    assert isinstance(error, DeadlineExceeded)
    assert error.message == "no slot of a was free within 2.5 s"
    assert core.loaded("a") == [Grant(1, "a")]


def test_a_deadline_ends_with_the_grant() -> None:
    """It bounds the waiting, not the answer."""
    core = ByHand(a=needs())
    core.arrived(0, "a", seconds=5)
    core.loaded("a")
    assert core.core.next_wake() is None
    assert core.ticked(10) == []


def wake_times(core: ByHand) -> list[tuple[float, list[Effect]]]:
    """Wake the core whenever it wants to be woken; return the times and what came of it."""
    times: list[tuple[float, list[Effect]]] = []
    while (moment := core.core.next_wake()) is not None and len(times) < 9:
        times.append((moment, core.ticked(moment - core.now)))
    return times


def test_the_core_says_when_time_will_change_something() -> None:
    """The nearest deadline, or end of a patience, of those who wait; then nothing."""
    core = ByHand(a=needs(slots=2), b=needs())
    core.at_work("a", 0)
    assert core.core.next_wake() is None
    start = core.now
    core.arrived(1, "b")
    core.arrived(2, "b", later=1, seconds=5)
    moments = [moment - start for moment, _ in wake_times(core)]
    assert moments == [1 + 5, PATIENCE]


def test_the_core_wants_to_be_woken_to_try_again() -> None:
    """After a failure, for a model that somebody waits for or that was warmed."""
    core = ByHand(a=needs())
    core.warmed("a")
    core.loaded("a")
    core.died("a")
    core.loaded("a")
    core.died("a", later=1)
    assert wake_times(core) == [(2, [Load("a")])]
