"""Workers that are killed while they load, prefill and decode: a clear error, and life goes on."""

import json
import threading
from itertools import takewhile
from typing import Any

from program import Server

LONG = "one two three " * 2500


class Asking(threading.Thread):
    """A request on its way in a thread of its own."""

    def __init__(self, server: Server, content: str, max_tokens: int) -> None:
        """Send the request at once."""
        super().__init__()
        self.status, self.answer = 0, {}
        self._server = server
        self._body = {"messages": [{"role": "user", "content": content}], "max_tokens": max_tokens}
        self.start()

    def run(self) -> None:
        """Wait for the answer."""
        self.status, self.answer = self._server.post("/v1/chat/completions", self._body)

    def ended(self) -> tuple[int, Any]:
        """Return the status and the answer."""
        self.join()
        return self.status, self.answer


def assert_killed(status: int, answer: Any, when: str) -> None:
    """The error says which model, which signal, when, and what it probably was."""
    assert status == 502
    assert answer["modelrouter"]["message"].startswith(
        f"smollm2: the worker was ended by signal 9 (SIGKILL) {when}"
    )
    assert "probably out of memory" in answer["error"]["message"]


def assert_answers(server: Server) -> None:
    """The next request is answered, by a new worker."""
    status, answer = Asking(server, "Hi", 4).ended()
    assert (status, answer["usage"]["completion_tokens"]) == (200, 4)


def test_killed_while_it_loads(starter: Server) -> None:
    """A worker killed in its load fails those who wait for it, and the next request loads anew."""
    asking = Asking(starter, "Hi", 4)
    while not (workers := starter.workers()):
        pass
    workers[0].kill()
    assert_killed(*asking.ended(), "while it loaded the model")
    assert_answers(starter)


def test_killed_in_prefill(starter: Server) -> None:
    """A worker killed while it reads a long prompt fails that request alone."""
    asking = Asking(starter, LONG, 4)
    starter.wait_for("smollm2", state="ready", active=1)
    starter.workers()[0].kill()
    assert_killed(*asking.ended(), "while it worked")
    assert_answers(starter)


def test_killed_while_it_decodes(starter: Server) -> None:
    """A stream cut off by the worker's death ends with an error event, not in silence."""
    question = {"role": "user", "content": "Count to one thousand, in words"}
    body = {"messages": [question], "max_tokens": 2000, "stream": True, "temperature": 0}
    body["logit_bias"] = {"0": -100, "2": -100}  # its two ends: it goes on until it is killed
    with starter.begin(body) as connection, connection.makefile("rb") as lines:
        while b'"delta":{"content":"' not in lines.readline():
            pass
        starter.workers()[0].kill()
        # The last chunk is the end, which leaves the connection open.
        until_the_end = takewhile(lambda line: line != b"0\r\n", lines)
        last = [line for line in until_the_end if line.startswith(b"data: ")][-1]
    error = json.loads(last.removeprefix(b"data: "))
    assert error["modelrouter"]["code"] == "worker_died"
    assert_answers(starter)


def test_the_budget_of_one_model_is_given_back(starter: Server) -> None:
    """After a death the model's state is told as it is: unloaded."""
    assert_answers(starter)
    starter.workers()[0].kill()
    starter.wait_for("smollm2", state="unloaded")
    assert not starter.workers()
