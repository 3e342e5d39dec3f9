"""The worker: one model in a process of its own, from its first message to the closing of the
socket.

It knows its parent only by the messages on file descriptor `argv[1]`. The main thread loads and
decodes; a reader thread takes messages in, so that a cancel can end the very pass that runs; a
third one pins, and a fourth reads ahead what is not pinned.
"""

import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from modelrouter.engine.backend import Backend, Row
from modelrouter.engine.batcher import Batcher, Event
from modelrouter.engine.niceness import take_place
from modelrouter.engine.protocol import (
    HEADER,
    Answered,
    AnyMessage,
    Cancel,
    Detokenize,
    Detokenized,
    Failed,
    FromWorker,
    Generate,
    Load,
    Loading,
    Pin,
    ProtocolError,
    Question,
    Ready,
    Tokenize,
    Tokenized,
    body_length,
    frame,
    parse,
)
from modelrouter.engine.residency import Residency
from modelrouter.engine.stream import Stream
from modelrouter.errors import EngineError, ModelRouterError
from modelrouter.generation import Piece

if TYPE_CHECKING:
    from modelrouter.engine.llama import LlamaBackend

LOADING_STEPS = 50
"""How often a load's progress is told, at most."""


class Channel:
    """The worker's end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        """Speak over a connected stream socket."""
        self._connection = connection
        self._incoming = connection.makefile("rb")
        self._sending = threading.Lock()

    def send(self, *messages: FromWorker) -> None:
        """Send the messages in one write; from any thread."""
        data = b"".join(frame(message) for message in messages)
        with self._sending:
            self._connection.sendall(data)

    def receive(self) -> AnyMessage | None:
        """Wait for the next message; None once the parent has closed."""
        header = self._incoming.read(HEADER.size)
        if len(header) < HEADER.size:
            return None
        return parse(self._incoming.read(body_length(header)))


class Inbox:
    """What the parent has sent, taken in by a thread of its own from the first moment on."""

    def __init__(self, channel: Channel, pin: Callable[[int], None]) -> None:
        """Hand goals of pinning to `pin` as they come, keep the other messages in order."""
        self.messages: queue.SimpleQueue[AnyMessage] = queue.SimpleQueue()
        self.cancelled: set[int] = set()
        self.on_cancel: Callable[[], None] = lambda: None
        """Called in the reader thread whenever `cancelled` has grown."""
        self._channel = channel
        self._pin = pin

    def start(self) -> None:
        """Start the reader thread."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while (message := self._receive()) is not None:
            if isinstance(message, Pin):
                self._pin(message.n_bytes)
                continue
            if isinstance(message, Cancel):
                self.cancelled.add(message.id)
                self.on_cancel()
            self.messages.put(message)
        os._exit(0)  # the parent is gone; freeing gigabytes politely would only keep them longer

    def _receive(self) -> AnyMessage | None:
        try:
            return self._channel.receive()
        except ProtocolError as error:
            sys.stderr.write(f"{error}\n")
        except OSError:
            pass
        return None


