"""Work that several want is done once, for as long as anybody wants it.

No request and no model: the work is a function that tells numbers when it is let.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from modelrouter.errors import EngineError
from modelrouter.flights import Flights


class Teller:
    """Work that tells what it is given, and notes how often it was begun and broken off."""

    def __init__(self) -> None:
        """Tell nothing yet."""
        self.begun = 0
        self.broken_off = 0
        self.numbers: asyncio.Queue[int | Exception | None] = asyncio.Queue()

    async def work(self, tell: Callable[[int], None]) -> None:
        """Tell the numbers, until there is an error or None."""
        self.begun += 1
        try:
            while (number := await self.numbers.get()) is not None:
                if isinstance(number, Exception):
                    raise number
                tell(number)
        except asyncio.CancelledError:
            self.broken_off += 1
            raise

    def give(self, *numbers: int | Exception | None) -> None:
        """Let it tell these."""
        for number in numbers:
            self.numbers.put_nowait(number)


@pytest.fixture
def teller() -> Teller:
    """Give a teller that nobody listens to."""
    return Teller()


async def heard(news: AsyncIterator[int]) -> list[int]:
    """Return all that is told to the end."""
    return [number async for number in news]


async def test_who_joins_hears_it_from_the_beginning(teller: Teller) -> None:
    """One works; what was told before somebody joined is told to them as well."""
    flights: Flights[int] = Flights()
    async with flights.join("a", teller.work) as first:
        teller.give(1, 2)
        assert await anext(first) == 1
        async with flights.join("a", teller.work) as second:
            teller.give(3, None)
            assert await heard(first) == [2, 3]
            assert await heard(second) == [1, 2, 3]
    assert (teller.begun, teller.broken_off) == (1, 0)
    assert "a" not in flights


async def test_the_last_who_leaves_ends_the_work(teller: Teller) -> None:
    """Not the first; and when the last has left, it has ended."""
    flights: Flights[int] = Flights()
    async with flights.join("a", teller.work) as stays:
        async with flights.join("a", teller.work) as leaves:
            teller.give(1)
            assert await anext(leaves) == 1
        assert teller.broken_off == 0
        teller.give(2)
        assert [await anext(stays), await anext(stays)] == [1, 2]
    assert teller.broken_off == 1
    assert "a" not in flights


async def test_nobody_boards_work_that_is_being_ended(teller: Teller) -> None:
    """Who comes while the last leaves begins anew."""
    flights: Flights[int] = Flights()

    async def stubborn(tell: Callable[[int], None]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            async with flights.join("a", teller.work) as news:
                teller.give(7, None)
                assert await heard(news) == [7]
            tell(0)

    async with flights.join("a", stubborn):
        await asyncio.sleep(0)
    assert teller.begun == 1


async def test_keys_tell_work_apart_and_none_is_nobody_elses(teller: Teller) -> None:
    """Two keys, or no key, are two flights."""
    flights: Flights[int] = Flights()
    for key, other in (("a", "b"), (None, None)):
        async with flights.join(key, teller.work), flights.join(other, teller.work):
            await asyncio.sleep(0)
    assert teller.begun == 4


async def test_an_error_is_raised_to_each_as_its_own(teller: Teller) -> None:
    """After what was told before it."""
    flights: Flights[int] = Flights()
    errors = []
    async with flights.join("a", teller.work) as first, flights.join("a", teller.work) as second:
        teller.give(1, EngineError("alas", hint="try"))
        for news in (first, second):
            assert await anext(news) == 1
            with pytest.raises(EngineError, match="alas") as caught:
                await anext(news)
            errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert [error.hint for error in errors] == ["try", "try"]


async def test_after_its_end_the_work_begins_anew(teller: Teller) -> None:
    """What is over is not replayed: keeping answers is the cache's work."""
    flights: Flights[int] = Flights()
    for _ in range(2):
        async with flights.join("a", teller.work) as news:
            teller.give(1, None)
            assert await heard(news) == [1]
    assert teller.begun == 2
