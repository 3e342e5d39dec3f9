"""The HTTP client that the CLI uses where a server runs: find it, ask it, read its stream.

Standard library only: it is on the way of every `ask`, and a larger client takes longer to import
than a small model takes to answer. It knows the wire, not the parts behind it.
"""

import contextlib
import http.client
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

from modelrouter.config import ConfigSource
from modelrouter.errors import ConfigError, EngineError, ModelRouterError, NoServer, error_of
from modelrouter.types import Request
from modelrouter.whereabouts import Note

URL_VARIABLE = "MODELROUTER_URL"
KEY_VARIABLE = "MODELROUTER_API_KEY"

ALIVE_SECONDS = 1.0
SILENT_SECONDS = 60.0
"""A server that works sends a sign of life every ten seconds, or sooner."""

KEEP_ALIVE = "keep-alive"
"""The comment in a stream that says nothing but that the server lives."""

OnWait: TypeAlias = Callable[[str], None]
"""Hears what the server says it waits for; "" where it says only that it lives."""


def find_server(source: ConfigSource, policy: str | None) -> "Client | None":
    """Return a client of the server to ask, None where there is none.

    `$MODELROUTER_URL` names one; else the one that runs on this machine, if it serves this very
    models.toml, and this policy where one is asked for.
    """
    key = os.environ.get(KEY_VARIABLE)
    if url := os.environ.get(URL_VARIABLE):
        if policy is not None or source.origin == "--config":
            raise ConfigError(
                f"${URL_VARIABLE} names a server, which has a models.toml and a policy of its own",
                hint="unset it, or leave out --config and --policy",
            )
        return Client(url, key)
    note = Note.read()
    if note is None or note.config != str(source.path) or policy not in {None, note.policy}:
        return None
    client = Client(note.url, key)
    return client if client.is_there() else None


def running_server(source: ConfigSource) -> "Client":
    """Return a client of the server that `ask` would ask; NoServer where there is none."""
    if (client := find_server(source, None)) is not None:
        return client
    hint = "start one with: modelrouter serve"
    if (note := Note.read()) is not None and Client(note.url, None).is_there():
        hint = f"one runs for {note.config}: name that file with --config"
    raise NoServer(f"no server runs for {source.path}, so no model is loaded", hint=hint)


