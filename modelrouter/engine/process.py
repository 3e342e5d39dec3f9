"""An engine: a model's worker process as the parent sees it.

It starts the worker, hands requests over and tokens back, and knows when it died and of what. It
never looks inside a model and never decides whether one should run.
"""

import asyncio
import contextlib
import copy
import functools
import itertools
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterable, Sequence

from modelrouter.engine.answer_stream import Stream
from modelrouter.engine.exit_codes import advice, describe_end
from modelrouter.engine.pin_requests import PinRequests
from modelrouter.engine.protocol import (
    HEADER,
    AnyMessage,
    Cancel,
    Detokenize,
    Detokenized,
    Failed,
    Finished,
    FromParent,
    Generate,
    Loading,
    Niceness,
    Pin,
    Pinned,
    Pinning,
    ProtocolError,
    Ready,
    Text,
    Tokenize,
    Tokenized,
    body_length,
    frame,
    parse,
)
from modelrouter.engine.questions import Questions
from modelrouter.engine.spawning import load_message, spawn_worker
from modelrouter.errors import (
    EngineError,
    LoadFailed,
    WorkerDied,
    error_of,
)
from modelrouter.generation import Delta, Done, Generation
from modelrouter.registry import ModelSpec

log = logging.getLogger(__name__)

SILENT_LOAD_SECONDS = 600.0
"""A load that tells nothing for so long is stuck. A mapped file tells nothing where llama.cpp reads
it whole (`mapping.py` says when): 40 GB from a slow disk.
"""
STOP_SECONDS = 5.0
"""How long a worker may take to leave once its socket is closed, before it is killed."""
LAST_WORDS_BYTES = 4096


