"""The whole path of a request in one process: an app opened from a models.toml, with real workers.

Two models, `a` and `b`, are the same tiny file under two names. No surface: the router is the door.
"""

import asyncio
import dataclasses
import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import TypeAlias

import psutil  # type: ignore[import-untyped]
import pytest

from modelrouter.app import App
from modelrouter.config import find_config
from modelrouter.errors import (
    DeadlineExceeded,
    LoadFailed,
    ModelRouterError,
    NeverFits,
    UnknownModel,
    WorkerDied,
)
from modelrouter.reply import Reply
from modelrouter.trace import Trace
from modelrouter.types import Message, Request, SamplingOverrides

OpenApp: TypeAlias = Callable[..., App]

MODELS_TOML = """\
version = 1
policy = "test"

[budget]
ram = {ram}
reserve = "0MiB"

[cache]
enabled = {cache}

[models.a]
path = {path_of_a}
context = {context_of_a}
threads = 1
drafts = "off"  # a random model repeats itself: with drafts long answers are over too soon

[models.b]
path = {path}
context = {context_of_b}
threads = 1

[roles]
code = ["a"]
general = ["a", "b"]
"""

POLICY = """\
description = "Everything goes to a, then to b."

[otherwise]
use = ["general"]
when_full = "{when_full}"
"""


@pytest.fixture
def open_app(tmp_path: Path, tiny_gguf: Path) -> OpenApp:
    """Return a maker of apps; `when_full` is the policy's."""

    def make(
        when_full: str = "wait",
        ram: str = "1GiB",
        *,
        cache: bool = True,
        path_of_a: Path = tiny_gguf,
        context_of_a: int = 512,
        context_of_b: int = 512,
        switch_within: str | None = None,
    ) -> App:
        file = tmp_path / "models.toml"
        values = {
            "ram": ram,
            "cache": cache,
            "path": str(tiny_gguf),
            "path_of_a": str(path_of_a),
            "context_of_a": context_of_a,
            "context_of_b": context_of_b,
        }
        file.write_text(
            MODELS_TOML.format(**{key: json.dumps(value) for key, value in values.items()})
        )
        (tmp_path / "policies").mkdir(exist_ok=True)
        policy = POLICY.format(when_full=when_full)
        if switch_within is not None:
            policy += f'switch_within = "{switch_within}"\n'
        (tmp_path / "policies" / "test.toml").write_text(policy)
        return App.open(find_config(file))

    return make


def asking(
    text: str = "How do I sort a list?",
    *,
    model: str | None = None,
    max_tokens: int | None = 8,
    use_cache: bool = True,
    seconds: float | None = None,
    **sampling: float,
) -> Request:
    """Return a question, greedy where nothing else is said."""
    overrides: SamplingOverrides = {"temperature": 0}
    overrides.update(sampling)  # type: ignore[typeddict-item]
    return Request(
        messages=(Message("user", text),),
        model=model,
        max_tokens=max_tokens,
        sampling=overrides,
        use_cache=use_cache,
        seconds=seconds,
    )


async def answered(app: App, request: Request) -> Reply:
    """Return the reply once it is whole."""
    async with app.router.ask(request) as reply:
        async for _ in reply:
            pass
    return reply


def steps(trace: Trace | None) -> list[str]:
    """Return the names of the trace's steps."""
    assert trace is not None
    return [step.name for step in trace.steps]


async def test_a_busy_cache_makes_no_error_of_a_whole_answer(
    open_app: OpenApp, tmp_path: Path
) -> None:
    """Nobody waits for the storing, which the time limit could end; it is kept all the same."""
    async with open_app() as app:
        await answered(app, asking())  # the model is loaded, the cache's database made
        (database,) = (tmp_path / "home").rglob("cache.db")
        with closing(sqlite3.connect(database)) as other:
            async with app.router.ask(asking("And a tuple?", max_tokens=2, seconds=1.5)) as reply:
                other.execute("BEGIN EXCLUSIVE")
                async for _ in reply:
                    pass
            assert reply.finish is not None
        assert (await answered(app, asking("And a tuple?", max_tokens=2))).cache_use == "hit"


async def in_line(app: App, model: str, task: asyncio.Task[Reply]) -> None:
    """Wait until the task waits for a slot of the model."""
    while not app.scheduler.forecast()[model].waiting:
        assert not task.done()
        await asyncio.sleep(0)


