"""Ollama's dialect over real sockets, with PyPI's `ollama` as one of its clients."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import pytest
from program import USER_HI, Serve, Server, write_config
from tool_models import PARIS, TOOLS_TEMPLATE, with_template

EIGHT = {"num_predict": 8, "seed": 1}


@pytest.fixture
def client(server: Server) -> Iterator[ollama.Client]:
    """Ollama's own client of it."""
    with ollama.Client(server.url) as client:
        yield client


def lines_of(server: Server, path: str, body: Any) -> list[dict[str, Any]]:
    """Post what `curl -d` would, which says nothing of JSON, and return the lines that come."""
    request = urllib.request.Request(server.url + path, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=50) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in response]


@pytest.fixture
def caller(serve: Serve, tmp_path: Path, tiny_gguf: Path) -> Server:
    """A server with the tiny model, whose template knows tools."""
    model = with_template(tiny_gguf, tmp_path / "caller.gguf", TOOLS_TEMPLATE)
    return serve(write_config(tmp_path, model, "context = 1024"))


def test_ollamas_client_chats(client: ollama.Client) -> None:
    """Whole and streamed answers are the same text; the end has counts, durations and a reason."""
    whole = client.chat("auto", USER_HI, options=EIGHT)
    assert whole.message.role == "assistant"
    assert (whole.model, whole.done, whole.done_reason) == ("tiny", True, "length")
    assert (whole.eval_count, whole.prompt_eval_count > 0) == (8, True)
    assert whole.total_duration > whole.eval_duration > 0
    parts = list(client.chat("auto", USER_HI, options=EIGHT, stream=True))
    assert "".join(part.message.content for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


def test_ollamas_client_generates(client: ollama.Client) -> None:
    """A prompt is put into the model's template, a raw one is not; a stop string ends both."""
    whole = client.generate("tiny", "Hi", options=EIGHT)
    parts = list(client.generate("tiny", "Hi", options=EIGHT, stream=True))
    assert "".join(part.response for part in parts) == whole.response
    raw = client.generate("tiny", "Hi", raw=True, options=EIGHT)
    assert raw.prompt_eval_count < whole.prompt_eval_count
    ruled = client.generate("tiny", "Hi", system="Be brief.", options=EIGHT)
    assert ruled.prompt_eval_count > whole.prompt_eval_count
    cut = client.generate("tiny", "Hi", options={**EIGHT, "stop": [whole.response[2:4]]})
    assert cut.response == whole.response[: whole.response.index(whole.response[2:4])]
    assert cut.done_reason == "stop"


def test_ollamas_client_lists_and_shows(client: ollama.Client) -> None:
    """It finds the names, what they can do, and how long a prompt may be."""
    assert [each.model for each in client.list().models] == ["auto", "code", "general", "tiny"]
    for name in ("tiny", "tiny:latest", "auto", "code"):
        shown = client.show(name)
        assert shown.modelinfo["general.architecture"] == "llama"
        assert shown.modelinfo["llama.context_length"] == 512
        assert "completion" in shown.capabilities
        assert ("insert" in shown.capabilities) == (".Suffix" in shown.template)


def test_an_empty_prompt_loads_and_unloads(client: ollama.Client, server: Server) -> None:
    """It has no answer; keep_alive 0, in any spelling, gives the memory back."""
    assert client.ps().models == []
    for keep_alive in (0, "0s"):
        assert client.generate("tiny").done_reason == "load"
        (loaded,) = client.ps().models
        assert (loaded.model, loaded.context_length) == ("tiny", 512)
        assert len(server.workers()) == 1
        assert client.chat("tiny", [], keep_alive=keep_alive).done_reason == "unload"
        assert client.ps().models == []
    client.generate("tiny", keep_alive="10m")
    client.generate("auto", keep_alive=0)  # it names no model
    assert len(client.ps().models) == 1


def test_ollamas_client_gets_its_errors(client: ollama.Client) -> None:
    """Its error has the sentence and the status; what this server has not is 501."""
    with pytest.raises(ollama.ResponseError, match="model 'tinyy' not found; there are") as caught:
        client.chat("tinyy", USER_HI)
    assert caught.value.status_code == 404
    assert 'did you mean "tiny"' in caught.value.error
    for call in (lambda: client.embed("tiny", "Hi"), lambda: client.pull("tiny")):
        with pytest.raises(ollama.ResponseError) as caught:
            call()
        assert caught.value.status_code == 501
    with pytest.raises(ollama.ResponseError, match="tokens; the model's context holds 512"):
        client.generate("tiny", "x" * 9000)


def test_tools_are_offered_and_answer(caller: Server) -> None:
    """A model that knows tools says so; calls of before need no id, nor do their answers."""
    weather: Any = {"name": "weather", "parameters": PARIS}
    tool: Any = {"type": "function", "function": weather}
    call: Any = {"function": {"name": "weather", "arguments": {"city": "Paris"}}}
    talk: Any = [
        *USER_HI,
        {"role": "assistant", "tool_calls": [call, call]},
        {"role": "tool", "content": "Sunny.", "tool_name": "weather"},
        {"role": "tool", "content": "", "tool_name": "weather"},
    ]
    with ollama.Client(caller.url) as client:
        assert "tools" in client.show("tiny").capabilities
        without = client.chat("auto", talk, options=EIGHT)
        offered = client.chat("auto", talk, tools=[tool], options=EIGHT)
        assert offered.prompt_eval_count > without.prompt_eval_count
        with pytest.raises(ollama.ResponseError, match="answers no call before it"):
            client.chat("auto", [*talk, talk[-1]])


def test_an_answer_is_held_to_a_form(client: ollama.Client) -> None:
    """With "json" or a schema what comes is that, from a model of random weights too."""
    whole = client.chat("auto", USER_HI, format=PARIS, options={"num_predict": 100})
    assert json.loads(whole.message.content) == {"city": "Paris"}


def test_ollamas_client_leaves(starter: Server) -> None:
    """Closing a stream in the middle frees the only slot for the next."""
    with ollama.Client(starter.url) as client:
        stream = client.chat("smollm2", USER_HI, stream=True, options={"num_predict": 5000})
        assert not next(stream).done
        starter.wait_for("smollm2", active=1)
        stream.close()
        assert client.chat("smollm2", USER_HI, options={"num_predict": 2}).eval_count == 2
        starter.wait_for("smollm2", active=0)


def test_lines_on_the_wire(server: Server) -> None:
    """A stream is what one gets without asking, in compact lines, each with model and time."""
    lines = lines_of(server, "/api/generate", {"prompt": "Hi", "options": EIGHT, "system": None})
    assert [line["model"] for line in lines] == ["tiny"] * len(lines)
    assert all(line["created_at"].endswith("Z") for line in lines)
    assert lines[-1]["response"] == ""


def test_probes_and_the_version(server: Server) -> None:
    """Clients ask for these before anything else; some refuse a version below 0.6.4."""
    for method in ("GET", "HEAD"):
        request = urllib.request.Request(server.url, method=method)
        with urllib.request.urlopen(request, timeout=50) as response:
            assert response.read().decode() == ("Ollama is running" if method == "GET" else "")
    _, version = server.get("/api/version")
    assert tuple(map(int, version["version"].split("."))) >= (0, 6, 4)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("generate", b"{", "body: JSON decode error at character 1"),
        ("generate", [], "body: "),
        ("generate", {"prompt": "x", "images": ["aGk="]}, "content of the type image"),
        ("generate", {"prompt": "x", "template": "{{ .Prompt }}"}, "a template of the caller's"),
        ("generate", {"prompt": "x", "context": [1, 2]}, "no conversation is kept"),
        ("generate", {"prompt": "x", "format": "xml"}, "a JSON schema is an object"),
        ("generate", {"prompt": "x", "raw": True, "system": "y"}, "a raw prompt has no place"),
        ("generate", {"prompt": "x", "options": {"top_p": 2}}, "top_p must be from 0 to 1"),
        ("generate", {"prompt": "x", "options": {"stop": [""]}}, "a stop string is empty"),
        ("chat", {"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: "),
        ("chat", {"messages": [{"role": "user", "content": " "}]}, "the prompt is empty"),
    ],
)
def test_bad_ollama_bodies(server: Server, path: str, body: Any, said: str) -> None:
    """What cannot be answered is 400 with one sentence; never 422 or 500."""
    status, answer = server.post(f"/api/{path}", body)
    assert (status, list(answer)) == (400, ["error"])
    assert said in answer["error"]


def test_a_stream_that_fails_ends_in_an_error_line(starter: Server) -> None:
    """A worker that dies in the middle of the answer is a last line, as the client expects."""
    with ollama.Client(starter.url) as client:
        stream = client.chat("smollm2", USER_HI, stream=True, options={"num_predict": 5000})
        assert not next(stream).done
        starter.workers()[0].kill()
        with pytest.raises(ollama.ResponseError, match="signal 9"):
            list(stream)
