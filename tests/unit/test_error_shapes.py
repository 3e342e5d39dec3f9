"""Errors on the wire: the shape of each dialect, whether an SDK should ask again, and the name of
the request.
"""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from modelrouter.errors import (
    CapacityError,
    DeadlineExceeded,
    ModelRouterError,
    NeverFits,
    NoModel,
    PromptTooLong,
    QueueFull,
    RequestError,
    SlotsBusy,
    WorkerDied,
)
from modelrouter.server.errors import add_error_handlers
from modelrouter.server.request_id import RequestIds
from modelrouter.trace import Trace


def client_of(error: Exception) -> TestClient:
    """Return a client of a server whose every path raises the error."""
    asgi = FastAPI()
    add_error_handlers(asgi)
    asgi.add_middleware(RequestIds)

    @asgi.get("/{path:path}")
    async def fail(path: str) -> None:  # noqa: ARG001 - all are the same
        raise error

    return TestClient(asgi, raise_server_exceptions=False)


LONG = PromptTooLong("9 tokens; the context holds 8", hint="shorten it")


def test_openai_paths_have_openai_errors() -> None:
    """Message with its hint, type, param and code; llama.cpp's paths have the same."""
    for path in ("/v1/chat/completions", "/infill", "/elsewhere"):
        response = client_of(LONG).get(path)
        assert response.status_code == 400
        assert response.json()["error"] == {
            "message": "9 tokens; the context holds 8 (shorten it)",
            "type": "invalid_request_error",
            "param": None,
            "code": "context_length_exceeded",
        }


def test_ollama_paths_have_one_string() -> None:
    """Ollama's clients show `error` where it is a string, and nothing else."""
    response = client_of(QueueFull("2 requests wait")).get("/api/chat")
    assert (response.status_code, response.json()) == (429, {"error": "2 requests wait"})
    assert client_of(ValueError()).get("/api/chat").json() == {
        "error": "a mistake of the server's own: ValueError"
    }


def test_anthropic_paths_have_typed_errors() -> None:
    """Type and message; a long prompt in the words that make an agent shorten it."""
    response = client_of(LONG).get("/v1/messages/count_tokens")
    message = "prompt is too long: 9 tokens; the context holds 8 (shorten it)"
    assert response.status_code == 400
    assert response.json() == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": message},
    }
    kind = client_of(SlotsBusy("busy")).get("/v1/messages").json()["error"]["type"]
    assert kind == "overloaded_error"


@pytest.mark.parametrize(
    ("error", "may_retry", "seconds"),
    [
        (QueueFull, True, "5"),
        (SlotsBusy, True, "5"),
        (CapacityError, True, "5"),
        (NoModel, False, "5"),
        (DeadlineExceeded, False, "60"),
        (NeverFits, False, "3600"),
        (WorkerDied, False, None),
        (RequestError, False, None),
    ],
)
def test_an_sdk_repeats_only_what_was_not_begun(
    error: Callable[[str], ModelRouterError], seconds: str | None, *, may_retry: bool
) -> None:
    """A full line may be tried again; what cost minutes of work may not, whatever its status."""
    headers = client_of(error("why")).get("/v1/models").headers
    assert headers["x-should-retry"] == str(may_retry).lower()
    assert headers.get("retry-after") == seconds


def test_an_error_tells_how_far_its_request_came() -> None:
    """The trace's decisions are headers of the error too."""
    error = QueueFull("full")
    error.trace = Trace()
    error.trace.note("decide", rule="code")
    assert client_of(error).get("/v1/models").headers["x-modelrouter-rule"] == "code"


@pytest.mark.parametrize("error", [QueueFull("full"), ValueError()])
def test_every_answer_names_its_request(error: Exception) -> None:
    """A caller's name comes back, also on the server's own mistakes; a name that could break a log
    is replaced.
    """
    client = client_of(error)
    named = client.get("/", headers={"x-request-id": "a-1/b"})
    assert named.headers["x-request-id"] == "a-1/b"
    for odd in ("", "a b", "x" * 129, "a\x7f"):
        made = client.get("/", headers={"x-request-id": odd}).headers["x-request-id"]
        assert len(made) == 32
        assert made.isalnum()