async def test_a_trace_has_every_step_in_order(open_app: OpenApp) -> None:
    """Classified, decided, leased, first text, done: with facts, and with times that only grow."""
    async with open_app() as app:
        reply = await answered(app, asking())
    assert steps(reply.trace) == ["classify", "decide", "lease", "first text", "done"]
    times = [step.at_ms for step in reply.trace.steps]
    assert times == sorted(times)
    facts = {step.name: step.facts for step in reply.trace.steps}
    assert facts["classify"]["field"] == reply.route.prediction.field
    assert facts["decide"] == {
        "policy": "test",
        "rule": "otherwise",
        "candidates": ["a", "b"],
        "skipped": {},
        "stays": None,
    }
    leased = facts["lease"]
    assert leased["model"] == "a"
    assert leased["waited_ms"] > 0  # for the load
    assert facts["done"]["completion_tokens"] == 8
    assert facts["done"]["finish"] == "length"


async def test_a_reply_says_who_answered_and_why(open_app: OpenApp) -> None:
    """Model and role from the start; finish, usage and the whole text once it has been read."""
    async with open_app() as app, app.router.ask(asking()) as reply:
        assert (reply.model, reply.role, reply.cache_use) == ("a", "general", "miss")
        assert reply.finish is None
        pieces = [piece async for piece in reply]
        assert reply.text == "".join(pieces) != ""
        assert reply.finish == "length"
        assert reply.usage is not None
        assert reply.usage.completion_tokens == 8


async def test_the_second_time_the_answer_comes_from_the_cache(open_app: OpenApp) -> None:
    """No slot is leased, and answer, usage and trace are all there, also after a restart."""
    async with open_app() as app:
        fresh = await answered(app, asking())
        again = await answered(app, asking())
    async with open_app() as app:
        restarted = await answered(app, asking())
    for reply in (again, restarted):
        assert steps(reply.trace) == ["classify", "decide", "cache hit", "first text", "done"]
        assert (reply.text, reply.finish, reply.usage) == (fresh.text, fresh.finish, fresh.usage)
        assert (reply.cache_use, reply.model, reply.role) == ("hit", "a", "general")


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(asking(temperature=0.7), id="no seed"),
        pytest.param(asking(use_cache=False), id="not wanted"),
    ],
)
async def test_some_answers_are_not_for_the_cache(open_app: OpenApp, request_: Request) -> None:
    """What another run would answer differently, and what the caller wants fresh."""
    async with open_app() as app:
        for _ in range(2):
            reply = await answered(app, request_)
            assert reply.cache_use == "bypass"
            assert "lease" in steps(reply.trace)


async def test_use_cache_false_does_not_find_what_is_there(open_app: OpenApp) -> None:
    """Fresh means fresh, even where the answer is known."""
    async with open_app() as app:
        known = await answered(app, asking())
        fresh = await answered(app, asking(use_cache=False))
    assert fresh.cache_use == "bypass"
    assert fresh.text == known.text


async def test_a_seed_makes_an_answer_repeatable(open_app: OpenApp) -> None:
    """The same seed hits, another one does not."""
    async with open_app() as app:
        uses = [
            (await answered(app, asking(temperature=0.7, seed=seed))).cache_use
            for seed in (1, 1, 2)
        ]
    assert uses == ["miss", "hit", "miss"]


async def test_the_cache_can_be_turned_off(open_app: OpenApp) -> None:
    """`enabled = false` neither finds nor stores."""
    async with open_app(cache=False) as app:
        uses = [(await answered(app, asking())).cache_use for _ in range(2)]
    assert uses == ["bypass", "bypass"]


async def test_an_answer_that_was_left_is_not_stored(open_app: OpenApp) -> None:
    """Half an answer is never given for a whole one."""
    async with open_app() as app:
        async with app.router.ask(asking(max_tokens=None)) as left:
            async for _ in left:
                break
        assert left.finish is None
        assert (await answered(app, asking(max_tokens=None))).cache_use == "miss"


async def test_leaving_early_frees_the_slot_at_once(open_app: OpenApp) -> None:
    """The slot is free when the block is left, though the answer had hundreds of tokens to go."""
    async with open_app() as app:
        async with app.router.ask(asking(max_tokens=None)) as reply:
            assert app.scheduler.forecast()["a"].free_slots == 0
            async for _ in reply:
                break
        assert app.scheduler.forecast()["a"].free_slots == 1


async def test_when_full_next_goes_on_to_the_second_candidate(open_app: OpenApp) -> None:
    """While the first is busy the second answers, and the trace says who refused and why."""
    async with open_app("next") as app, app.scheduler.lease("a"):
        reply = await answered(app, asking())
    assert reply.model == "b"
    refused = next(step for step in reply.trace.steps if step.name == "refused")
    waited_ms = refused.facts["waited_ms"]
    assert isinstance(waited_ms, float)
    assert waited_ms >= 0
    assert refused.facts == {
        "waited_ms": waited_ms,
        "model": "a",
        "code": "slots_busy",
        "reason": "a is busy: 1 of 1 slots taken",
    }


async def test_when_full_next_waits_for_the_last_candidate(open_app: OpenApp) -> None:
    """With all busy, the last in the order is the one to wait for."""
    async with open_app("next") as app, app.scheduler.lease("a"):
        async with app.scheduler.lease("b"):
            waiter = asyncio.create_task(answered(app, asking()))
            await in_line(app, "b", waiter)
        assert (await waiter).model == "b"