class Worker:
    """The loaded model's loop: messages in, passes, events out."""

    def __init__(
        self, channel: Channel, inbox: Inbox, backend: Backend, stream: Stream | None
    ) -> None:
        """Serve the parent at the other end of `channel`; `stream` hears of each pass."""
        self._channel = channel
        self._backend = backend
        self._stream = stream
        self._batcher = Batcher(backend, time.perf_counter)
        self._messages = inbox.messages
        self._cancelled = inbox.cancelled
        inbox.on_cancel = self._end_unwanted_pass

    def run(self) -> None:
        """Work until the parent closes the socket; that ends the process, so this never returns."""
        while True:
            self._take_messages()
            self._pass()

    def _take_messages(self) -> None:
        """Take in every message that is there; with nothing to decode, wait for one."""
        events: list[Event] = []
        while self._batcher.is_idle or not self._messages.empty():
            match self._messages.get():
                case Generate() as job:
                    events += self._batcher.submit(job)
                case Cancel(job_id):
                    events += self._batcher.cancel(job_id)
                    self._cancelled.discard(job_id)
                case Tokenize() | Detokenize() as question:
                    self._channel.send(self._answer(question))
            if events and self._batcher.is_idle:  # an end must not wait for the next message
                self._channel.send(*events)
                events.clear()
        if events:
            self._channel.send(*events)

    def _answer(self, question: Question) -> Answered | Failed:
        """Return the answer to what costs no pass."""
        try:
            if isinstance(question, Tokenize):
                tokens = self._backend.tokenize([Piece(question.text, question.special)])
                return Tokenized(question.id, tuple(tokens))
            return Detokenized(question.id, tuple(map(self._text_of, question.lists)))
        except ModelRouterError as error:
            return Failed(question.id, error.code, error.message, error.hint)

    def _text_of(self, tokens: Sequence[int]) -> str:
        return b"".join(map(self._backend.bytes_of, tokens)).decode(errors="replace")

    def _pass(self) -> None:
        rows = self._batcher.plan()
        if self._is_wanted():
            try:
                events = self._batcher.commit(decoded=self._decode(rows))
            except ModelRouterError as error:
                events = self._batcher.fail(error)
            if events:
                self._channel.send(*events)

    def _decode(self, rows: Sequence[Row]) -> bool:
        if self._stream is None:
            return self._backend.decode(rows)
        self._stream.pass_begins()
        try:
            return self._backend.decode(rows)
        finally:
            self._stream.pass_ends()

    def _is_wanted(self) -> bool:
        return not self._batcher.passing <= self._cancelled

    def _end_unwanted_pass(self) -> None:
        """End a running pass that a cancel has left without a listener; in the reader thread.

        The main thread says who rides (`passing`), then looks who has cancelled; the reader notes
        the cancel, then looks who rides. Whichever comes second sees both, so no pass runs for
        nobody. A pass that others ride too goes on: they would have to do it again.
        """
        passing = self._batcher.passing
        if passing and passing <= self._cancelled:
            self._backend.interrupt()


def first_message(channel: Channel) -> Load:
    """Wait for the message that says what to load."""
    message = channel.receive()
    if not isinstance(message, Load):
        raise EngineError(f"expected Load, got {type(message).__name__}")
    return message


def load_model(load: Load, channel: Channel) -> "LlamaBackend":
    """Load the model, telling the progress."""
    # llama_cpp is imported here, so that a worker that is never asked to load costs nothing.
    from modelrouter.engine.llama import LlamaBackend  # noqa: PLC0415

    told = -1

    def tell(fraction: float) -> None:
        nonlocal told
        if int(fraction * LOADING_STEPS) > told:
            told = int(fraction * LOADING_STEPS)
            channel.send(Loading(fraction))

    return LlamaBackend(load, tell)


def open_inbox(channel: Channel, residency: Residency) -> Inbox:
    """Start the threads that take messages in and pin."""
    residency.start()
    inbox = Inbox(channel, residency.pin)
    inbox.start()
    return inbox


def open_stream(load: Load, residency: Residency) -> Stream | None:
    """Start the thread that reads ahead what is not pinned; None where nothing is mapped."""
    if not load.weights:
        return None
    stream = Stream(load.weights, load.window_bytes, lambda: residency.pinned_bytes)
    stream.start()
    return stream


def main() -> None:
    """Run the worker on the socket whose file descriptor is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    # At an abort ggml would call a debugger, whose pages bury the last words of llama.cpp itself.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    try:
        load = first_message(channel)
        # Before the worker takes its place: a cancel, the disk, or memory to be given back, must
        # not wait behind the programs that the model's own threads give way to.
        residency = Residency(load.weights, channel.send)
        inbox, stream = open_inbox(channel, residency), open_stream(load, residency)
        refusals = take_place(load)
        backend = load_model(load, channel)
        if stream is not None:
            stream.follow(backend.mappings)
    except ModelRouterError as error:
        channel.send(Failed(None, error.code, error.message, error.hint))
        sys.stderr.flush()
        os._exit(1)  # the reader cannot be asked to leave: it waits for the parent
    channel.send(Ready(backend.context_tokens, backend.slots, refusals + backend.refusals))
    Worker(channel, inbox, backend, stream).run()


if __name__ == "__main__":
    main()
