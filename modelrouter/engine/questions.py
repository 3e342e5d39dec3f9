"""Questions to a worker that cost no pass: texts to tokens and back, and who waits for the answers.

It knows numbers and answers; sending and receiving are others' work.
"""

import asyncio
from collections.abc import Sequence

from modelrouter.engine.protocol import Answered, Detokenized, Tokenized
from modelrouter.errors import EngineError, ModelRouterError


class Questions:
    """What one worker was asked and has not answered yet."""

    def __init__(self) -> None:
        """Begin with none."""
        self._waiting: dict[int, asyncio.Future[Answered]] = {}

    async def tokens_of(self, number: int) -> Sequence[int]:
        """Wait for the tokens that question `number` asks for."""
        answer = await self._answer(number)
        assert isinstance(answer, Tokenized)
        return answer.tokens

    async def texts_of(self, number: int) -> Sequence[str]:
        """Wait for the texts that question `number` asks for."""
        answer = await self._answer(number)
        assert isinstance(answer, Detokenized)
        return answer.texts

    async def _answer(self, number: int) -> Answered:
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            return await answer
        finally:
            del self._waiting[number]

    def take(self, answer: Answered) -> None:
        """Hand the answer to who asked, where they still wait."""
        if (waiting := self._waiting.get(answer.id)) is not None and not waiting.done():
            waiting.set_result(answer)

    def refuse(self, number: int, error: ModelRouterError) -> None:
        """Tell who asked question `number`, where they still wait, why it has no answer."""
        if (waiting := self._waiting.get(number)) is not None and not waiting.done():
            waiting.set_exception(error)

    def fail(self, error: EngineError) -> None:
        """Tell everybody who waits that the worker is gone."""
        for waiting in self._waiting.values():
            if not waiting.done():
                # Each listener raises its own: an exception carries one trace and one traceback.
                waiting.set_exception(type(error)(error.message, hint=error.hint))
