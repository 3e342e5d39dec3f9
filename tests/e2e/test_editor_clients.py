"""What editors' plugins send, replayed over real HTTP, and read by the rules that they read it by.

The plugins cannot be installed here; each test follows one plugin's own code: what it posts, what
it looks for in the bytes that come back, and what would make it show nothing.
"""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from program import Serve, Server, write_config

PREFIX = "import os\n\ndef read(self, path: str) -> int:\n    "
SUFFIX = "\n    return value\n"


@pytest.fixture
def server(serve: Serve, tiny_gguf: Path, tmp_path: Path) -> Server:
    """A server of the tiny model, which has Qwen's markers; always the same answer."""
    settings = ["context = 2048", "[models.tiny.sampling]", "temperature = 0"]
    return serve(write_config(tmp_path / "tiny", tiny_gguf, *settings))


def post(server: Server, path: str, body: Any, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Post JSON as curl does; return the status, the body as it is, and the headers."""
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=50) as response:
            return response.status, response.read().decode(), dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), dict(error.headers)


def events(text: str) -> Iterator[str]:
    """Yield the data of a stream's events, each of one line."""
    for block in text.split("\n\n"):
        for line in block.splitlines():
            assert line.startswith(("data: ", ":")), line
            if line.startswith("data: "):
                yield line.removeprefix("data: ")


VIM = {
    "id_slot": 0,
    "input_prefix": PREFIX,
    "input_suffix": SUFFIX,
    "input_extra": [{"text": "x = 1\n", "filename": "a.py", "time": [1, 2]}],
    "prompt": "for ",
    "n_predict": 16,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.9,
    "samplers": ["top_k", "top_p", "infill"],
    "stream": False,
    "cache_prompt": True,
    "t_max_prompt_ms": 30_000,
    "t_max_predict_ms": 30_000,
    "response_fields": [
        "content",
        "timings/prompt_n",
        "timings/prompt_ms",
        "timings/predicted_per_second",
        "timings/truncated",
        "truncated",
        "tokens_cached",
    ],
    "model": "",
}


def test_llama_vim(server: Server) -> None:
    """It drops an answer without `"content":"`, and reads times by their path; its warm-up makes
    the next prompt short.
    """
    warm = {**VIM, "n_predict": 0, "samplers": [], "response_fields": [""]}
    warm |= {"t_max_prompt_ms": 1, "t_max_predict_ms": 1}
    assert post(server, "/infill", warm)[:2] == (200, "{}")
    status, text, headers = post(server, "/infill", VIM)
    assert status == 200
    assert re.match(r"\s*{", text)
    assert re.search(r'"content"\s*:"', text)
    answer = json.loads(text)
    assert set(answer) == set(VIM["response_fields"]) - {"timings/truncated"}  # type: ignore[call-overload]
    assert (answer["timings/prompt_n"], answer["truncated"]) == (1, False)
    assert headers["x-modelrouter-fim"] == "qwen2.5-coder"
    assert all(line[:4].isspace() for line in answer["content"].splitlines()[1:] if line)


def test_llama_vim_out_of_time(server: Server) -> None:
    """A budget that is too small gives an empty answer, and each try reads a little further."""
    file = "    value = [0]  # a line of a long file\n" * 60
    hurried = {**VIM, "input_prefix": file, "t_max_prompt_ms": 0.001, "response_fields": []}
    read = []
    for _ in range(3):
        status, text, _ = post(server, "/infill", hurried)
        answer = json.loads(text)
        assert (status, answer["content"], answer["stop_type"]) == (200, "", "limit")
        read.append(answer["timings"]["cache_n"])
    assert read[0] < read[1] < read[2]


def test_llama_vscode(server: Server) -> None:
    """It asks for three answers and takes one as an object; errors are read from error.message."""
    status, text, headers = post(server, "/infill", {**VIM, "n_cmpl": 3, "response_fields": []})
    answer = json.loads(text)
    assert status == 200
    assert isinstance(answer["content"], str)
    assert answer["stop"] is True
    assert headers["x-modelrouter-n"] == "1"
    status, text, _ = post(server, "/infill", {"input_suffix": "x"})
    assert status == 400
    assert "input_prefix" in json.loads(text)["error"]["message"]
    assert server.get("/health") == (200, {"status": "ok"})


def test_continue_llamacpp(server: Server) -> None:
    """Its prompt wears another family's markers, since it goes by the model's name: they are
    changed for the model's own, so the answer is the one of `/infill`.
    """
    infill = {"input_prefix": PREFIX, "input_suffix": SUFFIX, "n_predict": 8}
    wanted = json.loads(post(server, "/infill", infill)[1])["content"]
    body = {
        "model": "auto",
        "prompt": f"<fim_prefix>{PREFIX}<fim_suffix>{SUFFIX}<fim_middle>",
        "stream": True,
        "n_predict": 8,
        "stop": [
            "<fim_prefix>",
            "<fim_suffix>",
            "<fim_middle>",
            "<file_sep>",
            "t.",
            "\nt",
            "<|end|>",
        ],
        "temperature": 0,
    }
    _, text, headers = post(server, "/completion", body)
    chunks = [json.loads(data) for data in events(text)]
    assert "".join(chunk["content"] for chunk in chunks) == wanted
    assert headers["x-modelrouter-fim"] == "qwen2.5-coder"
    assert "[DONE]" not in text


def test_continue_openai(server: Server) -> None:
    """It reads choices[0].text of each event until [DONE], with a long list of stop strings."""
    stop = [f"<stop_{n}>" for n in range(14)]
    body = {"model": "auto", "prompt": PREFIX, "suffix": SUFFIX, "stream": True, "stop": stop}
    _, text, _ = post(server, "/v1/completions", {**body, "max_tokens": 8})
    *chunks, done = events(text)
    assert done == "[DONE]"
    assert all(isinstance(json.loads(chunk)["choices"][0]["text"], str) for chunk in chunks)
    assert json.loads(chunks[-1])["choices"][0]["finish_reason"] in {"stop", "length"}


def test_continue_mistral(server: Server) -> None:
    """It reads choices[0].delta.content; the whole form is a chat's message."""
    body = {"model": "auto", "prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 8, "random_seed": 1}
    whole = json.loads(post(server, "/v1/fim/completions", body)[1])
    _, text, headers = post(server, "/v1/fim/completions", {**body, "stream": True})
    chunks = [json.loads(data) for data in events(text) if data != "[DONE]"]
    said = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks if chunk["choices"])
    assert said == whole["choices"][0]["message"]["content"]
    assert headers["x-modelrouter-fim"] == "qwen2.5-coder"
    assert chunks[-1]["usage"]["total_tokens"] > 0


def test_zed(server: Server) -> None:
    """Its structure is strict: every field has its type, and usage is mandatory."""
    body = {
        "model": "qwen2.5-coder:1.5b",
        "prompt": f"<|fim_prefix|>{PREFIX}<|fim_suffix|>{SUFFIX}<|fim_middle|>",
        "max_tokens": 8,
        "stop": ["<|endoftext|>", "<|file_sep|>"],
    }
    assert post(server, "/v1/completions", body)[0] == 404  # the name must be one of ours
    status, text, _ = post(server, "/v1/completions", {**body, "model": "code"})
    answer = json.loads(text)
    assert status == 200
    kinds = {"id": str, "object": str, "created": int, "model": str}
    assert {name: type(answer[name]) for name in kinds} == kinds
    choice = answer["choices"][0]
    assert (type(choice["text"]), type(choice["finish_reason"])) == (str, str)
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert all(type(answer["usage"][name]) is int for name in counts)
    assert answer["model"] == "tiny"


def test_tabby_server(server: Server) -> None:
    """It ends with an error at an event that lacks `content` or a boolean `stop`."""
    body = {
        "seed": 1,
        "prompt": f"<PRE> {PREFIX} <SUF>{SUFFIX} <MID>",
        "n_predict": 8,
        "temperature": 0.1,
        "stream": True,
        "penalty_last_n": 0,
        "presence_penalty": 0.0,
    }
    _, text, _ = post(server, "/completion", body)
    chunks = [json.loads(data) for data in events(text)]
    assert all(type(chunk["content"]) is str for chunk in chunks)
    assert [chunk["stop"] for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_tabby_plugins(server: Server) -> None:
    """They send segments in place of a prompt, and read choices[].index and .text."""
    segments = {
        "prefix": PREFIX,
        "suffix": SUFFIX,
        "filepath": "b.py",
        "declarations": [{"filepath": "a.py", "body": "def a(): pass"}],
        "clipboard": None,
    }
    body = {"language": "python", "segments": segments, "user": "me", "max_tokens": 8}
    status, text, headers = post(server, "/v1/completions", body)
    answer = json.loads(text)
    assert status == 200
    assert isinstance(answer["id"], str)
    assert [type(answer["choices"][0][name]) for name in ("index", "text")] == [int, str]
    assert headers["x-modelrouter-fim"] == "qwen2.5-coder"


def test_minuet(server: Server) -> None:
    """Each `data:` is JSON of one line, and its three requests for the same get the same."""
    body = {"model": "auto", "prompt": PREFIX, "suffix": SUFFIX, "stream": True, "max_tokens": 8}
    texts = []
    for _ in range(3):
        _, text, _ = post(server, "/v1/completions", body)
        chunks = [json.loads(data) for data in events(text) if data != "[DONE]"]
        texts.append("".join(chunk["choices"][0]["text"] for chunk in chunks))
    assert len(set(texts)) == 1


def test_twinny(server: Server) -> None:
    """It sends `max_tokens` to `/completion` and splits what comes at "data:"."""
    body = {
        "prompt": f"<PRE> {PREFIX} <SUF>{SUFFIX} <MID>",
        "stream": True,
        "max_tokens": 4,
        "temperature": 0,
    }
    _, text, _ = post(server, "/completion", body)
    chunks = [json.loads(part) for part in text.split("data:") if part.strip().startswith("{")]
    assert chunks[-1]["stop"] is True
    assert chunks[-1]["tokens_predicted"] <= 4


@pytest.mark.parametrize("path", ["/infill", "/v1/completions", "/completion"])
def test_a_client_that_leaves_stops_its_whole_answer(server: Server, path: str) -> None:
    """Editors do not stream, and leave with the next key stroke: the slot is free again at once."""
    endless = {"input_prefix": PREFIX, "input_suffix": SUFFIX, "prompt": PREFIX}
    endless |= {"frequency_penalty": -2, "presence_penalty": -2}
    with server.begin(endless, path):
        server.wait_for("tiny", active=1)
    server.wait_for("tiny", active=0)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/completions", {"prompt": [1, 2, 3]}, 400, "prompt must be text"),
        ("/v1/completions", {"prompt": ["a", "b"]}, 400, "there are 2 prompts"),
        ("/v1/completions", {}, 400, "prompt must be text"),
        ("/v1/completions", {"prompt": ""}, 400, "the prompt is empty"),
        ("/v1/completions", {"prompt": "x", "max_tokens": -1}, 400, "must be at least 0, got -1"),
        ("/v1/completions", {"prompt": "x", "model": "tinny"}, 404, 'did you mean "tiny"'),
        ("/v1/completions", {"prompt": "x", "logprobs": 99}, 400, "logprobs must be from 0 to 20"),
        ("/v1/completions", {"prompt": "x", "logit_bias": {"a": 1}}, 400, 'logit_bias: "a"'),
        ("/completion", {"prompt": "x", "grammar": "root ::= x"}, 400, 'there is no rule "x"'),
        ("/infill", {"input_prefix": "", "input_suffix": ""}, 400, "the prompt is empty"),
        ("/infill", {"input_prefix": "a\0", "input_suffix": ""}, 400, "a NUL character"),
        ("/infill", {"input_prefix": 1, "input_suffix": ""}, 400, "input_prefix: "),
        ("/infill", [], 400, "body"),
        ("/completion", {"prompt": {"a": 1}}, 400, "prompt must be text"),
        ("/completion", {"prompt": "x", "stop": [""]}, 400, "a stop string is empty"),
    ],
)
def test_bad_bodies(server: Server, path: str, body: Any, status: int, said: str) -> None:
    """Each is told what is wrong, in a body that clients read."""
    given, text, _ = post(server, path, body)
    assert given == status, text
    assert said in json.loads(text)["error"]["message"]


