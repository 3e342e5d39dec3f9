"""The scheduler's decisions, one interleaving at a time: loads, evictions, deaths, the budget.

Pure: events in, effects out; `properties/` has all of them at once. Who goes first is the matter of
`test_scheduler_turns.py`, failures and people's wishes of `test_scheduler_failures.py`.
"""

from scheduler_by_hand import ByHand, needs, the_refusal

from modelrouter.errors import LoadFailed, NeverFits, QueueFull
from modelrouter.forecast import ModelState
from modelrouter.scheduler.effects import Grant, Load, Priority, Refuse, Unload


def test_the_first_request_loads_and_the_load_grants() -> None:
    """A request for an unloaded model causes one load, and gets its slot when that is done."""
    core = ByHand(a=needs())
    assert core.arrived(0, "a") == [Load("a")]
    assert core.loaded("a") == [Grant(0, "a")]
    assert core.used() == 10


def test_first_come_first_served() -> None:
    """Slots go to tickets in the order of their arrival, one for each that leaves."""
    core = ByHand(a=needs())
    for ticket in range(3):
        core.arrived(ticket, "a")
    assert core.loaded("a") == [Grant(0, "a")]
    assert core.left(0) == [Grant(1, "a")]
    assert core.left(1) == [Grant(2, "a")]


def test_all_slots_are_granted_and_no_more() -> None:
    """A model with two slots serves two at once."""
    core = ByHand(a=needs(slots=2))
    for ticket in range(3):
        core.arrived(ticket, "a")
    assert core.loaded("a") == [Grant(0, "a"), Grant(1, "a")]
    assert core.left(1) == [Grant(2, "a")]


def test_an_idle_model_makes_room_for_a_wanted_one() -> None:
    """A swap is an unload, and the load only once the memory is back."""
    core = ByHand(a=needs(), b=needs())
    core.ready("a", 0)
    assert core.arrived(1, "b") == [Unload("a")]
    assert core.used() == 10
    assert core.unloaded("a") == [Load("b")]
    assert core.loaded("b") == [Grant(1, "b")]


def test_a_busy_model_is_waited_for() -> None:
    """A model in use is never unloaded; the swap happens when its last request leaves."""
    core = ByHand(a=needs(), b=needs())
    core.at_work("a", 0)
    assert core.arrived(1, "b") == []
    assert core.left(0) == [Unload("a")]


def test_no_model_is_evicted_in_vain() -> None:
    """Where idle models cannot make enough room, none of them goes."""
    core = ByHand(30, a=needs(), b=needs(), large=needs(30))
    core.ready("a", 0)
    core.at_work("b", 1)
    assert core.arrived(2, "large") == []
    assert core.left(1) == [Unload("a"), Unload("b")]


def test_a_model_wanted_again_while_it_is_unloaded_comes_back() -> None:
    """Behind the one it made room for; the load is a new one."""
    core = ByHand(20, a=needs(), b=needs(), c=needs())
    core.ready("a", 0)
    core.at_work("b", 1)
    assert core.arrived(2, "c") == [Unload("a")]
    assert core.arrived(3, "a") == []
    assert core.unloaded("a") == [Load("c")]
    assert core.left(1) == [Unload("b")]
    assert core.unloaded("b") == [Load("a")]


def test_room_that_an_older_ticket_wants_back_is_not_counted_on() -> None:
    """A model that is being unloaded and wanted again makes no room for the younger."""
    core = ByHand(20, a=needs(), b=needs(), c=needs(), d=needs(20))
    core.ready("a", 0)
    core.ready("b", 1)
    assert core.arrived(2, "c") == [Unload("a")]
    core.left(2)
    assert core.arrived(3, "a") == []
    assert core.arrived(4, "d") == []
    assert core.unloaded("a") == [Load("a")]


def test_a_younger_ticket_does_not_take_what_an_older_waits_for() -> None:
    """A small model that would fit just now is not loaded before the large one that cannot yet."""
    core = ByHand(20, a=needs(), large=needs(15), tiny=needs(5))
    core.at_work("a", 0)
    assert core.arrived(1, "large") == []
    assert core.arrived(2, "tiny") == []
    assert core.left(0) == [Unload("a")]
    assert core.unloaded("a") == [Load("large"), Load("tiny")]


def test_a_waiting_eviction_holds_nobody_up_whose_model_is_ready() -> None:
    """Head-of-line blocking stops at the models that are not loaded."""
    core = ByHand(20, a=needs(slots=2), b=needs(is_resident=True), c=needs())
    core.ready("b", 0)
    core.at_work("a", 1)
    assert core.arrived(2, "c") == []
    assert core.arrived(3, "a") == [Grant(3, "a")]
    assert core.arrived(4, "b") == [Grant(4, "b")]


