"""The scheduler's decisions, one interleaving at a time; `properties/` has all of them at once.

Pure: events in, effects out.
"""

import copy
from dataclasses import replace

import pytest

from modelrouter.errors import LoadFailed, ModelRouterError, NeverFits, QueueFull, SlotsBusy
from modelrouter.scheduler.core import Core, Effect, Grant, Load, Needs, Refuse, Ticket, Unload
from modelrouter.types import ModelForecast, ModelState

GIB = 2**30
SMALL = Needs(10 * GIB, slots=1, is_resident=False)
RESIDENT = replace(SMALL, is_resident=True)


def core_of(budget_gib: int = 10, max_waiting: int = 8, **models: Needs) -> Core:
    """Return a core with these models, 10 GiB each unless they say otherwise."""
    return Core(models, budget_gib * GIB, max_waiting)


def ready(core: Core, model: str, ticket: int) -> None:
    """Load the model by a ticket and let the ticket leave again."""
    assert Load(model) in core.arrived(Ticket(ticket, model))
    assert core.loaded(model) == [Grant(ticket, model)]
    core.left(ticket)


def the_refusal(effects: list[Effect]) -> ModelRouterError:
    """Return the error of the only effect."""
    (effect,) = effects
    assert isinstance(effect, Refuse)
    return effect.error


def test_the_first_request_loads_and_the_load_grants() -> None:
    """A request for an unloaded model causes one load, and gets its slot when that is done."""
    core = core_of(a=SMALL)
    assert core.arrived(Ticket(0, "a")) == [Load("a")]
    assert core.loaded("a") == [Grant(0, "a")]
    assert core.used_bytes == 10 * GIB


def test_first_come_first_served() -> None:
    """Slots go to tickets in the order of their arrival, one for each that leaves."""
    core = core_of(a=SMALL)
    for ticket in range(3):
        core.arrived(Ticket(ticket, "a"))
    assert core.loaded("a") == [Grant(0, "a")]
    assert core.left(0) == [Grant(1, "a")]
    assert core.left(1) == [Grant(2, "a")]


def test_an_idle_model_makes_room_for_a_wanted_one() -> None:
    """A swap is an unload, and the load only once the memory is back."""
    core = core_of(a=SMALL, b=SMALL)
    ready(core, "a", 0)
    assert core.arrived(Ticket(1, "b")) == [Unload("a")]
    assert core.unloaded("a") == [Load("b")]
    assert core.loaded("b") == [Grant(1, "b")]


def test_a_busy_model_is_waited_for() -> None:
    """A model in use is never unloaded; the swap happens when its last request leaves."""
    core = core_of(a=SMALL, b=SMALL)
    core.arrived(Ticket(0, "a"))
    core.loaded("a")
    assert core.arrived(Ticket(1, "b")) == []
    assert core.left(0) == [Unload("a")]


def test_the_model_unused_for_longest_is_evicted() -> None:
    """Use lasts until the request leaves: a long answer's model was used just now."""
    core = core_of(20, a=SMALL, b=SMALL, c=SMALL)
    core.arrived(Ticket(0, "a"))
    core.loaded("a")
    ready(core, "b", 1)
    core.left(0)
    assert core.arrived(Ticket(2, "c")) == [Unload("b")]


def test_no_model_is_evicted_in_vain() -> None:
    """Where idle models cannot make enough room, none of them goes."""
    core = core_of(30, a=SMALL, b=SMALL, large=Needs(30 * GIB, 1, is_resident=False))
    ready(core, "a", 0)
    core.arrived(Ticket(1, "b"))
    core.loaded("b")
    assert core.arrived(Ticket(2, "large")) == []
    assert core.left(1) == [Unload("a"), Unload("b")]


def test_room_that_an_older_ticket_wants_back_is_not_counted_on() -> None:
    """A model that is being unloaded and wanted again makes no room for the younger."""
    core = core_of(20, a=SMALL, b=SMALL, c=SMALL, d=Needs(20 * GIB, 1, is_resident=False))
    ready(core, "a", 0)
    ready(core, "b", 1)
    assert core.arrived(Ticket(2, "c")) == [Unload("a")]
    core.left(2)
    assert core.arrived(Ticket(3, "a")) == []
    assert core.arrived(Ticket(4, "d")) == []
    assert core.unloaded("a") == [Load("a")]