async def test_when_full_wait_waits_for_the_first_candidate(open_app: OpenApp) -> None:
    """A policy that says wait is obeyed, though another model is free."""
    async with open_app("wait") as app:
        async with app.scheduler.lease("a"):
            waiter = asyncio.create_task(answered(app, asking()))
            await in_line(app, "a", waiter)
        assert (await waiter).model == "a"


async def test_a_load_that_fails_is_gone_past(
    open_app: OpenApp, tiny_gguf: Path, tmp_path: Path
) -> None:
    """Where the policy says next, the next candidate answers for one that cannot be loaded."""
    moved = tmp_path / "a.gguf"
    moved.write_bytes(tiny_gguf.read_bytes())  # noqa: ASYNC240 - a small file
    async with open_app("next", path_of_a=moved) as app:
        moved.unlink()
        reply = await answered(app, asking())
        explicit = await failure_of(app, asking(model="a"))
    assert reply.model == "b"
    refused = next(step for step in reply.trace.steps if step.name == "refused")
    assert refused.facts["code"] == "load_failed"
    assert isinstance(explicit, LoadFailed)


async def test_a_load_that_is_killed_is_gone_past(open_app: OpenApp) -> None:
    """A worker that the kernel ends while it loads is no reason to give up either."""
    async with open_app("next") as app:
        task = asyncio.create_task(answered(app, asking()))
        while not (children := psutil.Process().children()):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        os.kill(children[0].pid, signal.SIGKILL)
        reply = await task
    assert reply.model == "b"
    refused = next(step for step in reply.trace.steps if step.name == "refused")
    assert refused.facts["code"] == "worker_died"


async def test_a_named_model_beats_the_policy(open_app: OpenApp) -> None:
    """A model or a role that the request names is the one that answers."""
    async with open_app() as app:
        by_name = await answered(app, asking(model="b"))
        by_role = await answered(app, asking(model="code"))
    assert (by_name.model, by_name.role, by_name.route.decision.rule) == ("b", None, "model")
    assert (by_role.model, by_role.role, by_role.route.decision.rule) == ("a", "code", "role")


async def test_a_conversation_stays_where_its_last_answer_came_from(open_app: OpenApp) -> None:
    """The policy asks `a` first, but `b` has read the talk so far, and no move is that quick."""
    async with open_app(switch_within="0s") as app:
        first = await answered(app, asking(model="b"))
        said = Message("assistant", first.text)
        talk = (Message("user", "How do I sort a list?"), said, Message("user", "and a dict?"))
        again = await answered(app, dataclasses.replace(asking(), messages=talk))
        new = await answered(app, asking("and a dict?"))
    assert (again.model, new.model) == ("b", "a")
    assert again.route.decision.stays is not None
    assert again.usage is not None
    assert again.usage.cached_tokens > 0  # what staying is good for


async def test_a_model_whose_context_is_too_small_is_passed_over(open_app: OpenApp) -> None:
    """`a` comes first, but only `b` has room for so long a prompt."""
    async with open_app(context_of_a=256, context_of_b=2048) as app:
        reply = await answered(app, asking("x" * 4 * 300))
    assert reply.model == "b"
    assert "pass over" in steps(reply.trace)


async def test_an_unknown_model_is_an_error_with_its_trace(open_app: OpenApp) -> None:
    """Nothing is answered by another model instead; the path so far is there to see."""
    async with open_app() as app:
        with pytest.raises(UnknownModel) as failure:
            await answered(app, asking(model="codr"))
    assert failure.value.message.startswith(
        'no model or role "codr"; there are a, b, code, general'
    )
    assert failure.value.hint == 'did you mean "code"?'
    assert steps(failure.value.trace) == ["classify"]


async def test_a_model_that_never_fits_is_refused_with_its_trace(open_app: OpenApp) -> None:
    """A budget below every model refuses at once, and nothing was loaded."""
    async with open_app(ram="10MiB") as app:
        with pytest.raises(NeverFits, match=r"^a needs [\d.]+ MiB; the budget is 10.0 MiB$") as no:
            await answered(app, asking())
    assert steps(no.value.trace) == ["classify", "decide", "refused"]


