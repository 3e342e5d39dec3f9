"""The HTTP client that the CLI uses where a server runs: find it, ask it, read its stream.

Standard library only: it is on the way of every `ask`, and a larger client takes longer to import
than a small model takes to answer. It knows the wire, not the parts behind it.
"""

import contextlib
import http.client
import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from modelrouter.config import ConfigSource
from modelrouter.errors import ConfigError, EngineError, ModelRouterError, error_of
from modelrouter.types import Request
from modelrouter.whereabouts import Note

URL_VARIABLE = "MODELROUTER_URL"
KEY_VARIABLE = "MODELROUTER_API_KEY"

ALIVE_SECONDS = 1.0
SILENT_SECONDS = 60.0
"""A server that works sends a sign of life every ten seconds."""


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

    def ask(self, request: Request) -> "RemoteAnswer":
        """Send the request; the answer streams in as it is iterated."""
        return RemoteAnswer(self._post("/v1/chat/completions", _body(request) | {"stream": True}))

    def route(self, request: Request) -> dict[str, Any]:
        """Ask where the request would go, and why."""
        response = self._post("/v1/route", _body(request))
        with _our_dialect():
            explanation: dict[str, Any] = json.loads(response.read())
            return explanation

    def _post(self, path: str, body: dict[str, Any]) -> http.client.HTTPResponse:
        headers = {"content-type": "application/json"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        connection = http.client.HTTPConnection(self._host, self._port, timeout=SILENT_SECONDS)
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise _error_in(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"no answer from {self.url}: {error}") from error
        return response


class RemoteAnswer:
    """A streamed answer: iterate it for its texts; then `explanation` is there (Reply.to_json)."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        """Read the stream of `response`."""
        self._response = response
        self.explanation: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        for content in self._events():
            with _our_dialect():
                text = self._text_of(content)
            if text:
                yield text
        if not self.explanation:
            raise EngineError("the server closed the connection in the middle of the answer")

    def _text_of(self, content: dict[str, Any]) -> str:
        if "error" in content:
            raise _error_of_body(content)
        self.explanation = content.get("modelrouter", self.explanation)
        return "".join(choice["delta"].get("content") or "" for choice in content["choices"])

    def _events(self) -> Iterator[dict[str, Any]]:
        try:
            for line in self._response:
                if line.startswith(b"data: {"):
                    with _our_dialect():
                        content = json.loads(line.removeprefix(b"data: "))
                    yield content
        except TimeoutError as error:
            message = f"the server has been silent for {SILENT_SECONDS:.0f} s"
            raise EngineError(message) from error
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"the connection to the server broke: {error}") from error


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
def _our_dialect() -> Iterator[None]:
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
