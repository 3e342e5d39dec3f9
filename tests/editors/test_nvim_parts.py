"""The Neovim plugin's pure parts, run in a real Neovim without a server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from neovim import PLUGIN, Editor

READ = """
local reader = require("modelrouter." .. select(1, ...)).reader()
local events = {}
for _, piece in ipairs(select(2, ...)) do
  vim.list_extend(events, reader:feed(piece))
end
return events
"""


@pytest.fixture(scope="module")
def nvim(nvim_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """One Neovim for all tests here: the parts keep nothing."""
    editor = Editor(nvim_program, tmp_path_factory.mktemp("parts"), {"auto": False})
    yield editor
    editor.close()


def cut(data: str) -> list[list[str]]:
    """Return the data whole, in single characters, and in pieces of three."""
    return [[data[at : at + n] for at in range(0, len(data), n)] for n in (len(data), 1, 3)]


def joined(events: list[dict[str, Any]]) -> str:
    """Return the body that the events bring."""
    return "".join(event.get("text", "") for event in events)


CHUNKED = (
    "HTTP/1.1 100 Continue\r\n\r\n"
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b: c\r\n\r\n"
    "5\r\nhello\r\n1;name=value\r\n \r\n6\r\nworld!\r\n0\r\nTrailer: x\r\n\r\n"
)


@pytest.mark.parametrize("pieces", cut(CHUNKED))
def test_a_chunked_answer_is_read_however_it_is_cut(nvim: Editor, pieces: list[str]) -> None:
    """Chunk borders, extensions, trailers and an interim head leave the body as it was."""
    head, *rest = nvim.lua(READ, "wire", pieces)
    assert (head["status"], head["headers"]["x-a"]) == (200, "b: c")
    assert joined(rest) == "hello world!"
    assert [event["kind"] for event in rest].index("end") == len(rest) - 1


@pytest.mark.parametrize("pieces", cut("HTTP/1.1 404 No\r\ncontent-length: 4\r\n\r\ngoneMORE"))
def test_an_answer_with_a_length_ends_there(nvim: Editor, pieces: list[str]) -> None:
    """What follows the length is not of this answer."""
    head, *rest = nvim.lua(READ, "wire", pieces)
    assert (head["status"], joined(rest), rest[-1]["kind"]) == (404, "gone", "end")


def test_what_is_no_http_is_told_with_its_beginning(nvim: Editor) -> None:
    """A wrong port is recognised at the first bytes, not after a wait."""
    ok, said = nvim.lua(
        "return { pcall(function() require('modelrouter.wire').reader():feed('SSH-2.0-x') end) }"
    )
    assert not ok
    assert said == 'the answer is no HTTP: "SSH-2.0-x"'


@pytest.mark.parametrize(
    "pieces", cut(': loading 3%\n\ndata: {"a":1}\r\n\r\ndata: x\ndata:  y\n\ndata: [DONE]\n\n')
)
def test_events_and_comments_are_read_however_they_are_cut(nvim: Editor, pieces: list[str]) -> None:
    """Both line ends, data over several lines, and comments between."""
    assert nvim.lua(READ, "sse", pieces) == [
        {"comment": "loading 3%"},
        {"data": '{"a":1}'},
        {"data": "x\n y"},
        {"data": "[DONE]"},
    ]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8012", ["127.0.0.1", 8012, ""]),
        ("http://localhost/", ["localhost", 80, ""]),
        ("http://[::1]:99/a/b/", ["::1", 99, "/a/b"]),
        (
            "https://x",
            "https://x: only http is spoken here; put a tunnel or a proxy before an https server",
        ),
        ("localhost:8012", '"localhost:8012" is no URL such as http://127.0.0.1:8012'),
        ("http://a:99999", 'http://a:99999: "a:99999" is no host and port'),
    ],
)
def test_addresses(nvim: Editor, url: str, expected: Any) -> None:
    """Host, port and path; or a sentence that says what would be one."""
    code = "local a, problem = require('modelrouter.address').parse(...)"
    assert nvim.lua(code + "return a and { a.host, a.port, a.base } or problem", url) == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ur": "x"}, "there is no setting ur; there are api_key, ask_model"),
        ({"url": 3}, "url must be a string, or false"),
        ({"auto": "yes"}, 'auto must be a boolean, got "yes"'),
        ({"max_tokens": -1}, "max_tokens must be a whole number from 0 up, got -1"),
        ({"context": {"line": 1}}, "there is no setting context.line; there are chunk_lines"),
        ({"keys": {"accept": 1}}, "keys.accept must be a string, or false"),
        ({"filetypes": {"lua": 1}}, 'filetypes["lua"] must be a boolean'),
        ({"debounce_ms": {"least": 9, "most": 1}}, "debounce_ms.least is 9, more than debounce_ms"),
    ],
)
def test_settings_that_cannot_be(nvim: Editor, settings: dict[str, Any], said: str) -> None:
    """Each is named with what could stand there."""
    (problem,) = nvim.lua("return require('modelrouter.config').problems(...)", settings)
    assert problem.startswith(said)


def test_settings_that_can_be(nvim: Editor) -> None:
    """False turns a key off, and the user's own words are taken where they belong."""
    settings = {
        "keys": {"accept": False},
        "filetypes": {"lua": False},
        "secrets": ["*.txt"],
        "api_key": "k",
    }
    assert nvim.lua("return require('modelrouter.config').problems(...)", settings) == []