@pytest.mark.parametrize("is_waiting", [True, False])
async def test_time_that_is_up_ends_the_request(open_app: OpenApp, *, is_waiting: bool) -> None:
    """In line or in the middle of the answer: the error says the limit, and the slot is free."""
    async with open_app() as app:
        async with app.scheduler.lease("a") as lease:
            pid = lease._engine.pid
            if is_waiting:
                late = await failure_of(app, asking(seconds=0.05))
        if not is_waiting:
            os.kill(pid, signal.SIGSTOP)
            late = await failure_of(app, asking(seconds=1.0))
            os.kill(pid, signal.SIGCONT)
        assert app.scheduler.forecast()["a"].free_slots == 1
    assert isinstance(late, DeadlineExceeded)
    limit = "0.05" if is_waiting else "1"
    assert late.message == f"the time limit of {limit} s was up before the answer was whole"
    expected = ["classify", "decide"] if is_waiting else ["classify", "decide", "lease"]
    assert steps(late.trace) == expected


async def failure_of(app: App, request: Request) -> ModelRouterError:
    """Return the error that the request ends in."""
    with pytest.raises(ModelRouterError) as failure:
        await answered(app, request)
    return failure.value


async def test_an_error_of_the_callers_own_passes_through(open_app: OpenApp) -> None:
    """What goes wrong in the block is the caller's; the slot is free all the same."""
    async with open_app() as app:
        with pytest.raises(ZeroDivisionError):
            async with app.router.ask(asking()):
                1 / 0  # noqa: B018
        assert app.scheduler.forecast()["a"].free_slots == 1


async def test_a_timeout_of_the_callers_own_stays_a_timeout(open_app: OpenApp) -> None:
    """Only the request's own limit is called DeadlineExceeded."""
    async with open_app() as app:
        with pytest.raises(TimeoutError, match="mine"):
            async with app.router.ask(asking(seconds=60)):
                raise TimeoutError("mine")


async def test_requests_at_once_are_all_answered(open_app: OpenApp) -> None:
    """Two models, one slot each, a budget for one: everybody gets an answer."""
    async with open_app(ram="120MiB") as app:
        requests = [asking(str(n), model=model) for n in range(4) for model in "ab"]
        replies = await asyncio.gather(*(answered(app, request) for request in requests))
    assert [reply.model for reply in replies] == ["a", "b"] * 4
    assert all(reply.finish == "length" for reply in replies)


async def test_the_budget_is_what_the_file_says(open_app: OpenApp) -> None:
    """A share is one of the memory there could be."""
    whole, half = open_app(ram="100%").budget, open_app(ram="50%").budget
    assert whole.ram_bytes // 2 == half.ram_bytes
    assert half.origin == "models.toml"


async def test_the_same_question_at_once_is_answered_once(open_app: OpenApp) -> None:
    """Three ask: each hears the whole answer, and one slot was leased for all of them."""
    async with open_app(cache=False) as app:
        replies = await asyncio.gather(*(answered(app, asking(max_tokens=40)) for _ in range(3)))
    assert len({reply.text for reply in replies}) == 1
    assert len({reply.usage for reply in replies}) == 1
    assert [steps(reply.trace)[2] for reply in replies] == ["lease", "joined", "joined"]


async def test_the_work_goes_on_while_anybody_listens(open_app: OpenApp) -> None:
    """The one who asked first leaves in the middle; who joined hears all of it, and it is kept."""
    request = asking(max_tokens=None)
    async with open_app() as app, AsyncExitStack() as block:
        await answered(app, asking("Hello"))
        worker = app.scheduler.status().of("a").pid
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)  # or the answer could be whole before anybody joins
        first = await block.enter_async_context(app.router.ask(request))
        async with app.router.ask(request) as second:
            os.kill(worker, signal.SIGCONT)
            begun = await anext(aiter(first))
            await block.aclose()
            text = "".join([text async for text in second])
        again = await answered(app, request)
    assert first.finish is None
    assert text.startswith(begun)
    assert steps(second.trace) == ["classify", "decide", "joined", "first text", "done"]
    assert (again.cache_use, again.text) == ("hit", text)


async def test_different_questions_are_not_taken_for_one(open_app: OpenApp) -> None:
    """Another seed, another length, no seed at all: each has a slot of its own."""
    requests = [
        asking(temperature=1, seed=1),
        asking(temperature=1, seed=2),
        asking(temperature=1, seed=2, max_tokens=9),
        asking(temperature=1),
        asking(temperature=1),
        asking(use_cache=False),
        asking(use_cache=False),
    ]
    async with open_app() as app:
        replies = await asyncio.gather(*(answered(app, request) for request in requests))
    assert ["joined" in steps(reply.trace) for reply in replies] == [False] * len(requests)


async def test_an_error_is_told_to_all_who_joined(open_app: OpenApp) -> None:
    """Each has its own, with its own trace."""
    async with open_app() as app:
        asked = [asyncio.create_task(answered(app, asking(max_tokens=None))) for _ in range(2)]
        while app.scheduler.status().of("a").active == 0:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        worker = app.scheduler.status().of("a").pid
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        errors = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in errors] == [WorkerDied, WorkerDied]
    traces = [error.trace for error in errors if isinstance(error, ModelRouterError)]
    assert traces[0] is not traces[1]
