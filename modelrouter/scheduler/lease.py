"""A lease: a slot of a loaded model, held for one request.

It knows the engine that answers and where its speed is noted, not why the slot was granted.
"""

from modelrouter.engine.answer_stream import Stream
from modelrouter.engine.process import Engine
from modelrouter.errors import ModelRouterError
from modelrouter.generation import Generation
from modelrouter.scheduler.rates import Rate


class Lease:
    """A slot of a loaded model, held for one request."""

    def __init__(self, engine: Engine, rate: Rate) -> None:
        """Hold a slot of `engine`; how long the answer takes goes to `rate`."""
        self._engine = engine
        self._rate = rate
        self._stream: Stream | None = None

    def generate(self, generation: Generation) -> Stream:
        """Start the answer. It is stopped when the lease ends, if it has not ended itself."""
        self._stream = self._engine.submit(generation)
        return self._stream

    def abort(self, error: ModelRouterError) -> None:
        """End the answer with the error."""
        if self._stream is not None:
            self._stream.abort(error)

    def end(self) -> bool:
        """Stop what still runs, learn from an answer that is whole; tell whether it is."""
        if self._stream is None:
            return False
        self._stream.cancel()
        if self._stream.done is None:
            return False
        self._rate.answered(self._stream.done)
        return True