def test_a_superfluous_victim_is_let_off() -> None:
    """Where a larger, later-used model has to go anyway, the smaller one stays."""
    core = core_of(
        30, a=Needs(5 * GIB, 1, is_resident=False), b=Needs(20 * GIB, 1, is_resident=False), c=SMALL
    )
    ready(core, "a", 0)
    ready(core, "b", 1)
    core.budget_changed(25 * GIB)
    assert core.arrived(Ticket(2, "c")) == [Unload("b")]


def test_a_younger_ticket_does_not_take_what_an_older_waits_for() -> None:
    """A small model that would fit just now is not loaded before the large one that cannot yet."""
    large, tiny = Needs(15 * GIB, 1, is_resident=False), Needs(5 * GIB, 1, is_resident=False)
    core = core_of(20, a=SMALL, large=large, tiny=tiny)
    core.arrived(Ticket(0, "a"))
    core.loaded("a")
    assert core.arrived(Ticket(1, "large")) == []
    assert core.arrived(Ticket(2, "tiny")) == []
    assert core.left(0) == [Unload("a")]
    assert core.unloaded("a") == [Load("large"), Load("tiny")]


def test_a_waiting_eviction_holds_nobody_up_whose_model_is_ready() -> None:
    """Head-of-line blocking stops at the models that are not loaded."""
    core = core_of(20, a=replace(SMALL, slots=2), b=RESIDENT, c=SMALL)
    ready(core, "b", 0)
    core.arrived(Ticket(1, "a"))
    core.loaded("a")
    assert core.arrived(Ticket(2, "c")) == []
    assert core.arrived(Ticket(3, "a")) == [Grant(3, "a")]
    assert core.arrived(Ticket(4, "b")) == [Grant(4, "b")]


def test_who_left_causes_no_load() -> None:
    """A caller who went away while waiting for room is forgotten."""
    core = core_of(a=SMALL, b=SMALL)
    core.arrived(Ticket(0, "a"))
    core.loaded("a")
    core.arrived(Ticket(1, "b"))
    core.left(1)
    assert core.left(0) == []


def test_a_load_done_while_given_up_stays_given_up() -> None:
    """`loaded` after Unload revives nothing; who came in the meantime gets the load after it."""
    core = core_of(a=SMALL, b=SMALL)
    core.arrived(Ticket(0, "a"))
    core.left(0)
    assert core.arrived(Ticket(1, "b")) == [Unload("a")]
    core.arrived(Ticket(2, "a"))
    assert core.loaded("a") == []
    assert core.unloaded("a") == [Load("b")]


def test_a_load_failed_while_given_up_refuses_nobody() -> None:
    """`load_failed` after Unload frees no memory yet and is no news for who waits for the next."""
    core = core_of(a=SMALL, b=SMALL)
    core.arrived(Ticket(0, "a"))
    core.left(0)
    assert core.arrived(Ticket(1, "b")) == [Unload("a")]
    core.arrived(Ticket(2, "a"))
    assert core.load_failed("a", LoadFailed("cut short")) == []
    assert core.unloaded("a") == [Load("b")]


def test_a_failed_load_is_told_to_all_who_waited() -> None:
    """Everybody in line hears why, nothing is tried again, and the next request starts anew."""
    core = core_of(a=SMALL)
    error = LoadFailed("no such file")
    core.arrived(Ticket(0, "a"))
    core.arrived(Ticket(1, "a"))
    assert core.load_failed("a", error) == [Refuse(0, error), Refuse(1, error)]
    assert core.used_bytes == 0
    assert core.arrived(Ticket(2, "a")) == [Load("a")]


def test_a_worker_that_dies_is_loaded_again_for_who_waits() -> None:
    """Its leases are void at once, and the holder's `left` comes too late to matter."""
    core = core_of(a=SMALL)
    core.arrived(Ticket(0, "a"))
    core.loaded("a")
    core.arrived(Ticket(1, "a"))
    assert core.unloaded("a") == [Load("a")]
    assert core.left(0) == []
    assert core.loaded("a") == [Grant(1, "a")]


