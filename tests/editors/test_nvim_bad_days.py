"""The Neovim plugin beside servers that are dead, slow, or no servers: typing goes on."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from neovim import Edit, Editor

REASONS = """
return vim.tbl_map(function(entry)
  return entry.outcome
end, require("modelrouter.log").entries())
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A program that listens and never answers by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(50)
        yield listening


def url_of(listener: socket.socket) -> str:
    """Return where it listens."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def accept(listener: socket.socket) -> tuple[socket.socket, bytes]:
    """Return the next connection and what was sent on it, up to the end of its body."""
    connection, _ = listener.accept()
    connection.settimeout(50)
    data = b""
    while not data.endswith(b"}"):
        data += connection.recv(65536)
    return connection, data


def messages(editor: Editor) -> list[str]:
    """Return what the plugin has told the user."""
    told: str = editor.call("nvim_exec2", "messages", {"output": True})["output"]
    return [line for line in told.split("\n") if "modelrouter" in line]


def wait_for_outcome(editor: Editor, outcome: str) -> None:
    """Wait until the newest request has ended like this."""
    while not editor.lua(REASONS)[:1] or outcome not in editor.lua(REASONS)[0]:
        editor.wait_for("ModelRouterStatus")


def test_a_dead_server_disturbs_nobody(edit: Edit, tmp_path: Path) -> None:
    """All that is typed arrives, one message says what to do, and nobody is asked again at once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = url_of(free)
    editor = edit(url=url, debounce_ms={"least": 0})
    editor.open(tmp_path / "a.py")
    editor.type("ix")
    wait_for_outcome(editor, "no server at 127.0.0.1:")
    editor.type(" = 1<CR>x" * 50)
    assert editor.lines() == [*["x = 1"] * 50, "x"]
    assert len(messages(editor)) == 1
    assert "modelrouter serve" in messages(editor)[0]
    assert len(editor.lua(REASONS)) == 1
    assert editor.lua("return require('modelrouter').statusline()") == "no answer"


def test_a_slow_server_disturbs_nobody_and_hears_at_once(
    edit: Edit, tmp_path: Path, listener: socket.socket
) -> None:
    """With the next key the connection of the hint before is closed; only one is open at a time."""
    editor = edit(url=url_of(listener), debounce_ms={"least": 0})
    editor.open(tmp_path / "a.py")
    editor.type("i")
    for next_key in ("a", "b", "ö", "<CR>", "<BS>", "<Left>", "<Esc>"):
        connection, _ = accept(listener)
        with connection:
            editor.type(next_key)
            assert connection.recv(1) == b""
    assert editor.lines() == ["abö"]
    assert editor.lua(REASONS) == ["cancelled"] * 7


def test_what_is_sent(edit: Edit, tmp_path: Path, listener: socket.socket) -> None:
    """llama.cpp's fields, the key, and no more than one request on a connection."""
    editor = edit(url=url_of(listener) + "/base", api_key="s3cret", model="code", auto=False)
    editor.open(tmp_path / "a.py", "größe = 1\n\tif ".encode())
    editor.type("a<M-Bslash>")
    connection, data = accept(listener)
    connection.close()
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /base/infill http/1.1"
    assert {"authorization: bearer s3cret", "connection: close"} <= set(lines)
    assert f"content-length: {len(body)}" in lines
    sent = editor.lua("return vim.json.decode(...)", body.decode())
    assert (sent["input_prefix"], sent["prompt"], sent["input_suffix"]) == (
        "größe = 1\n",
        "\tif ",
        "",
    )
    assert (sent["model"], sent["n_indent"], sent["stream"], sent["temperature"]) == (
        "code",
        1,
        False,
        0,
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"SSH-2.0-x\r\n", 'the answer is no HTTP: "SSH-2.0-x'),
        (b"", "the server left in the middle of its answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[", "the server left in the middle"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n[", "the answer is no JSON"),
        (b"HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n", "the server answered with status 502"),
        (b'HTTP/1.1 501 No\r\ncontent-length: 26\r\n\r\n{"error":{"message":"no"}}', "no"),
    ],
)
def test_an_answer_that_is_none(
    edit: Edit, tmp_path: Path, listener: socket.socket, answer: bytes, told: str
) -> None:
    """One message says what came instead."""
    editor = edit(url=url_of(listener), debounce_ms={"least": 0})
    editor.open(tmp_path / "a.py")
    editor.type("ix")
    connection, _ = accept(listener)
    with connection:
        connection.sendall(answer)
    wait_for_outcome(editor, told)
    (message,) = messages(editor)
    assert told in message


def test_a_url_that_is_none(edit: Edit, tmp_path: Path) -> None:
    """It is told with the first hint, once."""
    editor = edit(url="https://127.0.0.1:1", debounce_ms={"least": 0})
    editor.open(tmp_path / "a.py")
    editor.type("ix")
    wait_for_outcome(editor, "only http is spoken here")
    assert len(messages(editor)) == 1


def test_settings_that_are_wrong(edit: Edit) -> None:
    """They are told at start, and the editor works with the defaults."""
    editor = edit(ur="x", max_tokens="many")
    (message,) = messages(editor)
    assert message.startswith("modelrouter: the defaults stand: max_tokens must be a number, got")
    assert editor.lua("return require('modelrouter.config').current.max_tokens") == 64


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (".env", b"KEY=1", "its name says that it holds secrets"),
        (
            "big.py",
            b"x" * 100 + b"\n" * 3_000_000,
            "it has 3000100 bytes, more than max_file_bytes",
        ),
        ("wide.py", b"x" * 3000, "the line has 3000 bytes, more than max_line_bytes, 2000"),
        ("a.xyz", b"x", 'hints are off for the file type "xyz"'),
    ],
)
def test_files_that_get_no_hints(
    edit: Edit, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    """Nothing is asked, and the reason can be asked for."""
    editor = edit(url="http://127.0.0.1:1", debounce_ms={"least": 0}, filetypes={"xyz": False})
    editor.command("autocmd BufEnter *.xyz setfiletype xyz")
    editor.open(tmp_path / name, content)
    editor.type("A")
    assert editor.lua("return require('modelrouter.complete').why_none()").startswith(reason)
    editor.type("y")
    assert editor.lua(REASONS) == []


def test_a_file_that_is_no_text(edit: Edit, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are not sent, by hand neither."""
    editor = edit(url="http://127.0.0.1:1", debounce_ms={"least": 0})
    editor.command("set fileencodings=utf-8")
    editor.open(tmp_path / "a.txt", b"gr\xf6\xdfe")
    editor.command("silent edit ++enc=utf-8 ++bad=keep")
    editor.type("Ax<M-Bslash>")
    said = editor.lua("return require('modelrouter.tell').said")
    assert said == ["no hint here: the text is not UTF-8"]
    assert editor.lua(REASONS) == []
