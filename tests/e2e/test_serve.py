"""`modelrouter serve` over real sockets, with the OpenAI SDK as one of its clients."""

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import openai
import pytest
from program import PROGRAM, USER_HI, Serve, Server, write_config

HI = {"messages": USER_HI, "max_tokens": 8, "seed": 1}


def client_of(url: str, key: str = "any") -> openai.OpenAI:
    """Return an SDK client that does not try again behind our back."""
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def test_health_models_and_the_decision(serve: Serve, tiny_config: Path) -> None:
    """The server says that it lives, what a request may name, and where one would go."""
    server = serve(tiny_config)
    assert server.get("/health") == (200, {"status": "ok"})
    _, models = server.get("/v1/models")
    assert [model["id"] for model in models["data"]] == ["auto", "code", "general", "tiny"]
    assert {model["status"]["value"] for model in models["data"]} == {"unloaded"}
    assert models["data"][0]["meta"]["n_ctx"] == 512
    _, tiny = server.get("/v1/models/tiny")
    assert (tiny["owned_by"], tiny["meta"]["n_vocab"] > 0) == ("llamacpp", True)
    status, missing = server.get("/v1/models/tinny")
    assert (status, missing["error"]["code"]) == (404, "unknown_model")
    assert (
        'there are auto, code, general, tiny (did you mean "tiny"?)' in missing["error"]["message"]
    )
    status, refused = server.post("/v1/embeddings", {"input": "x"})
    assert (status, refused["error"]["type"]) == (501, "not_supported_error")
    status, route = server.post("/v1/route", {"messages": [{"role": "user", "content": "def f("}]})
    assert (status, route["field"], route["rule"]) == (200, "code", "code")
    assert not server.workers()  # deciding loads nothing


def test_tags_and_headers_reach_the_rules(serve: Serve, tmp_path: Path, tiny_gguf: Path) -> None:
    """A tag of the header or the body and a client's name decide; a key is seen by no rule."""
    config = write_config(tmp_path, tiny_gguf)
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "balanced.toml").write_text(
        """description = "By what the request carries."
[[rules]]
name = "night"
tag = "night"
use = ["tiny"]
[[rules]]
name = "zed"
header = { user-agent = "zed*" }
use = ["tiny"]
[[rules]]
name = "key"
header = { authorization = "?*" }
use = ["tiny"]
[otherwise]
use = ["tiny"]
when_full = "wait"
"""
    )
    server = serve(config)

    def rule_for(headers: dict[str, str], **body: Any) -> str:
        content = {"messages": [{"role": "user", "content": "hi"}], **body}
        rule: str = server.post("/v1/route", content, **headers)[1]["rule"]
        return rule

    assert rule_for({"x-modelrouter-tags": "day, night"}) == "night"
    assert rule_for({}, tags=["night"]) == "night"
    assert rule_for({"User-Agent": "Zed/1.0"}) == "zed"
    assert rule_for({"Authorization": "Bearer abc"}) == "otherwise"


def test_the_openai_sdk_chats(serve: Serve, tiny_config: Path) -> None:
    """OpenAI's own client gets whole answers, streams with usage, and typed errors."""
    server = serve(tiny_config)
    client = client_of(server.url)
    whole = client.chat.completions.create(model="auto", **HI)
    assert whole.model == "tiny"
    assert whole.choices[0].finish_reason in {"stop", "length"}
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(model="auto", **HI, **options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    with pytest.raises(openai.NotFoundError, match='did you mean "tiny"'):
        client.chat.completions.create(model="tinyy", **HI)
    with pytest.raises(openai.BadRequestError, match="tokens; the model's context holds 512"):
        client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "x" * 9000}]
        )


def test_every_answer_says_who_gave_it_and_why(serve: Serve, tiny_config: Path) -> None:
    """Headers and body carry the decision, on a cache hit too."""
    server = serve(tiny_config)
    client = client_of(server.url)
    for cache in ("miss", "hit"):
        raw = client.chat.completions.with_raw_response.create(model="general", **HI)
        headers = {
            name: raw.headers[f"x-modelrouter-{name}"] for name in ("model", "role", "cache")
        }
        assert headers == {"model": "tiny", "role": "general", "cache": cache}
        assert {"x-modelrouter-rule", "x-modelrouter-queue-ms", "x-request-id"} <= set(raw.headers)
        explained = json.loads(raw.text)["modelrouter"]
        assert (explained["cache"], explained["trace"][-1]["step"]) == (cache, "done")


def test_a_header_bounds_the_answer(serve: Serve, tiny_config: Path) -> None:
    """X-Request-Timeout is a time limit in every dialect, and no reason to ask again."""
    server = serve(tiny_config)
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat"):
        body = {**HI, "input": "Hi"}
        status, _ = server.post(path, body, **{"x-request-timeout": "0.001"})
        assert status == 504
        status, answer = server.post(path, body, **{"x-request-timeout": "soon"})
        assert (status, "it is a number of seconds" in str(answer["error"])) == (400, True)