def test_a_budget_cut_unloads_what_is_idle_and_loads_nothing() -> None:
    """What is in use stays, what is idle goes; who waits waits for room under the new budget."""
    core = core_of(20, a=SMALL, b=SMALL)
    core.arrived(Ticket(0, "a"))
    core.loaded("a")
    ready(core, "b", 1)
    assert core.budget_changed(10 * GIB) == [Unload("b")]
    assert core.unloaded("b") == []
    assert core.arrived(Ticket(2, "b")) == []
    assert core.left(0) == [Unload("a")]


def test_a_budget_cut_refuses_who_waits_for_what_fits_no_more() -> None:
    """Also where the model is just being unloaded: nobody waits in vain, and nobody for ever."""
    core = core_of(a=SMALL, b=SMALL)
    ready(core, "a", 0)
    assert core.arrived(Ticket(1, "b")) == [Unload("a")]
    core.arrived(Ticket(2, "a"))
    for effect in core.budget_changed(9 * GIB):
        assert isinstance(the_refusal([effect]), NeverFits)
    assert core.forecast()["a"].waiting == core.forecast()["b"].waiting == 0
    assert core.unloaded("a") == []


def test_a_death_after_a_budget_cut_refuses_who_waits() -> None:
    """A model that stands is used though it fits no more; once it is gone, it is not waited for."""
    core = core_of(a=SMALL)
    core.arrived(Ticket(0, "a"))
    core.loaded("a")
    core.arrived(Ticket(1, "a"))
    assert core.budget_changed(9 * GIB) == []
    assert isinstance(the_refusal(core.unloaded("a")), NeverFits)


def test_residents_come_at_the_start_and_stay() -> None:
    """A warmed resident is loaded without a request, and again should its worker die.

    A request that waits comes first.
    """
    core = core_of(20, a=RESIDENT, b=SMALL, c=SMALL)
    assert core.warmed("a") == [Load("a")]
    assert core.loaded("a") == []
    ready(core, "b", 0)
    assert core.arrived(Ticket(1, "c")) == [Unload("b")]
    assert core.unloaded("a") == [Load("c")]
    assert core.unloaded("b") == [Load("a")]


def test_warmed_models_come_after_those_that_are_waited_for() -> None:
    """Room goes to a request's model first, though the warmed one was wished for earlier."""
    core = core_of(20, a=RESIDENT, b=SMALL, c=Needs(20 * GIB, 1, is_resident=False))
    core.budget_changed(30 * GIB)
    core.arrived(Ticket(0, "c"))
    core.loaded("c")
    core.budget_changed(20 * GIB)
    assert core.warmed("a") == []
    assert core.arrived(Ticket(1, "b")) == []
    core.left(0)
    assert core.unloaded("c") == [Load("b"), Load("a")]


def test_two_warmed_models_do_not_evict_each_other_for_ever() -> None:
    """A warmed model that was evicted waits to be asked for."""
    core = core_of(a=SMALL, b=SMALL)
    core.warmed("a")
    core.loaded("a")
    assert core.warmed("b") == [Unload("a")]
    assert core.unloaded("a") == [Load("b")]
    assert core.loaded("b") == []


def test_never_fits_says_the_numbers() -> None:
    """What can never be loaded is refused at once, with what it needs and what there is."""
    core = core_of(10, a=RESIDENT, b=SMALL)
    error = the_refusal(core.arrived(Ticket(0, "b")))
    assert isinstance(error, NeverFits)
    assert error.message == (
        "b needs 10.00 GiB; the budget is 10.00 GiB, of which resident models have 10.00 GiB"
    )
    assert error.hint == (
        "lower its `context` or `slots`, use a smaller quantization, or raise budget.ram"
    )


def test_a_full_line_says_how_long_it_is() -> None:
    """The line of one model is bounded; those of others are not touched by it."""
    core = core_of(20, max_waiting=1, a=SMALL, b=SMALL)
    core.arrived(Ticket(0, "a"))
    error = the_refusal(core.arrived(Ticket(1, "a")))
    assert isinstance(error, QueueFull)
    assert error.message == "1 requests wait for a already"
    assert core.arrived(Ticket(2, "b")) == [Load("b")]


