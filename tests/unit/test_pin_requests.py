"""Goals and answers of pinning, matched by their order."""

import asyncio

import pytest

from modelrouter.engine.pin_requests import PinRequests
from modelrouter.engine.protocol import Pinned, Pinning, ProtocolError
from modelrouter.errors import WorkerDied


async def test_answers_come_in_the_order_of_the_goals() -> None:
    """Progress goes to the first in line; its answer makes the next one first."""
    requests = PinRequests()
    heard: list[tuple[str, int]] = []
    first = requests.add(lambda n: heard.append(("first", n)))
    second = requests.add(lambda n: heard.append(("second", n)))
    for news in (Pinning(1), Pinned(2, "another"), Pinning(3), Pinned(4, None)):
        requests.take(news)
        assert requests.pinned_bytes == news.n_bytes
    assert heard == [("first", 1), ("second", 3)]
    assert (await first, await second) == (Pinned(2, "another"), Pinned(4, None))


async def test_an_answer_that_nobody_waits_for_any_more() -> None:
    """Who has left is passed over, and the next one gets its own."""
    requests = PinRequests()
    first, second = requests.add(print), requests.add(print)
    first.cancel()
    requests.take(Pinned(1, None))
    requests.take(Pinned(2, None))
    assert await second == Pinned(2, None)


@pytest.mark.parametrize("news", [Pinning(1), Pinned(1, None)])
async def test_news_that_nobody_asked_for(news: Pinning | Pinned) -> None:
    """The worker and its parent misunderstand each other."""
    with pytest.raises(ProtocolError, match="came, and nobody had asked for it"):
        PinRequests().take(news)


async def test_the_end_of_the_worker_is_told_to_all() -> None:
    """Each has an error of its own; nothing is pinned any more."""
    requests = PinRequests()
    requests.add(print)
    requests.take(Pinned(8, None))
    answers = [requests.add(print) for _ in range(3)]
    answers[0].cancel()
    requests.fail(WorkerDied("it died", hint="less"))
    assert requests.pinned_bytes == 0
    errors = await asyncio.gather(*answers[1:], return_exceptions=True)
    assert [str(error) for error in errors] == ["it died"] * 2
    assert errors[0] is not errors[1]
