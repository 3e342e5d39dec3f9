"""One request of a script from its first byte to its one end, over a connection of its own.

It holds the server to the form: a whole answer, or a documented error with its status, or a stream
that ends exactly once. Whatever else comes is "broken", and nothing within the deadline is "hung".
"""

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from soak_script import Ask

from modelrouter.errors import error_of

WHOLE, LEFT, BROKEN, HUNG = "whole", "left", "broken", "hung"
LONGEST_SECONDS = 180.0
"""Far more than any request of the scripts needs in the worst line: what takes longer hangs."""

HEADERS = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class End:
    """How a request ended: WHOLE, LEFT (by its client's will), BROKEN, HUNG, or an error's code."""

    ask: Ask
    name: str
    said: str = ""
    """The answer's text, or the error's message."""
    had_text: bool = False
    model: str | None = None

    @property
    def is_lost(self) -> bool:
        """True where it ended in no way that a request of its kind may end."""
        if self.name == WHOLE:
            return self.ask.must_fail_with is not None
        is_leaver = self.ask.leaves_after_seconds or self.ask.leaves_after_texts is not None
        if self.name == LEFT:
            return not is_leaver
        return self.name not in {*self.ask.may_fail_with, self.ask.must_fail_with}


@dataclass
class Progress:
    """How far a request has come, for whoever watches from another thread."""

    ask: Ask
    texts: int = 0
    model: str | None = None


@dataclass
class Broken(Exception):
    """The server did not keep to the form."""

    said: str


class ClientLeaves(Exception):
    """The script says that the client closes the connection here."""


@dataclass
class Exchange:
    """One request with the server at `address`, "host:port"."""

    address: str
    progress: Progress
    said: str = ""
    ends_at: float = field(default_factory=lambda: time.monotonic() + LONGEST_SECONDS)

    def end(self) -> End:
        """Send the request and return its end."""
        connection = http.client.HTTPConnection(self.address, timeout=LONGEST_SECONDS)
        try:
            name = self._talk(connection)
        except ClientLeaves:
            name = LEFT
        except TimeoutError:
            name = HUNG if self.progress.ask.leaves_after_seconds is None else LEFT
        except Broken as broken:
            name, self.said = BROKEN, broken.said
        except (http.client.HTTPException, OSError, ValueError) as error:
            name, self.said = BROKEN, repr(error)
        finally:
            connection.close()
        seen = self.progress
        return End(seen.ask, name, self.said, had_text=seen.texts > 0, model=seen.model)

    def _talk(self, connection: http.client.HTTPConnection) -> str:
        ask = self.progress.ask
        connection.request("POST", "/v1/chat/completions", json.dumps(ask.body), HEADERS)
        self._leave_after_texts()
        if ask.leaves_after_seconds is not None:
            assert connection.sock is not None
            connection.sock.settimeout(ask.leaves_after_seconds)
        with connection.getresponse() as response:
            if response.status != http.client.OK:
                return self._error(json.load(response), response.status)
            self.progress.model = response.headers["x-modelrouter-model"]
            if ask.is_streamed:
                return self._stream(self._events(response))
            return self._whole(json.load(response))

    def _whole(self, answer: Any) -> str:
        self._check_finish(answer["choices"][0]["finish_reason"])
        self._check_usage(answer["usage"])
        self.said = answer["choices"][0]["message"]["content"]
        return WHOLE

    def _error(self, body: Any, status: int | None) -> str:
        """Return the error's code; `status` None: it came as an event of a stream."""
        ours = body["modelrouter"]
        documented = error_of(ours["code"], "", None)
        if documented.code != ours["code"]:
            raise Broken(f"no documented code: {body}")
        if status not in {None, documented.http_status}:
            raise Broken(f"status {status}: {body}")
        self.said = ours["message"]
        code: str = ours["code"]
        return code

    def _events(self, response: http.client.HTTPResponse) -> Iterator[Any]:
        """Yield the stream's events, "[DONE]" as None."""
        while line := response.readline():
            if time.monotonic() > self.ends_at:
                raise TimeoutError
            if line.startswith(b"data: [DONE]"):
                yield None
            elif line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))

    def _stream(self, events: Iterator[Any]) -> str:
        """Read the events to the end of the connection's answer: nothing may follow an end."""
        name = self._stream_end(events)
        if (more := next(events, "nothing")) != "nothing":
            raise Broken(f"after the end of the stream came {more}")
        return name

    def _stream_end(self, events: Iterator[Any]) -> str:
        for event in events:
            if event is None:
                raise Broken("[DONE] came before the end of the answer")
            if "error" in event:
                return self._error(event, None)
            self._read_chunk(event)
            if (finish := event["choices"][0]["finish_reason"]) is not None:
                self._check_finish(finish)
                return self._finished(event, events)
        raise Broken("the stream stopped without an end")

    def _read_chunk(self, chunk: Any) -> None:
        if text := chunk["choices"][0]["delta"].get("content"):
            self.progress.model = chunk["model"]
            self.progress.texts += 1
            self.said += text
            self._leave_after_texts()

    def _finished(self, last: Any, events: Iterator[Any]) -> str:
        self._check_usage(last["modelrouter"]["usage"])
        wants_usage = (self.progress.ask.body.get("stream_options") or {}).get("include_usage")
        if wants_usage and not (next(events) or {}).get("usage"):
            raise Broken("the chunk with the usage is missing")
        if next(events, "nothing") is not None:
            raise Broken("[DONE] is missing")
        return WHOLE

    def _leave_after_texts(self) -> None:
        most = self.progress.ask.leaves_after_texts
        if most is not None and self.progress.texts >= most:
            raise ClientLeaves

    def _check_finish(self, finish: str) -> None:
        if finish not in {"stop", "length"}:
            raise Broken(f"the answer finished with {finish!r}")

    def _check_usage(self, usage: Any) -> None:
        if not 0 <= usage["completion_tokens"] <= self.progress.ask.body["max_tokens"]:
            raise Broken(f"the answer has {usage['completion_tokens']} tokens")
