"""An engine: a model's worker process as the parent sees it.

It starts the worker, hands requests over and tokens back, and knows when it died and of what. It
never looks inside a model and never decides whether one should run.
"""

import asyncio
import contextlib
import copy
import itertools
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

from modelrouter.engine.cores import physical_cores
from modelrouter.engine.protocol import (
    HEADER,
    AnyMessage,
    Cancel,
    Failed,
    Finished,
    FromParent,
    Generate,
    Load,
    Loading,
    ProtocolError,
    Ready,
    Text,
    body_length,
    frame,
    parse,
)
from modelrouter.errors import (
    EngineError,
    LoadFailed,
    ModelRouterError,
    WorkerDied,
    error_of,
)
from modelrouter.registry import ModelSpec
from modelrouter.types import Delta, Done, Piece, Sampling

SILENT_LOAD_SECONDS = 600.0
"""A load that tells nothing for so long is stuck. A mapped 40 GB file tells nothing while it is
read.
"""
STOP_SECONDS = 5.0
"""How long a worker may take to leave once its socket is closed, before it is killed."""
LAST_WORDS_BYTES = 4096

WORKER = (sys.executable, "-P", "-m", "modelrouter.engine.worker")
"""-P: a file named json.py in the user's folder must not become part of the worker."""

ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}
"""llama.cpp's threads meet hundreds of times a token. By default each spins for up to 300,000 turns
when another is late, and one busy program beside it on the box costs 99% of the speed; after 1,000
turns a sleep is cheaper. ADR 14 has the measurements.
"""

StreamEvent = Delta | Done


class Stream:
    """One request's answer as it comes: Deltas, then one Done; or the error that ended it."""

    def __init__(self, job_id: int, cancel: Callable[[int], None]) -> None:
        """Wait for the events of request `job_id`."""
        self._id = job_id
        self._cancel = cancel
        self._events: asyncio.Queue[StreamEvent | ModelRouterError] = asyncio.Queue()
        self._is_over = False
        self.done: Done | None = None
        """The end, once it has been read and was none of an error."""

    def put(self, event: StreamEvent | ModelRouterError) -> None:
        """Hand the next event over."""
        self._events.put_nowait(event)

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        return self

    async def __anext__(self) -> StreamEvent:
        if self._is_over:
            raise StopAsyncIteration
        event = await self._events.get()
        if isinstance(event, Delta):
            return event
        self._is_over = True
        if isinstance(event, Done):
            self.done = event
            return event
        raise event

    def cancel(self) -> None:
        """Stop the work, where it is not over: nobody will listen any more."""
        if not self._is_over:
            self._is_over = True
            self._cancel(self._id)


class Engine:
    """A loaded model in its worker process. Made by `Engine.start`."""

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
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = await _spawn_worker(spec.name, theirs)
            except BaseException:
                writer.transport.abort()
                raise
        engine = cls(spec.name, process, reader, writer)
        try:
            await engine._load(_load_message(spec), on_progress)
        except BaseException:
            await asyncio.shield(engine.kill())
            raise
        return engine

    async def _load(self, load: Load, on_progress: Callable[[float], None]) -> None:
        self._spawn(self._keep_last_words())
        self._send(load)
        while not isinstance(message := await self._next_while_loading(), Ready):
            if isinstance(message, Failed):
                await self._drain_last_words()
                raise LoadFailed(f"{self.name}: {message.message}{self._quoted_last_words()}")
            if not isinstance(message, Loading):
                raise ProtocolError(f"{self.name}: {type(message).__name__} came during the load")
            on_progress(message.fraction)
            await asyncio.sleep(0)  # a listener that cancels the load need not wait for its end
        self.context_tokens = message.context_tokens
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

    def submit(
        self,
        pieces: Sequence[Piece],
        *,
        max_tokens: int | None,
        stop: Sequence[str],
        sampling: Sampling,
    ) -> Stream:
        """Hand a request over; WorkerDied where there is no worker any more."""
        if self.died.done():
            raise copy.copy(self.died.result())  # each caller's own: it will carry a trace
        job = Generate(next(self._ids), tuple(pieces), max_tokens, tuple(stop), sampling)
        self._send(job)
        stream = self._streams[job.id] = Stream(job.id, self._forget)
        return stream

    def _forget(self, job_id: int) -> None:
        if self._streams.pop(job_id, None) is not None and not self.died.done():
            self._send(Cancel(job_id))

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
        self._fail_streams(self.died.result())

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
        self.died.set_result(error)
        self._fail_streams(error)

    def _deliver(self, message: AnyMessage) -> None:
        match message:
            case Text(job_id, text):
                if stream := self._streams.get(job_id):
                    stream.put(Delta(text))
            case Finished(job_id, finish, usage, timings):
                self._last_words = b""  # they were of work that ended well
                if stream := self._streams.pop(job_id, None):
                    stream.put(Done(finish, usage, timings))
            case Failed(int(job_id), code, text, hint):
                if stream := self._streams.pop(job_id, None):
                    stream.put(error_of(code, text, hint))
            case _:
                raise ProtocolError(f"{self.name}: {type(message).__name__} came while it worked")

    def _fail_streams(self, error: EngineError) -> None:
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
            f"{self.name}: the worker {_describe_end(code)} {when}{self._quoted_last_words()}",
            hint=_advice(code),
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


async def _spawn_worker(name: str, connection: socket.socket) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *WORKER,
            str(connection.fileno()),
            pass_fds=[connection.fileno()],
            env=ENVIRONMENT | os.environ,  # whoever sets it for themselves knows better
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # the terminal's Ctrl-C must not reach it
        )
    except OSError as error:
        raise LoadFailed(f"{name}: no worker could be started: {error}") from error


def _load_message(spec: ModelSpec) -> Load:
    return Load(
        path=str(spec.facts.path),
        whole=spec.is_resident,
        context_tokens=spec.context_tokens,
        slots=spec.slots,
        batch_rows=spec.batch_rows,
        kv_type=spec.kv_type,
        threads=spec.threads or physical_cores(),
    )


def _describe_end(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    names = {known.value: known.name for known in signal.Signals}
    return f"was ended by signal {-code} ({names.get(-code, 'real-time')})"


def _advice(code: int) -> str | None:
    if code == -signal.SIGKILL:
        return "probably out of memory: the kernel ends the largest; lower `context` or `slots`"
    if code == -signal.SIGBUS:
        return "the model file was cut short or its disk failed while it was mapped"
    return None
