"""`/admin`: what runs, models loaded and unloaded by hand, and what a stream says of its wait."""

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.request import Request, urlopen

import psutil
import pytest
from program import USER_HI, Serve, Server, write_config

HalfLoaded: TypeAlias = tuple[Server, psutil.Process]

CHAT = {"messages": USER_HI, "max_tokens": 4, "stream": True, "cache": False}


@contextmanager
def stream(server: Server, method: str, path: str) -> Iterator[Iterator[bytes]]:
    """Yield the lines of a stream that are not empty."""
    request = Request(server.url + path, method=method)
    with urlopen(request, timeout=50) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        yield (line.strip() for line in response if line.strip())


def data_of(line: bytes) -> Any:
    """Return what the event holds."""
    return json.loads(line.removeprefix(b"data: "))


def test_the_status_says_who_has_what(server: Server) -> None:
    """Budget, use, and for each model state, footprint, slots, line and process."""
    status, before = server.get("/admin/status")
    assert (status, before["used_bytes"], before["models"][0]["state"]) == (200, 0, "unloaded")
    assert server.post("/v1/chat/completions", {**CHAT, "stream": False})[0] == 200
    _, after = server.get("/admin/status")
    (tiny,) = after["models"]
    assert after["used_bytes"] == tiny["footprint_bytes"] + tiny["pinned_bytes"]
    assert after["used_bytes"] <= after["budget_bytes"]
    assert (tiny["state"], tiny["slots"], tiny["active"], tiny["waiting"]) == ("ready", 1, 0, 0)
    assert [tiny["pid"]] == [worker.pid for worker in server.workers()]


def test_a_model_is_loaded_and_unloaded_by_hand(server: Server) -> None:
    """Each waits until it is done, says what has come of it, and may be asked for twice."""
    for _ in range(2):
        status, place = server.post("/admin/models/tiny/load", b"")
        assert (status, place["state"]) == (200, "ready")
    assert len(server.workers()) == 1
    for _ in range(2):
        status, place = server.post("/admin/models/tiny/unload", b"")
        assert (status, place["state"], place["pid"]) == (200, "unloaded", None)
    assert not server.workers()


def test_a_resident_model_leaves_by_hand_and_comes_back(
    serve: Serve, tmp_path: Path, tiny_gguf: Path
) -> None:
    """Nothing evicts it, but a person may; the next request brings it back."""
    config = write_config(tmp_path / "r", tiny_gguf, 'residency = "resident"')
    text = config.read_text().replace("[models.tiny]", '[models."a/b"]')
    config.write_text(text.replace('["tiny"]', '["a/b"]'))
    server = serve(config)
    assert server.post("/admin/models/a/b/load", b"")[1]["state"] == "ready"
    assert server.post("/admin/models/a%2Fb/unload", b"")[1]["state"] == "unloaded"
    assert server.post("/v1/chat/completions", {**CHAT, "stream": False})[0] == 200


@pytest.mark.parametrize("query", ["", "?stream=true"])
@pytest.mark.parametrize("what", ["load", "unload"])
def test_a_name_that_is_none(server: Server, what: str, query: str) -> None:
    """404 with the names there are and the nearest, in the usual shape."""
    status, answer = server.post(f"/admin/models/tinny/{what}{query}", b"")
    assert (status, answer["error"]["code"]) == (404, "unknown_model")
    assert answer["modelrouter"]["hint"] == 'did you mean "tiny"?'


def test_a_model_whose_file_is_missing(serve: Serve, tmp_path: Path, tiny_gguf: Path) -> None:
    """It is told why the model cannot be used, not that there is none of the name."""
    config = write_config(tmp_path / "two", tiny_gguf)
    config.write_text(config.read_text() + '[models.gone]\npath = "/nowhere/gone.gguf"\n')
    status, answer = serve(config).post("/admin/models/gone/load", b"")
    assert (status, answer["error"]["code"]) == (503, "no_model")
    assert "/nowhere/gone.gguf" in answer["error"]["message"]


def test_what_never_fits_is_507(serve: Serve, tmp_path: Path, tiny_gguf: Path) -> None:
    """A model larger than the budget is refused with the numbers, and no worker is started."""
    config = write_config(tmp_path / "small", tiny_gguf)
    config.write_text(config.read_text() + '[budget]\nram = "2MiB"\nreserve = "1MiB"\n')
    server = serve(config)
    status, answer = server.post("/admin/models/tiny/load", b"")
    assert (status, answer["error"]["code"]) == (507, "never_fits")
    assert "the budget is 1.0 MiB" in answer["error"]["message"]
    assert not server.workers()


def test_a_load_that_fails_is_502_and_stays_in_the_status(
    serve: Serve, tmp_path: Path, tiny_gguf: Path
) -> None:
    """The answer says why, and so does the status, until the next load."""
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_gguf.read_bytes())
    server = serve(write_config(tmp_path / "moving", path))
    path.write_bytes(tiny_gguf.read_bytes()[:-32])
    status, answer = server.post("/admin/models/tiny/load", b"")
    assert (status, answer["error"]["code"]) == (502, "load_failed")
    place = server.place("tiny")
    assert (place["failures"], place["problem"]) == (1, answer["modelrouter"]["message"])