class Client:
    """One server's address."""

    def __init__(self, url: str, key: str | None) -> None:
        """Speak to the server at `url`, such as http://127.0.0.1:8012."""
        self.url = url
        self._host, self._port = _address(url)
        if key is not None and not (key.isascii() and key.isprintable()):
            raise ConfigError(f"${KEY_VARIABLE} holds characters that no HTTP header can carry")
        self._key = key

    def is_there(self) -> bool:
        """Tell whether a server answers there, within a second."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=ALIVE_SECONDS)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def ask(self, request: Request, on_wait: OnWait = lambda _: None) -> "RemoteAnswer":
        """Send the request; the answer streams in as it is iterated."""
        body = _body(request) | {"stream": True}
        return RemoteAnswer(self._send("POST", "/v1/chat/completions", body), on_wait)

    def route(self, request: Request) -> dict[str, Any]:
        """Ask where the request would go, and why."""
        return _content_of(self._send("POST", "/v1/route", _body(request)))

    def status(self) -> dict[str, Any]:
        """Ask who has what of the budget (Status.to_json)."""
        return _content_of(self._send("GET", "/admin/status"))

    def statuses(self) -> Iterator[dict[str, Any]]:
        """Yield the status now and with each change; NoServer once the server stops."""
        response = self._send("GET", "/admin/status?stream=true")
        yield from _events(response, lambda _: None)
        raise NoServer(f"the server at {self.url} has stopped")

    def load(self, model: str, on_wait: OnWait) -> str:
        """Load a model, wait until it is there, and return its state."""
        return self._done(model, "load", on_wait)

    def unload(self, model: str, on_wait: OnWait) -> str:
        """Unload a model, wait until its memory is back, and return its state."""
        return self._done(model, "unload", on_wait)

    def _done(self, model: str, what: str, on_wait: OnWait) -> str:
        name = quote(model, safe="", errors="surrogateescape")
        response = self._send("POST", f"/admin/models/{name}/{what}?stream=true")
        for place in _events(response, on_wait):
            with our_dialect():
                return str(place["state"])
        raise EngineError(f"the server closed the connection before the {what} was done")

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> http.client.HTTPResponse:
        headers = {"content-type": "application/json"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        connection = http.client.HTTPConnection(self._host, self._port, timeout=SILENT_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise _error_in(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"no answer from {self.url}: {error}") from error
        return response


class RemoteAnswer:
    """A streamed answer: iterate it for its texts; then `explanation` is there (Reply.to_json)."""

    def __init__(self, response: http.client.HTTPResponse, on_wait: OnWait) -> None:
        """Read the stream of `response`."""
        self._events = _events(response, on_wait)
        self.explanation: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        for content in self._events:
            with our_dialect():
                text = self._text_of(content)
            if text:
                yield text
        if not self.explanation:
            raise EngineError("the server closed the connection in the middle of the answer")

    def _text_of(self, content: dict[str, Any]) -> str:
        self.explanation = content.get("modelrouter", self.explanation)
        return "".join(choice["delta"].get("content") or "" for choice in content["choices"])


def _events(response: http.client.HTTPResponse, on_wait: OnWait) -> Iterator[dict[str, Any]]:
    """Yield what the events of a stream hold; raise the error that one of them is."""
    try:
        for line in response:
            if line.startswith(b"data: {"):
                yield _content(line.removeprefix(b"data: "))
            elif line.startswith(b":"):
                said = line.removeprefix(b":").decode(errors="replace").strip()
                on_wait("" if said == KEEP_ALIVE else said)
    except TimeoutError as error:
        message = f"the server has been silent for {SILENT_SECONDS:.0f} s"
        raise EngineError(message) from error
    except (OSError, http.client.HTTPException) as error:
        raise EngineError(f"the connection to the server broke: {error}") from error


def _content_of(response: http.client.HTTPResponse) -> dict[str, Any]:
    return _content(response.read())


def _content(data: bytes) -> dict[str, Any]:
    with our_dialect():
        content: dict[str, Any] = json.loads(data)
        if "error" in content:
            raise _error_of_body(content)
        return content


def _address(url: str) -> tuple[str, int]:
    """Return host and port of an URL; ConfigError where there is more or less to it."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port or 80
    except ValueError:
        host = ""
    if not host or " " in host or parts.scheme != "http" or parts.path not in {"", "/"}:
        raise ConfigError(f"${URL_VARIABLE} is {url!r}, expected http://HOST:PORT")
    return host, port


@contextlib.contextmanager
def our_dialect() -> Iterator[None]:
    """Turn what a foreign server's answers set off into an EngineError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"the server does not speak modelrouter's dialect: {error!r}",
            hint=f"${URL_VARIABLE} should name a `modelrouter serve`",
        ) from error


def _body(request: Request) -> dict[str, Any]:
    messages = [{"role": m.speaker, "content": m.content} for m in request.messages]
    return {
        "messages": messages,
        "model": request.model,
        "max_tokens": request.max_tokens,
        "stop": list(request.stop),
        "cache": request.use_cache,
        "timeout": request.seconds,
        "tags": sorted(request.tags),
        **request.sampling,
    }


def _error_in(status: int, body: bytes) -> ModelRouterError:
    try:
        return _error_of_body(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError):
        return EngineError(f"the server answered {status}: {body[:200].decode(errors='replace')}")


def _error_of_body(body: dict[str, Any]) -> ModelRouterError:
    """Return the server's error as its own class; one that is not ours in the server's words."""
    ours = body.get("modelrouter")
    if ours is None:
        return EngineError(f"the server says: {body['error']['message']}")
    return error_of(ours["code"], ours["message"], ours["hint"])
