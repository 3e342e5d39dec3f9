"""What others see of the scheduler: the forecast of each model, and the state of the box.

Pure: a core moved by hand, and values made from its books.
"""

import pytest
from scheduler_by_hand import GIB, PATIENCE, ByHand, needs

from modelrouter.errors import LoadFailed
from modelrouter.forecast import ModelForecast, ModelState
from modelrouter.scheduler.rates import Rate
from modelrouter.scheduler.snapshot import ModelStatus, Status, Worker, forecast, status

MEASURED = Rate(100.0, 2.0, 100.0, 20.0, answers=1.0, answer_seconds=22.0, load_seconds=10.0)


def seen(
    core: ByHand, model: str, rate: Rate = MEASURED, share: float | None = None
) -> ModelForecast:
    """Return the forecast of a model now."""
    return forecast(core.core, model, rate, Worker(loaded_share=share), core.now)


def test_a_forecast_is_what_is_true_now() -> None:
    """Each model's state, whether it could ever fit, its free slots and its line."""
    core = ByHand(10, a=needs(slots=2), b=needs(11))
    core.arrived(0, "a")
    unknown = Rate()
    assert seen(core, "a", unknown) == ModelForecast(
        ModelState.LOADING, fits=True, free_slots=0, waiting=1, queue_seconds=0
    )
    core.loaded("a")
    assert seen(core, "a", unknown) == ModelForecast(
        ModelState.READY, fits=True, free_slots=1, waiting=0, load_seconds=0, queue_seconds=0
    )
    assert seen(core, "b", unknown) == ModelForecast(
        ModelState.UNLOADED, fits=False, free_slots=0, waiting=0, queue_seconds=0
    )


def test_a_forecast_has_the_speeds_that_were_measured() -> None:
    """Tokens by the second, and None where there were none yet."""
    core = ByHand(a=needs())
    assert seen(core, "a").prefill_tokens_per_second == 50
    assert seen(core, "a").decode_tokens_per_second == 5
    assert seen(core, "a", Rate()).prefill_tokens_per_second is None


@pytest.mark.parametrize("why", ["dismissed", "drained"])
def test_slots_that_are_granted_to_nobody_are_not_free(why: str) -> None:
    """A model that is to go is no offer."""
    core = ByHand(a=needs(slots=2), b=needs())
    core.at_work("a", 0)
    assert seen(core, "a").free_slots == 1
    if why == "dismissed":
        core.dismissed("a")
    else:
        core.arrived(1, "b")
        core.ticked(PATIENCE)
    assert seen(core, "a").free_slots == 0


def test_the_seconds_of_a_load_are_what_is_left_of_it() -> None:
    """By the share that is done where the worker tells it, else by the last load."""
    core = ByHand(a=needs())
    assert seen(core, "a").load_seconds == 10
    core.arrived(0, "a")
    core.ticked(4)
    assert seen(core, "a").load_seconds == 6
    assert seen(core, "a", share=0.8).load_seconds == pytest.approx(1)
    assert seen(core, "a", share=0.0).load_seconds == 6
    core.ticked(9)
    assert seen(core, "a").load_seconds == 0
    assert seen(core, "a", Rate(), share=0.5).load_seconds is None


def test_a_load_that_others_must_make_room_for_has_no_known_time() -> None:
    """Idle models leave at once; those at work leave when they are done."""
    core = ByHand(a=needs(), b=needs())
    core.at_work("a", 0)
    assert seen(core, "b").load_seconds is None
    core.left(0)
    assert seen(core, "b").load_seconds == 10


@pytest.mark.parametrize(("waiting", "seconds"), [(0, 0), (1, 0), (2, 11), (3, 22)])
def test_the_seconds_of_a_line_are_the_answers_before_it(waiting: int, seconds: float) -> None:
    """One slot of two is free after half an answer's time, on average."""
    core = ByHand(a=needs(slots=2))
    for ticket in range(waiting):
        core.arrived(ticket, "a")
    core.loaded("a")
    assert seen(core, "a").queue_seconds == seconds
    assert seen(core, "a", Rate()).queue_seconds == (0 if waiting < 2 else None)


def test_the_status_says_who_has_what() -> None:
    """Bytes as the ledger has them, the worker's process, and what went wrong last."""
    core = ByHand(20, a=needs(5, slots=2, pinnable=3), b=needs(8, is_resident=True))
    core.at_work("a", 0, seconds=1.23456)
    core.arrived(1, "b")
    core.load_failed("b", LoadFailed("no such file"))
    core.arrived(2, "b")
    shown = status(core.core, {"a": Worker(pid=77), "b": Worker(loaded_share=0.5)})
    assert shown == Status(
        20 * GIB,
        16 * GIB,
        (
            ModelStatus(
                model="a",
                state=ModelState.READY,
                is_resident=False,
                footprint_bytes=5 * GIB,
                pinned_bytes=3 * GIB,
                slots=2,
                active=1,
                waiting=0,
                load_seconds=1.235,
                loaded_share=None,
                pinned_share=None,
                pid=77,
                failures=0,
                problem=None,
            ),
            ModelStatus(
                model="b",
                state=ModelState.LOADING,
                is_resident=True,
                footprint_bytes=8 * GIB,
                pinned_bytes=0,
                slots=1,
                active=0,
                waiting=1,
                load_seconds=1.0,
                loaded_share=0.5,
                pinned_share=None,
                pid=None,
                failures=1,
                problem="no such file",
            ),
        ),
    )


def test_a_problem_that_is_over_is_not_shown() -> None:
    """The first answer ends it."""
    core = ByHand(a=needs())
    core.arrived(0, "a")
    core.load_failed("a", LoadFailed("no such file"))
    core.ready("a", 1)
    (shown,) = status(core.core, {}).models
    assert (shown.failures, shown.problem, shown.pid) == (0, None, None)


def test_a_status_is_plain_values() -> None:
    """As JSON shows it, states as words."""
    core = ByHand(a=needs(1))
    shown = status(core.core, {}).to_json()
    assert shown["budget_bytes"] == 10 * GIB
    assert shown["used_bytes"] == 0
    (model,) = shown["models"]
    assert model["state"] == "unloaded"
    assert type(model["state"]) is str
    assert model["footprint_bytes"] == GIB