def test_a_stream_on_the_wire(serve: Serve, tiny_config: Path) -> None:
    """Events are compact JSON, the role comes first, `[DONE]` last."""
    server = serve(tiny_config)
    with server.begin({**HI, "stream": True}) as connection:
        data = b""
        while b"[DONE]" not in data:
            data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"content-type: text/event-stream" in head
    events = [line for line in body.splitlines() if line.startswith(b"data: {")]
    assert b'"delta":{"role":"assistant","content":""}' in events[0]
    assert json.loads(events[-1].removeprefix(b"data: "))["choices"][0]["finish_reason"]
    assert not [line for line in body.splitlines() if line.startswith(b":") and b"ping" in line]


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_client_that_leaves_frees_its_slot(
    serve: Serve, tmp_path: Path, starter_gguf: Path, *, is_streamed: bool
) -> None:
    """Closing the connection stops the work in prefill: the only slot goes to the next in line."""
    config = write_config(tmp_path / "one", starter_gguf, "context = 8192", name="smollm2")
    server = serve(config)
    assert server.post("/v1/chat/completions", HI)[0] == 200
    long = {"messages": [{"role": "user", "content": "one two three " * 2500}], "max_tokens": 900}
    with server.begin({**long, "stream": is_streamed}):
        server.wait_for("smollm2", active=1)
    status, answer = server.post("/v1/chat/completions", {**HI, "seed": 2})
    assert (status, answer["usage"]["completion_tokens"]) == (200, 8)
    server.wait_for("smollm2", active=0)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "body: JSON decode error at character 1"),
        (b"[]", "body: "),
        ({}, "messages: Field required"),
        ({"messages": []}, "messages: List should have at least 1 item"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: "),
        ({"messages": [{"role": "user", "content": ""}]}, "the prompt is empty"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "holds a NUL character"),
        ({**HI, "max_tokens": -1}, "max_tokens must be at least 0, got -1"),
        ({**HI, "max_tokens": "many"}, "max_tokens: Input should be a valid integer"),
        ({**HI, "temperature": -1}, "temperature must be from 0 to 5, got -1"),
        ({**HI, "stop": [""]}, "a stop string is empty"),
        ({**HI, "top_logprobs": 3}, "top_logprobs needs logprobs: true"),
        ({**HI, "logprobs": True, "top_logprobs": 21}, "top_logprobs must be from 0 to 20, got 21"),
        ({**HI, "logit_bias": {"5": 101}}, "logit_bias of token 5 must be from -100 to 100"),
        ({**HI, "logit_bias": {"99999": 1}}, "logit_bias names token 99,999; the model's"),
        ({**HI, "tools": [{"type": "function"}]}, "a tool of the type function has no function"),
        ({**HI, "response_format": {"type": "xml"}}, "response_format xml is none of text, json_o"),
        ({**HI, "response_format": {"type": "json_schema"}}, "has no json_schema.schema"),
        ({**HI, "json_schema": {"type": "strin"}}, "the JSON schema cannot be used: Invalid type"),
        ({**HI, "json_schema": {"not": {}}}, 'cannot be used: Unimplemented keys: ["not"]'),
        ({**HI, "json_schema": 5}, "a JSON schema is an object, got 5"),
        ({**HI, "grammar": "root ::= x"}, 'the grammar, line 1: there is no rule "x"'),
        ({**HI, "grammar": "root ::= [a]", "json_schema": {}}, "only one of them may"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "content of the type image_url cannot be read",
        ),
    ],
)
def test_bad_bodies(server: Server, body: Any, said: str) -> None:
    """What cannot be answered is 400 in OpenAI's shape, with the reason; never 422 or 500."""
    status, answer = server.post("/v1/chat/completions", body)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
    assert said in answer["error"]["message"]


def test_unknown_paths_and_methods_are_errors_in_the_same_shape(server: Server) -> None:
    """404 and 405 look like every other error."""
    status, answer = server.get("/v1/nothing")
    assert (status, answer["error"]["type"]) == (404, "not_found_error")
    status, answer = server.get("/v1/chat/completions")
    assert (status, answer["error"]["type"]) == (405, "invalid_request_error")


def test_a_key_is_asked_for_where_one_is_set(serve: Serve, tiny_config: Path) -> None:
    """With MODELROUTER_API_KEY only `/health` answers without it; both header forms are read."""
    server = serve(tiny_config, MODELROUTER_API_KEY="secret")
    assert server.get("/health")[0] == 200
    assert server.get("/v1/models")[0] == 401
    assert server.post("/v1/chat/completions", HI)[0] == 401
    assert server.get("/v1/models", **{"x-api-key": "wrong"})[0] == 401
    assert server.get("/v1/models", **{"x-api-key": "secret"})[0] == 200
    assert client_of(server.url, "secret").models.list().data[0].id == "auto"


def test_an_open_door_is_refused(tiny_config: Path) -> None:
    """An address that others can reach needs a key."""
    done = serve_briefly("--host", "0.0.0.0", "--config", tiny_config)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: 0.0.0.0 can be reached by other machines, and no API key is set\n"
    )


def test_a_port_that_is_taken(tiny_config: Path) -> None:
    """A taken port is named, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        done = serve_briefly("--port", str(port), "--config", tiny_config)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot listen on 127.0.0.1:{port}: Address already in")


def serve_briefly(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a `serve` that must fail."""
    command = [*PROGRAM, "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