def test_who_left_causes_no_load() -> None:
    """A caller who went away while waiting for room is forgotten."""
    core = ByHand(a=needs(), b=needs())
    core.at_work("a", 0)
    core.arrived(1, "b")
    core.left(1)
    assert core.left(0) == []


def test_a_load_done_while_given_up_stays_given_up() -> None:
    """`loaded` after Unload revives nothing; who came in the meantime gets the load after it."""
    core = ByHand(a=needs(), b=needs())
    core.arrived(0, "a")
    core.left(0)
    assert core.arrived(1, "b") == [Unload("a")]
    core.arrived(2, "a")
    assert core.loaded("a") == []
    assert core.unloaded("a") == [Load("b")]


def test_a_load_failed_while_given_up_refuses_nobody() -> None:
    """`load_failed` after Unload frees no memory yet and is no news for who waits for the next."""
    core = ByHand(a=needs(), b=needs())
    core.arrived(0, "a")
    core.left(0)
    assert core.arrived(1, "b") == [Unload("a")]
    core.arrived(2, "a")
    assert core.load_failed("a", LoadFailed("cut short")) == []
    assert core.unloaded("a") == [Load("b")]


def test_a_worker_that_dies_is_loaded_again_for_who_waits() -> None:
    """Its leases are void at once, and the holder's `left` comes too late to matter."""
    core = ByHand(a=needs())
    core.at_work("a", 0)
    core.arrived(1, "a")
    assert core.died("a") == [Load("a")]
    assert core.left(0) == []
    assert core.loaded("a") == [Grant(1, "a")]


def test_a_budget_cut_unloads_what_is_idle_and_loads_nothing() -> None:
    """What is in use stays, what is idle goes; who waits waits for room under the new budget."""
    core = ByHand(20, a=needs(), b=needs())
    core.at_work("a", 0)
    core.ready("b", 1)
    assert core.budget(10) == [Unload("b")]
    assert core.unloaded("b") == []
    assert core.arrived(2, "b") == []
    assert core.left(0) == [Unload("a")]


def test_a_budget_cut_takes_the_room_of_models_at_work_once_their_requests_have_ended() -> None:
    """Both are in the way of what is left; neither takes a request more."""
    core = ByHand(budget=20, a=needs(slots=2), b=needs(slots=2))
    core.at_work("a", 0)
    core.at_work("b", 1)
    core.budget(9)
    assert isinstance(the_refusal(core.arrived(2, "a")), NeverFits)
    assert core.left(0) == [Unload("a")]
    assert core.left(1) == [Unload("b")]


def test_a_budget_cut_takes_no_more_than_it_must_from_models_at_work() -> None:
    """The one that is worth less runs dry; the other goes on granting."""
    core = ByHand(budget=20, a=needs(slots=2, load_seconds=9), b=needs(slots=2))
    core.at_work("a", 0, seconds=9)
    core.at_work("b", 1)
    core.budget(10)
    assert core.arrived(2, "b") == []
    assert core.arrived(3, "a") == [Grant(3, "a")]
    assert core.left(1) == [Unload("b")]


def test_a_budget_that_grows_lets_the_waiting_in() -> None:
    """A new budget is heeded at once."""
    core = ByHand(10, a=needs(), b=needs())
    core.at_work("a", 0)
    assert core.arrived(1, "b") == []
    assert core.budget(20) == [Load("b")]


def test_a_budget_cut_refuses_who_waits_for_what_fits_no_more() -> None:
    """Also where the model is just being unloaded: nobody waits in vain, and nobody for ever."""
    core = ByHand(a=needs(), b=needs())
    core.ready("a", 0)
    assert core.arrived(1, "b") == [Unload("a")]
    core.arrived(2, "a")
    for effect in core.budget(9):
        assert isinstance(the_refusal([effect]), NeverFits)
    assert core.room("a").waiting == core.room("b").waiting == []
    assert core.unloaded("a") == []


def test_a_death_after_a_budget_cut_refuses_who_waits() -> None:
    """A model that stands is used though it fits no more; once it is gone, it is not waited for."""
    core = ByHand(a=needs())
    core.at_work("a", 0)
    core.arrived(1, "a")
    assert core.budget(9) == []
    assert isinstance(the_refusal(core.died("a")), NeverFits)