def test_the_key_is_asked_for_here_too(serve: Serve, tiny_config: Path) -> None:
    """Whoever may not ask may not look or unload either."""
    server = serve(tiny_config, MODELROUTER_API_KEY="secret")
    assert server.get("/admin/status")[0] == 401
    assert server.post("/admin/models/tiny/load", b"")[0] == 401
    assert server.post("/admin/models/tiny/unload", b"")[0] == 401
    assert server.get("/admin/status", **{"x-api-key": "secret"})[0] == 200


def test_the_status_as_a_stream(server: Server) -> None:
    """It begins with what is, and goes on with each change until the server stops."""
    with stream(server, "GET", "/admin/status?stream=true") as lines:
        events = (line for line in lines if not line.startswith(b":"))
        states = [data_of(next(events))["models"][0]["state"]]
        server.post("/admin/models/tiny/load", b"")
        while states[-1] != "ready":
            states.append(data_of(next(events))["models"][0]["state"])
        server.process.send_signal(signal.SIGTERM)
        assert list(events)[-1] == b"data: [DONE]"
    assert list(dict.fromkeys(states)) == ["unloaded", "loading", "ready"]


@pytest.fixture
def half_loaded(serve: Serve, tmp_path: Path, starter_gguf: Path) -> HalfLoaded:
    """A server whose one model is being loaded, and its worker, stopped on the way."""
    settings = ('residency = "resident"', "context = 512")
    server = serve(write_config(tmp_path / "one", starter_gguf, *settings, name="smollm2"))
    return server, server.stop_half_loaded("smollm2")


def test_who_only_watches_keeps_no_server_alive(half_loaded: HalfLoaded) -> None:
    """Told to stop, the server does not wait for watchers and loads as it does for answers."""
    server, _ = half_loaded
    assert server.process.stderr is not None
    with (
        stream(server, "GET", "/admin/status?stream=true") as watching,
        stream(server, "POST", "/admin/models/smollm2/load?stream=true") as loading,
    ):
        assert next(loading).startswith(b": loading smollm2 ")
        server.process.send_signal(signal.SIGTERM)
        assert "the server is shutting down" in data_of(list(loading)[-1])["error"]["message"]
        assert list(watching)[-1] == b"data: [DONE]"
    assert server.process.wait(20) == -signal.SIGTERM
    assert "graceful shutdown exceeded" not in server.process.stderr.read()


def test_a_load_tells_how_far_it_is(half_loaded: HalfLoaded) -> None:
    """Comments say the share that is loaded; the last event is the model's place."""
    server, worker = half_loaded
    with stream(server, "POST", "/admin/models/smollm2/load?stream=true") as lines:
        assert re.fullmatch(rb": loading smollm2 \d+%", next(lines))
        worker.resume()
        place, end = [line for line in lines if line.startswith(b"data: ")]
    assert (data_of(place)["state"], end) == ("ready", b"data: [DONE]")


def test_a_load_that_dies_ends_its_stream_with_the_error(
    half_loaded: HalfLoaded,
) -> None:
    """What goes wrong after the stream has begun is an event, and the last."""
    server, worker = half_loaded
    with stream(server, "POST", "/admin/models/smollm2/load?stream=true") as lines:
        next(lines)
        worker.kill()
        last = data_of(list(lines)[-1])
    assert last["modelrouter"]["code"] == "worker_died"
    assert "while it loaded the model" in last["error"]["message"]


def test_a_load_that_is_called_off(half_loaded: HalfLoaded) -> None:
    """Unloading a model while somebody waits for its load ends both, and the wait says why."""
    server, _ = half_loaded
    with stream(server, "POST", "/admin/models/smollm2/load?stream=true") as lines:
        next(lines)
        assert server.post("/admin/models/smollm2/unload", b"")[1]["state"] == "unloaded"
        last = data_of(list(lines)[-1])
    assert last["modelrouter"]["message"] == "smollm2 was unloaded again before anybody used it"


def comments(connection: socket.socket) -> Iterator[str]:
    """Yield what a chat's stream says beside its events, until its first text."""
    with connection.makefile("rb") as lines:
        for line in lines:
            if line.startswith(b'data: {"id"') and b'"delta":{"content":"' in line:
                return
            if line.startswith(b":"):
                yield line.decode().strip(": \n")


def test_a_chat_hears_of_the_load_it_waits_for(half_loaded: HalfLoaded) -> None:
    """A stream without text says how far the load is, as comments, until the text comes."""
    server, worker = half_loaded
    with server.begin(CHAT) as connection:
        said = comments(connection)
        assert re.fullmatch(r"loading smollm2 \d+%", next(said))
        worker.resume()
        rest = set(said)
    assert all(re.match(r"loading smollm2 \d+%|smollm2 is reading", each) for each in rest)


def test_a_chat_hears_of_its_place_in_the_line(server: Server) -> None:
    """Those with a slot read their prompt; the others know who is before them."""
    server.post("/admin/models/tiny/load", b"")
    (worker,) = server.workers()
    worker.suspend()
    with server.begin(CHAT) as first:
        server.wait_for("tiny", active=1)
        with server.begin(CHAT) as second:
            server.wait_for("tiny", waiting=1)
            with server.begin(CHAT) as third:
                said = [next(comments(each)) for each in (first, second, third)]
                worker.resume()
    assert said == [
        "tiny is reading the prompt",
        "waiting for tiny: you are next",
        "waiting for tiny: 1 before you",
    ]
