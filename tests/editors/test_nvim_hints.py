"""Hints in a real Neovim from a real server with the starter model: seen, accepted, called off."""

from pathlib import Path
from typing import Any

import pytest
from neovim import Edit, Editor
from program import Server

ADD = (
    b"def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n\n\ndef mul(a, b):\n"
)
PATIENT = {"debounce_ms": {"least": 0}, "budget_ms": {"prompt": 50_000, "answer": 50_000}}
SHOWN = """
local ghosts = vim.api.nvim_create_namespace("modelrouter.ghost")
for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
  local _, mark = next(vim.api.nvim_buf_get_extmarks(buffer, ghosts, 0, -1, { details = true }))
  if mark then
    local lines = { mark[4].virt_text[1][1] }
    for _, line in ipairs(mark[4].virt_lines or {}) do
      table.insert(lines, line[1][1])
    end
    return table.concat(lines, "\\n")
  end
end
return false
"""
"""The hint that is drawn, in any buffer; false where none is."""

LINES_SENT = """
local place, context = require("modelrouter.place"), require("modelrouter.config").current.context
local view = place.view(place.here(), false)
return { view.last - view.first + 1, context.lines_before * 1.5 + 1 + context.lines_after }
"""
"""How many lines a request for a hint here has, and the most that any may have."""
ENTRIES = """
return vim.tbl_map(function(entry)
  return { kind = entry.kind, outcome = entry.outcome, model = entry.model, cache = entry.cache }
end, require("modelrouter.log").entries())
"""


def hint(editor: Editor) -> str:
    """Wait until a hint shows and return it."""
    editor.wait_until(lambda: bool(editor.lua(SHOWN)))
    text: str = editor.lua(SHOWN)
    return text


def entries(editor: Editor, kind: str) -> list[Any]:
    """Return what became of the requests of a kind, newest first."""
    return [entry for entry in editor.lua(ENTRIES) if entry["kind"] == kind]


@pytest.fixture
def editor(edit: Edit, server: Server, tmp_path: Path) -> Editor:
    """An editor with a Python file, the cursor under a function's head, and no requests ahead."""
    editor = edit(url=server.url, speculate=False, max_tokens=12, **PATIENT)
    editor.command("autocmd FileType * setlocal noexpandtab")
    editor.open(tmp_path / "sums.py", ADD)
    return editor


def begin(editor: Editor) -> str:
    """Type the beginning of a line and return the hint for its rest."""
    editor.type("o<C-u>    ret")
    return hint(editor)


def test_a_hint_is_seen_and_accepted(editor: Editor, tmp_path: Path) -> None:
    """It is drawn and not in the text; Tab puts it there, and so into the file."""
    text = begin(editor)
    editor.see("    ret" + text.split("\n")[0])
    assert editor.lines()[-1] == "    ret"
    editor.type("<Tab><Esc>:write<CR>")
    editor.wait_until(lambda: f"    ret{text}\n" in (tmp_path / "sums.py").read_text())
    assert editor.lua("return require('modelrouter').statusline()").startswith("smollm2 ")


def test_typing_along_a_hint_asks_nobody(editor: Editor) -> None:
    """What is left of it goes on showing, and comes back after a character is taken back."""
    text = begin(editor)
    assert len(text) > 2
    for typed in text[:2]:
        editor.type("<Space>" if typed == " " else typed)
    assert editor.lua(SHOWN) == text[2:]
    editor.type("<BS>")
    assert editor.lua(SHOWN) == text[1:]
    assert len(entries(editor, "hint")) == 1


def test_a_hint_is_accepted_by_word_and_by_line(editor: Editor) -> None:
    """Each takes a part, and the rest stays a hint that nobody is asked for."""
    text = begin(editor)
    word = editor.lua("return require('modelrouter.parts').first(...)", text, "word")
    editor.type("<M-Right>")
    assert editor.lines()[-1] == "    ret" + word
    rest: str = editor.lua(SHOWN)
    assert rest == text.removeprefix(word)
    line = editor.lua("return require('modelrouter.parts').first(...)", rest, "line")
    editor.type("<S-Tab>")
    assert "\n".join(editor.lines()).endswith("    ret" + word + line)
    assert len(entries(editor, "hint")) == 3, "one was asked for, two were accepted"


def test_a_hint_that_is_dismissed_stays_away(editor: Editor) -> None:
    """It goes, its keys are what they were, and typing along it does not bring it back."""
    begin(editor)
    editor.type("<C-]>")
    assert not editor.lua(SHOWN)
    editor.type("<Tab>")
    assert editor.lines()[-1] == "    ret\t"


def test_undo_takes_back_the_hint_alone(editor: Editor) -> None:
    """What was typed before it is a change of its own."""
    begin(editor)
    editor.type("<Tab><Esc>u")
    assert editor.lines()[-1] == "    ret"


def another(editor: Editor) -> str:
    """Ask for another hint, wait until it shows in the place of the one there, and return it."""
    before = editor.lua(SHOWN)
    editor.type("<M-]>")
    editor.wait_until(lambda: editor.lua(SHOWN) not in {before, False})
    text: str = editor.lua(SHOWN)
    return text


