"""`:ModelRouter ask` in a real Neovim: answers in a split, replacements as a preview, and why."""

from pathlib import Path

import pytest
from neovim import Edit, Editor
from program import Server

CODE = b"def add(a, b):\n    return a + b\n\nprint(add(1, 2))\n"


@pytest.fixture
def editor(edit: Edit, server: Server, tmp_path: Path) -> Editor:
    """An editor with a Python file and no hints of its own accord."""
    editor = edit(url=server.url, auto=False)
    editor.open(tmp_path / "sums.py", CODE)
    return editor


def test_an_answer_streams_into_a_split(editor: Editor) -> None:
    """The split says who answered and by which rule; the cursor and the file stay as they are."""
    editor.type(":1,2ModelRouter ask explain in five words<CR>")
    editor.see("· rule ")
    assert "smollm2 · " in str(editor.screen)
    assert editor.lines() == CODE.decode().splitlines()
    answer = editor.lua(
        "return vim.api.nvim_buf_get_lines(vim.fn.bufnr('modelrouter://ask'), 0, -1, false)"
    )
    assert any(answer)


def test_closing_the_split_stops_the_answer(editor: Editor, server: Server) -> None:
    """The slot is free while the worker, which is stopped, could not have ended by itself."""
    worker = server.workers()[0]
    worker.suspend()
    try:
        editor.type(":ModelRouter ask say something<CR>")
        server.wait_for("smollm2", active=1)
        editor.type("<C-w>jq")
        server.wait_for("smollm2", active=0)
    finally:
        worker.resume()


def test_a_replacement_is_shown_first(editor: Editor) -> None:
    """Until it is accepted the text is as it was; then it is one change, and undo takes it back."""
    before = CODE.decode().splitlines()
    editor.type(":1,2ModelRouter! ask rename add to plus<CR>")
    editor.see("smollm2 · ")
    assert editor.lines() == before
    changes = editor.call("nvim_buf_get_changedtick", 0)
    editor.type("<Tab>")
    assert editor.lines()[-2:] == before[-2:]
    assert editor.call("nvim_buf_get_changedtick", 0) > changes
    editor.type("u")
    assert editor.lines() == before


def test_a_replacement_is_rejected(editor: Editor, server: Server) -> None:
    """Also while it is on its way: that stops it, and leaves nothing on the screen."""
    worker = server.workers()[0]
    worker.suspend()
    try:
        editor.type(":1,2ModelRouter ask! rename add to plus<CR>")
        server.wait_for("smollm2", active=1)
        editor.type("<C-]>")
        server.wait_for("smollm2", active=0)
    finally:
        worker.resume()
    assert editor.lines() == CODE.decode().splitlines()
    marks = "return vim.api.nvim_buf_get_extmarks(0, -1, 0, -1, {})"
    assert editor.lua(marks) == []


@pytest.mark.parametrize(
    ("name", "command", "said"),
    [
        (".env", "ModelRouter ask what", "not sent: its name says that it holds secrets"),
        ("a.py", "ModelRouter ask", "ask what? :ModelRouter ask {instruction}"),
        ("a.py", "ModelRouter explain", 'no "explain"; there are accept, ask, health, log, reject'),
        ("key.txt", "ModelRouter ask what", "not sent: the selection holds a private key"),
    ],
)
def test_what_is_not_asked(
    editor: Editor, tmp_path: Path, name: str, command: str, said: str
) -> None:
    """One sentence says why, and nothing leaves the editor."""
    editor.open(
        tmp_path / name, b"-----BEGIN RSA PRIVATE KEY-----\nx\n" if name == "key.txt" else b"x"
    )
    editor.command("%" + command)
    (message,) = editor.lua("return require('modelrouter.tell').said")
    assert message.startswith(said)
    assert editor.lua("return require('modelrouter.log').entries()") == []


def test_why_and_status_and_health(editor: Editor) -> None:
    """Each opens a page that names the model."""
    editor.type(":ModelRouter ask say one word<CR>")
    editor.see("· rule ")
    for word in ("why", "status", "log", "health"):
        editor.command(f"ModelRouter {word}")
        if word == "status":
            editor.see("slots in use")
        assert "smollm2" in "\n".join(editor.lines())
        editor.command("close" if word != "health" else "tabclose")
    assert editor.lua("return require('modelrouter.watch').mistakes") == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("Sure:\n```python\na\n b\n```\nThat is it.", ["a", " b"]),
        ("```\na", ["a"]),
        ("````md\n```\nx\n```\n````", ["```", "x", "```"]),
        ("\n\na\nb\n", ["a", "b"]),
    ],
)
def test_the_code_in_an_answer(editor: Editor, answer: str, code: list[str]) -> None:
    """The first block, as far as it has come; an answer without one is code."""
    assert editor.lua("return require('modelrouter.prompt').code_in(...)", answer) == code


def test_a_selection_with_fences_is_fenced_by_longer_ones(editor: Editor) -> None:
    """What is selected cannot end its own block."""
    selection = {"filename": "a.md", "filetype": "md", "first": 1, "last": 1, "lines": ["```"]}
    messages = editor.lua(
        "return require('modelrouter.prompt').messages(...)", "x", selection, False
    )
    assert messages[0]["content"] == "x\n\na.md, lines 1 to 1:\n````md\n```\n````"