@pytest.mark.parametrize(
    "name",
    [".env", ".env.local", "a/.ssh/config", "id_rsa.old", "KEY.PEM", "x.key", "credentials.json"],
)
def test_secret_files(nvim: Editor, name: str) -> None:
    """By name or by folder, in any case."""
    assert nvim.lua("return require('modelrouter.privacy').is_secret(...)", f"/home/a/{name}")


@pytest.mark.parametrize("name", ["environment.py", "keys.lua", "pem.md", "ssh/config", "a.envy"])
def test_files_that_are_not_secret(nvim: Editor, name: str) -> None:
    """A name that only looks like one is none."""
    assert not nvim.lua("return require('modelrouter.privacy').is_secret(...)", f"/home/a/{name}")


def test_a_link_to_a_secret_file_is_secret(nvim: Editor, tmp_path: Path) -> None:
    """What counts is the file whose content it would be."""
    (tmp_path / ".env").write_text("KEY=1")
    (tmp_path / "notes.txt").symlink_to(tmp_path / ".env")
    secret = nvim.lua(
        "return require('modelrouter.privacy').is_secret(...)", f"{tmp_path}/notes.txt"
    )
    assert secret


@pytest.mark.parametrize(
    ("how", "text", "part"),
    [
        ("whole", "a + b\nc", "a + b\nc"),
        ("line", "a + b\nc", "a + b"),
        ("line", "\n  a\nb", "\n  a"),
        ("word", "  größe2 + b", "  größe2"),
        ("word", ".append(x)", "."),
        ("word", "\n    x", "\n    x"),
        ("word", "   ", "   "),
        ("word", "日本 語", "日本"),
    ],
)
def test_parts_of_a_hint(nvim: Editor, how: str, text: str, part: str) -> None:
    """Words and lines take the blanks before them along, so that the next part begins with text."""
    assert nvim.lua("return require('modelrouter.parts').first(...)", text, how) == part