def test_another_hint_for_the_same_place(editor: Editor) -> None:
    """It is drawn anew, and shows in the first one's place; asking on goes back to the first."""
    first = begin(editor)
    seen = [another(editor)]
    editor.see("    ret" + seen[0].split("\n")[0])
    while seen[-1] != first:
        seen.append(another(editor))
    assert 2 <= len(seen) == len(set(seen)) <= 4
    assert entries(editor, "next")[-1]["outcome"] == "answered"


def test_leaving_insert_mode_stops_the_work(editor: Editor, server: Server) -> None:
    """The slot is free while the worker, which is stopped, could not have ended by itself."""
    begin(editor)
    worker = server.workers()[0]
    worker.suspend()
    try:
        editor.type("x")
        server.wait_for("smollm2", active=1)
        editor.type("<Esc>")
        server.wait_for("smollm2", active=0)
    finally:
        worker.resume()
    assert entries(editor, "hint")[0]["outcome"] == "cancelled"


def test_the_next_hint_is_there_before_it_is_asked_for(
    edit: Edit, server: Server, tmp_path: Path
) -> None:
    """While one shows, the one after it is asked for; accepting shows it at once."""
    editor = edit(url=server.url, max_tokens=8, **PATIENT)
    editor.open(tmp_path / "sums.py", ADD)
    begin(editor)
    while [entry["outcome"] for entry in entries(editor, "ahead")[-1:]] != ["answered"]:
        editor.wait_for("ModelRouterStatus")
    editor.type("<Tab>")
    assert editor.lua(SHOWN)
    assert [entry["outcome"] for entry in entries(editor, "hint")] == ["accepted", "answered"]


def test_a_macro_plays_what_was_typed(editor: Editor) -> None:
    """While one is recorded or played there are no hints, and Tab is a tab."""
    editor.type("qqo<C-u>    ret<Tab>x<Esc>q@q")
    assert editor.lines()[-2:] == ["    ret\tx"] * 2
    assert editor.lua(ENTRIES) == []


def test_windows_crlf_stays(editor: Editor, tmp_path: Path) -> None:
    """The server never sees a CR, and each line of the file has one."""
    editor.open(tmp_path / "dos.py", ADD.replace(b"\n", b"\r\n"))
    text = begin(editor)
    assert "\r" not in text
    editor.type("<Tab><Esc>:write<CR>")
    expected = ADD.decode() + f"    ret{text}\n"
    written = expected.replace("\n", "\r\n").encode()
    editor.wait_until(lambda: (tmp_path / "dos.py").read_bytes() == written)


def test_unicode_and_tabs(editor: Editor, tmp_path: Path) -> None:
    """The hint stands behind characters of several bytes and cells, and lands there."""
    editor.open(tmp_path / "a.py", "def größe(日本):\n\treturn 日本\n\ndef f(x):".encode())
    editor.type('o<C-u><Tab>ä = "日本" + ')
    text = hint(editor)
    editor.see(('    ä = "日本" + ' + text.split("\n")[0]).rstrip())
    editor.type("<Tab>")
    landed = text.replace("    ", "\t")  # a tab is drawn as blanks
    assert "\n".join(editor.lines()).endswith('\tä = "日本" + ' + landed)


def test_a_long_file(editor: Editor, tmp_path: Path) -> None:
    """In the middle of 10,000 lines no more of them is looked at and sent than elsewhere."""
    editor.open(
        tmp_path / "long.py", b"x = [1, 2, 3]  # a line of forty characters\n" * 5000 + ADD * 555
    )
    editor.command("5009")
    assert begin(editor)
    sent, most = editor.lua(LINES_SENT)
    assert 1 < sent <= most < 1000
    editor.type("<Tab>")
    for character in "#_a_comment_in_the_middle_of_it":
        editor.type(character)
        assert editor.lines()  # the key has had its turn
    assert editor.lua("return require('modelrouter.watch').held.calls") > 30
    assert editor.lua(LINES_SENT)[0] <= most


def test_a_hint_belongs_to_its_window(editor: Editor) -> None:
    """Going to another window takes it away and gives the keys back."""
    editor.command("split other.py")
    editor.command("wincmd p")
    begin(editor)
    editor.type("<C-o><C-w>w")
    assert not editor.lua(SHOWN)
    assert editor.lua("return vim.fn.maparg('<Tab>', 'i', false, true).buffer") != 1
    assert editor.lines() == [""]


def test_other_places_go_along(editor: Editor, tmp_path: Path) -> None:
    """What was visited is context, in the order in which it came; secrets are not."""
    (tmp_path / ".env").write_text("KEY=1\nB=2\nC=3\n")
    editor.command(f"edit {tmp_path}/.env")
    editor.command("normal! yG")
    editor.open(tmp_path / "b.py", b"def f():\n    return 1\n\nf()\n")
    editor.open(tmp_path / "c.py", b"")
    code = """
    local view = { first = 0, last = 0 }
    return vim.tbl_map(function(chunk)
      return vim.fs.basename(chunk.filename)
    end, require("modelrouter.context").beside(0, view))
    """
    assert editor.lua(code) == ["sums.py", "b.py"]


def test_switched_off_and_on(editor: Editor) -> None:
    """`:ModelRouter toggle` ends hints and brings them back."""
    editor.type(":ModelRouter toggle<CR>o<C-u>    ret")
    assert editor.lua("return require('modelrouter').statusline()") == "off"
    assert editor.lua(ENTRIES) == []
    editor.type("<Esc>u:ModelRouter toggle<CR>")
    assert begin(editor)