def test_who_may_not_wait_waits_for_a_load() -> None:
    """A load, and an unload before it, is no other request's work."""
    core = core_of(a=SMALL, b=SMALL)
    ready(core, "a", 0)
    assert core.arrived(Ticket(1, "b", may_wait=False)) == [Unload("a")]
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
    core = core_of(a=SMALL, b=SMALL)
    for ticket, (model, is_loaded) in enumerate(before):
        core.arrived(Ticket(ticket, model))
        if is_loaded:
            core.loaded(model)
    error = the_refusal(core.arrived(Ticket(9, "a", may_wait=False)))
    assert isinstance(error, SlotsBusy)
    assert error.message == message


def test_who_may_not_wait_does_not_count_on_room_that_others_wait_for() -> None:
    """Memory that is being freed for an older ticket's model is not free."""
    core = core_of(a=SMALL, b=SMALL)
    ready(core, "a", 0)
    assert core.arrived(Ticket(1, "b")) == [Unload("a")]
    assert isinstance(the_refusal(core.arrived(Ticket(2, "a", may_wait=False))), SlotsBusy)


def test_who_may_not_wait_does_not_count_on_a_model_that_is_to_come_back() -> None:
    """An older ticket for a model that is just being unloaded wants the room again."""
    core = core_of(20, a=SMALL, b=SMALL, c=SMALL)
    ready(core, "a", 0)
    core.arrived(Ticket(1, "b"))
    core.loaded("b")
    assert core.arrived(Ticket(2, "c")) == [Unload("a")]
    core.left(2)
    assert core.arrived(Ticket(3, "a")) == []
    assert isinstance(the_refusal(core.arrived(Ticket(4, "c", may_wait=False))), SlotsBusy)


def test_who_may_not_wait_is_not_sent_away_for_someone_younger() -> None:
    """Room that is being freed for him stays his when more people come."""
    core = core_of(20, a=SMALL, b=SMALL, c=SMALL, d=SMALL)
    ready(core, "a", 0)
    ready(core, "b", 1)
    assert core.arrived(Ticket(2, "c", may_wait=False)) == [Unload("a")]
    assert core.arrived(Ticket(3, "d")) == []
    assert core.unloaded("a") == [Load("c"), Unload("b")]


def test_who_may_not_wait_counts_on_models_that_nobody_uses() -> None:
    """They can leave for him, but for the one that is used again before he comes to it."""
    core = core_of(20, a=SMALL, c=SMALL)
    ready(core, "a", 0)
    ready(core, "c", 1)
    assert core.budget_changed(10 * GIB) == [Unload("a")]
    assert core.arrived(Ticket(2, "a", may_wait=False)) == []
    again = copy.deepcopy(core)
    assert core.unloaded("a") == [Unload("c")]
    assert core.unloaded("c") == [Load("a")]
    granted, refused = again.arrived(Ticket(3, "c"))
    assert granted == Grant(3, "c")
    assert isinstance(the_refusal([refused]), SlotsBusy)


def test_a_refusal_that_makes_room_is_followed_up() -> None:
    """When a budget cut turns a hurried ticket away, who waited behind it is served at once."""
    tiny, little = (Needs(gib * GIB, 1, is_resident=False) for gib in (2, 3))
    core = core_of(22, a=little, b=SMALL, c=SMALL, tiny=tiny)
    ready(core, "a", 0)
    core.arrived(Ticket(1, "b"))
    core.loaded("b")
    assert core.arrived(Ticket(2, "c", may_wait=False)) == [Unload("a")]
    assert core.arrived(Ticket(3, "tiny")) == []
    refused, *rest = core.budget_changed(19 * GIB)
    assert isinstance(refused, Refuse)
    assert refused.ticket == 2
    assert rest == [Load("tiny")]


def test_the_forecast_is_what_is_true_now() -> None:
    """Each model's state, whether it could ever fit, its free slots and its line."""
    core = core_of(10, a=replace(SMALL, slots=2), b=Needs(11 * GIB, 1, is_resident=False))
    core.arrived(Ticket(0, "a"))
    assert core.forecast()["a"] == ModelForecast(
        ModelState.LOADING, fits=True, free_slots=0, waiting=1
    )
    core.loaded("a")
    assert core.forecast() == {
        "a": ModelForecast(ModelState.READY, fits=True, free_slots=1, waiting=0),
        "b": ModelForecast(ModelState.UNLOADED, fits=False, free_slots=0, waiting=0),
    }
