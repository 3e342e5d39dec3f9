"""What llama.cpp's clients ask before and beside their completions; none of it loads a model."""

import pytest
from program import Server


def test_props_of_a_model_that_is_not_loaded(server: Server) -> None:
    """Editors read the context's length; the model stays where it is."""
    status, props = server.get("/props?model=tiny&autoload=false")
    assert status == 200
    assert props["default_generation_settings"]["n_ctx"] == 512
    assert (props["total_slots"], props["is_sleeping"]) == (1, True)
    assert "<|im_start|>" in props["chat_template"]
    assert props["modalities"]["vision"] is False
    assert server.get("/props")[1]["model_alias"] == "tiny"
    assert server.get("/slots") == (200, [])
    assert not server.workers()
    status, answer = server.get("/props?model=tinny")
    assert (status, 'did you mean "tiny"' in answer["error"]["message"]) == (404, True)


def test_the_template_needs_no_model(server: Server) -> None:
    """It is in the file's header."""
    messages = [{"role": "user", "content": "Hi"}]
    assert server.post("/apply-template", {"messages": messages}) == (
        200,
        {"prompt": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
    )
    assert not server.workers()


def test_tokens_of_a_loaded_model(server: Server) -> None:
    """They go there and back; before it is loaded the caller is told what would help."""
    status, answer = server.post("/tokenize", {"content": "def read"})
    assert status == 503
    assert "no model is loaded" in answer["error"]["message"]
    assert not server.workers()
    server.post("/admin/models/tiny/load", {})
    assert server.get("/slots")[1] == [
        {"id": 0, "model": "tiny", "n_ctx": 512, "is_processing": False}
    ]
    for text in ("def read(self)", "é🦙", ""):
        status, answer = server.post("/tokenize", {"content": text, "model": "tiny"})
        assert status == 200
        assert server.post("/detokenize", answer) == (200, {"content": text})
    one = {"content": "<|im_end|>"}
    assert len(server.post("/tokenize", one)[1]["tokens"]) == 1
    assert len(server.post("/tokenize", {**one, "parse_special": False})[1]["tokens"]) > 1
    pieces = server.post("/tokenize", {"content": "def read", "with_pieces": True})[1]["tokens"]
    assert "".join(each["piece"] for each in pieces) == "def read"


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/detokenize", {"tokens": [1, 10**6]}, "1000000 is no token of tiny"),
        ("/detokenize", {"tokens": [-1]}, "-1 is no token of tiny"),
        ("/detokenize", {"tokens": ["a"]}, "tokens.0"),
        ("/tokenize", {"content": "a\0"}, "NUL"),
        ("/tokenize", {}, "content"),
    ],
)
def test_bad_questions(server: Server, path: str, body: dict[str, object], said: str) -> None:
    """They never reach the worker."""
    server.post("/admin/models/tiny/load", {})
    status, answer = server.post(path, body)
    assert status == 400
    assert said in answer["error"]["message"]