ANSWERS = """
local answers, window = require("modelrouter.answers").new(), require("modelrouter.window")
local function view(prefix, suffix)
  return { prefix = prefix, suffix = suffix or ")" }
end
local function texts(prefix, suffix)
  local found = answers:find(view(prefix, suffix))
  return found and found.texts or "unknown"
end
answers:add(view("f("), "abc\\nd")
answers:add(view("g("), "")
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('return texts("f(")', ["abc\nd"]),
        ('return texts("f(ab")', ["c\nd"]),
        ('return texts("f(abc\\n")', ["d"]),
        ('return texts("f(abc\\nd")', "unknown"),
        ('return texts("f(ax")', "unknown"),
        ('return texts("f(", "]")', "unknown"),
        ('return texts("g(")', [""]),
        ('return texts("g(a")', "unknown"),
        ('answers:add(view("f("), "axe") return texts("f(a")', ["bc\nd", "xe"]),
        ('answers:add(view("f("), "axe") return texts("f(ax")', ["e"]),
        ('answers:forget(view("f(a")) return texts("f(ab")', "unknown"),
    ],
)
def test_hints_are_known_along_the_way(nvim: Editor, code: str, expected: Any) -> None:
    """What was typed of a hint is not asked for again, nor where a hint was empty."""
    assert nvim.lua(ANSWERS + code) == expected


def test_a_server_that_fails_is_left_alone_for_longer_each_time(nvim: Editor) -> None:
    """The same failure is told once; the waits double up to a minute; an answer ends it."""
    code = """
    local outage = require("modelrouter.outage").new()
    local now, waits, told = 0, {}, 0
    for _ = 1, 8 do
      local words = outage:failed({ kind = "unreachable", message = "no server" }, now)
      told = told + (words and 1 or 0)
      local before = now
      while not outage:may_try(now) do
        now = now + 500
      end
      table.insert(waits, (now - before) / 1000)
    end
    outage:answered()
    local again = outage:failed({ kind = "unreachable", message = "no server" }, now)
    return { waits, told, again }
    """
    waits, told, again = nvim.lua(code)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert told == 1
    assert "modelrouter serve" in again


def test_a_missing_key_is_told_with_where_to_put_it(nvim: Editor) -> None:
    """Not the server's words for HTTP headers, but this plugin's settings."""
    code = "return require('modelrouter.outage').words_for({ status = 401, message = '' })"
    assert nvim.lua(code) == ("API key needed: set $MODELROUTER_API_KEY or `api_key`")


def test_a_busy_server_is_left_alone_as_it_wishes(nvim: Editor) -> None:
    """Retry-After is kept, and nobody is told."""
    code = """
    local outage = require("modelrouter.outage").new()
    local failure = { status = 429, message = "full", retry_after_seconds = 5 }
    local said = outage:failed(failure, 0)
    return { said or "nothing", outage:may_try(4999), outage:may_try(5000) }
    """
    assert nvim.lua(code) == ["nothing", False, True]


def test_the_pause_follows_the_latency(nvim: Editor) -> None:
    """Half of it, within the bounds; hints called off late count as slow."""
    code = """
    local pace, bounds = require("modelrouter.pace").new(), { least = 30, most = 1000 }
    local delays = { pace:delay_ms(bounds) }
    pace:answered(400)
    table.insert(delays, pace:delay_ms(bounds))
    pace:cancelled(100)
    table.insert(delays, pace:delay_ms(bounds))
    pace:cancelled(10000)
    table.insert(delays, pace:delay_ms(bounds))
    return delays
    """
    assert nvim.lua(code) == [30, 200, 200, 1000]


def test_the_first_line_sent_moves_in_steps(nvim: Editor) -> None:
    """Moving down a line leaves the text before it as the server has read it, but now and then."""
    firsts = nvim.lua(
        "return vim.tbl_map(function(row) return require('modelrouter.window').first_line(row, 128)"
        " end, vim.fn.range(0, 999))"
    )
    assert firsts[:129] == [0] * 129
    assert len(set(firsts)) == 1 + (999 - 128) // 64
    assert all(128 <= row - first < 128 + 64 for row, first in enumerate(firsts) if first)


def test_what_is_around_the_cursor(nvim: Editor) -> None:
    """Lines before, the line's left, the line's right and lines after, cut at bytes."""
    code = """
    local buffer = vim.api.nvim_create_buf(false, true)
    vim.api.nvim_buf_set_lines(buffer, 0, -1, false, { "a", "größe", "c", "d" })
    local context = { lines_before = 5, lines_after = 1 }
    local view = require("modelrouter.window").around(buffer, 1, 6, context)
    return { view.above, view.left, view.suffix, view.prefix }
    """
    assert nvim.lua(code) == ["a\n", "größ", "e\nc", "a\ngröß"]


def test_tabs_are_drawn_to_the_next_stop(nvim: Editor) -> None:
    """From the cursor's column on the first line, from the border on the others."""
    layout = nvim.lua("return require('modelrouter.ghost').layout(...)", "a\tb\n\tc\tä\td", 3, 8)
    assert layout == {"inline": "a    b", "below": ["        c       ä       d"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("größe 日本 🎉 a\tb\n", True), (b"a\0b", False), (b"gr\xf6\xdfe", False), (b"\xed", False)],
)
def test_text_that_can_be_sent(nvim: Editor, text: str | bytes, *, expected: bool) -> None:
    """UTF-8 without NUL; anything else is a binary file or another encoding."""
    assert nvim.lua("return require('modelrouter.scope').is_text(...)", text) is expected


def test_every_file_says_its_job_first() -> None:
    """The first line of each Lua file is a sentence about it."""
    files = list(PLUGIN.rglob("*.lua"))
    assert files
    for file in files:
        assert file.read_text().startswith("--- "), file
        assert len(file.read_text().splitlines()) <= 350, file