def test_the_older_completions_of_openai(server: Server) -> None:
    """A list of one prompt, its echo, and the chances of the tokens in lists side by side."""
    body = {"prompt": ["def read"], "echo": True, "logprobs": 2, "max_tokens": 4, "n": 2}
    status, text, headers = post(server, "/v1/completions", body)
    choice = json.loads(text)["choices"][0]
    assert status == 200
    assert choice["text"].startswith("def read")
    assert headers["x-modelrouter-n"] == "1"
    banned = {"logit_bias": {str(token): -100 for token in range(500)}}
    other = json.loads(post(server, "/v1/completions", {**body, **banned})[1])["choices"][0]
    assert other["text"] != choice["text"]
    lists = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    assert len({len(choice["logprobs"][name]) for name in lists}) == 1


def test_continue_ollama(server: Server) -> None:
    """It looks for `.Suffix` in the template, and then sends prompt and suffix apart."""
    _, shown, _ = post(server, "/api/show", {"name": "tiny"})
    assert ".Suffix" in json.loads(shown)["template"]
    body = {"model": "tiny", "prompt": PREFIX, "suffix": SUFFIX, "raw": False, "keep_alive": 1800}
    body["options"] = {"temperature": 0, "num_predict": 8, "stop": ["\n\n"], "num_ctx": 2048}
    _, text, headers = post(server, "/api/generate", {**body, "stream": True})
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(type(line["response"]) is str for line in lines)
    assert lines[-1]["done"] is True
    assert headers["x-modelrouter-fim"] == "qwen2.5-coder"


def test_zed_ollama(server: Server) -> None:
    """It sends a raw prompt in the layout of the name that it knows, and reads `response`."""
    body = {
        "model": "code",
        "prompt": f"<PRE> {PREFIX} <SUF>{SUFFIX} <MID>",
        "raw": True,
        "stream": False,
        "options": {"num_predict": 8, "stop": ["<EOT>"]},
    }
    status, text, headers = post(server, "/api/generate", body)
    answer = json.loads(text)
    assert status == 200
    assert (type(answer["response"]), type(answer["created_at"])) == (str, str)
    assert headers["x-modelrouter-fim"] == "qwen2.5-coder"