def test_a_large_model_sent_away_after_a_budget_cut_refuses_who_waits_at_once() -> None:
    """They do not learn it only when its worker is gone."""
    core = ByHand(a=needs())
    core.at_work("a", 0)
    core.arrived(1, "a")
    core.budget(9)
    core.dismissed("a")
    unload, refusal = core.left(0)
    assert unload == Unload("a")
    assert isinstance(the_refusal([refusal]), NeverFits)


def test_never_fits_says_the_numbers() -> None:
    """What can never be loaded is refused at once, with what it needs and what there is."""
    core = ByHand(10, a=needs(is_resident=True), b=needs())
    error = the_refusal(core.arrived(0, "b"))
    assert isinstance(error, NeverFits)
    assert error.message == (
        "b needs 10.00 GiB; the budget is 10.00 GiB, of which resident models have 10.00 GiB"
    )
    assert error.hint == (
        "lower its `context` or `slots`, use a smaller quantization, or raise budget.ram"
    )
    alone = ByHand(9, b=needs())
    assert the_refusal(alone.arrived(0, "b")).message == "b needs 10.00 GiB; the budget is 9.00 GiB"


def test_residents_have_their_room_in_the_order_of_the_file() -> None:
    """One that does not fit beside those before it is refused, and takes nobody's room."""
    core = ByHand(15, a=needs(is_resident=True), b=needs(is_resident=True), c=needs(5), d=needs(6))
    assert isinstance(the_refusal(core.arrived(0, "b")), NeverFits)
    assert isinstance(the_refusal(core.arrived(1, "d")), NeverFits)
    assert core.arrived(2, "a") == [Load("a")]
    assert core.arrived(3, "c") == [Load("c")]


def test_a_resident_that_is_there_keeps_its_room_when_the_budget_shrinks() -> None:
    """It will never leave, so nobody is let wait for its room, one before it in the file either."""
    core = ByHand(25, a=needs(is_resident=True), b=needs(is_resident=True), c=needs(3))
    core.ready("b", 0)
    core.budget(12)
    assert isinstance(the_refusal(core.arrived(1, "a")), NeverFits)
    assert isinstance(the_refusal(core.arrived(2, "c")), NeverFits)
    assert core.arrived(3, "b") == [Grant(3, "b")]


def test_residents_that_are_there_stay_in_use_though_the_budget_cannot_hold_them() -> None:
    """All of them; what would fit beside one of them does not fit beside both."""
    core = ByHand(25, a=needs(is_resident=True), b=needs(is_resident=True), c=needs(2))
    core.ready("a", 0)
    core.ready("b", 1)
    assert core.budget(12) == []
    assert isinstance(the_refusal(core.arrived(2, "c")), NeverFits)
    assert core.arrived(3, "b") == [Grant(3, "b")]


def test_a_full_line_says_how_long_it_is() -> None:
    """The line of one model is bounded; those of others are not touched by it."""
    core = ByHand(20, max_waiting=1, a=needs(), b=needs())
    core.arrived(0, "a")
    error = the_refusal(core.arrived(1, "a"))
    assert isinstance(error, QueueFull)
    assert error.message == "1 normal requests wait for a already"
    assert core.arrived(2, "b") == [Load("b")]


def test_side_jobs_keep_no_editor_out_of_the_line() -> None:
    """Each class of requests has as much room in a line as any other."""
    core = ByHand(max_waiting=2, a=needs())
    core.arrived(0, "a", priority=Priority.BACKGROUND)
    core.arrived(1, "a", priority=Priority.BACKGROUND)
    error = the_refusal(core.arrived(2, "a", priority=Priority.BACKGROUND))
    assert error.message == "2 background requests wait for a already"
    assert core.arrived(3, "a", priority=Priority.INTERACTIVE) == []
    assert core.arrived(4, "a", priority=Priority.NORMAL) == []
    assert core.loaded("a")[0] == Grant(3, "a")


def test_a_refusal_at_the_door_forgets_nobody_whose_time_has_come() -> None:
    """The clock has moved on: what is due is done, whatever moved it."""
    core = ByHand(max_waiting=1, a=needs())
    core.arrived(0, "a", seconds=5)
    first, second = core.arrived(1, "a", later=6)
    assert isinstance(the_refusal([first]), QueueFull)
    assert isinstance(second, Refuse)
    assert second.ticket == 0


def test_memory_counts_until_the_worker_is_gone() -> None:
    """From the decision to load to the last byte given back."""
    core = ByHand(20, a=needs(), b=needs(20))
    core.arrived(0, "a")
    assert core.used() == 10
    core.left(0)
    assert core.arrived(1, "b") == [Unload("a")]
    assert core.used() == 10
    assert core.room("a").state is ModelState.UNLOADING
    assert core.unloaded("a") == [Load("b")]
    assert core.used() == 20