class Engine:
    """A model in its worker process. Made by `Engine.start`, or by `spawn` and then `load`."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Wrap a worker that has just been started; `start` does the rest."""
        self.name = name
        self.pid = process.pid
        self.context_tokens = 0
        self._process = process
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count()
        self._streams: dict[int, Stream] = {}
        self._pins = PinRequests()
        self._questions = Questions()
        self._last_words = b""
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = False
        self.died: asyncio.Future[EngineError] = asyncio.get_running_loop().create_future()
        """Done once the worker has ended, with what it died of."""

    @classmethod
    async def start(
        cls, spec: ModelSpec, on_progress: Callable[[float], None] = lambda _: None
    ) -> "Engine":
        """Start a worker and load the model in it; LoadFailed or WorkerDied say why not.

        Cancelling the start kills the worker: a load that nobody wants any more ends at once.
        """
        engine = await cls.spawn(spec)
        await engine.load(on_progress)
        return engine

    @classmethod
    async def spawn(cls, spec: ModelSpec, niceness: Niceness | None = None) -> "Engine":
        """Start a worker that begins to load, and may be told to `pin` already; `load` it next.

        `niceness` None gives way to everybody with a mapped model, to nobody with a resident one.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = await spawn_worker(spec.name, theirs)
            except BaseException:
                writer.transport.abort()
                raise
        engine = cls(spec.name, process, reader, writer)
        engine._spawn(engine._keep_last_words())
        engine._send(load_message(spec, niceness))
        return engine

    async def load(self, on_progress: Callable[[float], None] = lambda _: None) -> None:
        """Wait until the model is loaded; what keeps it from that kills the worker."""
        try:
            await self._load(on_progress)
        except BaseException:
            await asyncio.shield(self.kill())
            raise

    async def _load(self, on_progress: Callable[[float], None]) -> None:
        while not isinstance(message := await self._next_while_loading(), Ready):
            match message:
                case Failed():
                    await self._drain_last_words()
                    raise LoadFailed(f"{self.name}: {message.message}{self._quoted_last_words()}")
                case Loading(fraction):
                    on_progress(fraction)
                    await asyncio.sleep(0)  # a listener that cancels the load need not wait
                case Pinning() | Pinned():
                    self._pins.take(message)
                case _:
                    kind = type(message).__name__
                    raise ProtocolError(f"{self.name}: {kind} came during the load")
        self.context_tokens = message.context_tokens
        for refusal in message.refusals:
            _warn_once(refusal)
        self._spawn(self._dispatch())

    async def _next_while_loading(self) -> AnyMessage:
        try:
            async with asyncio.timeout(SILENT_LOAD_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise LoadFailed(
                f"{self.name}: nothing was heard of the load for {SILENT_LOAD_SECONDS:.0f} s"
            ) from None
        if message is None:
            raise await self._post_mortem("while it loaded the model")
        return message

    def submit(self, generation: Generation) -> Stream:
        """Hand a request over; WorkerDied where there is no worker any more."""
        self._refuse_if_dead()
        job = Generate(next(self._ids), generation)
        self._send(job)
        stream = self._streams[job.id] = Stream(job.id, self._forget)
        return stream

    def _forget(self, job_id: int) -> None:
        if self._streams.pop(job_id, None) is not None and not self.died.done():
            self._send(Cancel(job_id))

    async def tokenize(self, text: str, *, special: bool) -> Sequence[int]:
        """Return the text's tokens, beginning-of-text first where the model wants one; control
        tokens are recognised where `special` is true. WorkerDied where the worker ends.
        """
        self._refuse_if_dead()
        number = next(self._ids)
        self._send(Tokenize(number, text, special))
        return await self._questions.tokens_of(number)

    async def detokenize(self, lists: Iterable[Sequence[int]]) -> Sequence[str]:
        """Return the text of each list of tokens, all in one question; control tokens have none.
        WorkerDied where the worker ends.
        """
        self._refuse_if_dead()
        number = next(self._ids)
        self._send(Detokenize(number, tuple(map(tuple, lists))))
        return await self._questions.texts_of(number)

    @property
    def pinned_bytes(self) -> int:
        """How many bytes of the weights are pinned, as the worker last said."""
        return self._pins.pinned_bytes

    async def pin(
        self, n_bytes: int, on_progress: Callable[[int], None] = lambda _: None
    ) -> Pinned:
        """Have the first `n_bytes` of the mapped weights kept in memory and no others.

        Returns what is pinned then, and the reason where that is less, such as a later call.
        WorkerDied where the worker ends before.
        """
        self._refuse_if_dead()
        self._send(Pin(n_bytes))
        return await self._pins.add(on_progress)

    def _refuse_if_dead(self) -> None:
        if self.died.done():
            raise copy.copy(self.died.result())  # each caller's own: it will carry a trace

    async def stop(self) -> None:
        """End the worker and wait until its memory is given back."""
        self._is_stopping = True
        self._writer.close()
        try:
            with contextlib.suppress(TimeoutError):  # it is stuck; `kill` does not ask
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
        finally:
            await self.kill()

    async def kill(self) -> None:
        """End the worker now, whatever it does."""
        self._is_stopping = True
        self._signal_kill()
        await self._process.wait()
        self._writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self.died.done():
            self.died.set_result(WorkerDied(f"{self.name}: the worker was stopped"))
        self._fail_all(self.died.result())

    def _signal_kill(self) -> None:
        # Not `Process.kill`: it may reap the child before asyncio's watcher, which then complains.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _send(self, message: FromParent) -> None:
        self._writer.write(frame(message))

    async def _receive(self) -> AnyMessage | None:
        """Wait for the worker's next message; None once it has closed its end."""
        try:
            header = await self._reader.readexactly(HEADER.size)
            return parse(await self._reader.readexactly(body_length(header)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def _dispatch(self) -> None:
        """Hand each event to its stream; at the worker's end, tell everybody who still waits."""
        try:
            while (message := await self._receive()) is not None:
                self._deliver(message)
            if self._is_stopping:
                return  # `kill` has the last word
            error: EngineError = await self._post_mortem("while it worked")
        except ProtocolError as garbage:
            error = garbage
            self._signal_kill()
            await self._process.wait()  # whoever hears of a death counts on its memory
        self.died.set_result(error)
        self._fail_all(error)

    def _deliver(self, message: AnyMessage) -> None:
        match message:
            case Text(job_id, text, logprobs):
                if stream := self._streams.get(job_id):
                    stream.put(Delta(text, logprobs))
            case Finished(job_id, finish, usage, timings, stopped_by):
                self._last_words = b""  # they were of work that ended well
                if stream := self._streams.pop(job_id, None):
                    stream.put(Done(finish, usage, timings, stopped_by))
            case Pinning() | Pinned():
                self._pins.take(message)
            case Tokenized() | Detokenized():
                self._questions.take(message)
            case Failed(int(job_id), code, text, hint):
                error = error_of(code, text, hint)
                if stream := self._streams.pop(job_id, None):
                    stream.put(error)
                else:
                    self._questions.refuse(job_id, error)
            case _:
                raise ProtocolError(f"{self.name}: {type(message).__name__} came while it worked")

    def _fail_all(self, error: EngineError) -> None:
        self._pins.fail(error)
        self._questions.fail(error)
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            # Each listener raises its own: an exception object carries one trace and one traceback.
            stream.put(type(error)(error.message, hint=error.hint))

    async def _post_mortem(self, when: str) -> WorkerDied:
        """Return what the worker, whose socket has closed, died of."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await self._process.wait()
        except TimeoutError:
            self._signal_kill()
            code = await self._process.wait()
        await self._drain_last_words()
        return WorkerDied(
            f"{self.name}: the worker {describe_end(code)} {when}{self._quoted_last_words()}",
            hint=advice(code),
        )

    async def _keep_last_words(self) -> None:
        assert self._process.stderr is not None
        while words := await self._process.stderr.read(LAST_WORDS_BYTES):
            self._last_words = (self._last_words + words)[-LAST_WORDS_BYTES:]

    async def _drain_last_words(self) -> None:
        """Wait, not for ever, until stderr has been read to its end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.shield(self._tasks[0])

    def _quoted_last_words(self) -> str:
        lines = self._last_words.decode(errors="replace").splitlines()
        return f"; its last words: {' | '.join(lines)}" if lines else ""


@functools.cache
def _warn_once(refusal: str) -> None:
    log.warning("a worker runs without what it asked for: %s", refusal)
