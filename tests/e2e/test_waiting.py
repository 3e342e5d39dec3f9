"""What a person sees who waits for an answer: one line, gone when the text comes."""

import re
import subprocess
from pathlib import Path

import psutil
import pytest
from program import PROGRAM, USER_HI, Run, Serve, write_config
from terminal import ERASED, Terminal

ASK = ("ask", "--max-tokens", "4", "--seed", "1", "--no-cache", "hi")


def screen(written: str) -> str:
    """Return what is left to see: an erased line is not."""
    return re.sub(r"[^\n]*\r(\x1b\[K)?(?!\n)", "", written.replace("\r\n", "\n"))


@pytest.fixture
def slow_config(tmp_path: Path, starter_gguf: Path) -> Path:
    """A models.toml whose model takes a moment to load, and tells how far it is."""
    settings = ('residency = "resident"', "context = 512")
    return write_config(tmp_path / "one", starter_gguf, *settings, name="smollm2")


def test_a_load_on_the_server_is_shown(serve: Serve, slow_config: Path) -> None:
    """The line says which model and how much of it, and leaves only the answer behind."""
    worker = serve(slow_config).stop_half_loaded("smollm2")
    terminal = Terminal(*ASK, "--config", slow_config)
    terminal.wait_for(r"\rloading smollm2 \d+%\x1b\[K")
    worker.resume()
    assert terminal.end() == 0
    assert ERASED in terminal.written
    assert "loading" not in screen(terminal.written)
    assert " · smollm2 · 4 tokens" in screen(terminal.written)


def test_a_place_in_the_line_is_shown(serve: Serve, tiny_config: Path) -> None:
    """Who waits for others knows how many; Ctrl-C takes the line away and leaves the line."""
    server = serve(tiny_config)
    server.post("/admin/models/tiny/load", b"")
    (worker,) = server.workers()
    worker.suspend()
    chat = {"messages": USER_HI, "max_tokens": 4, "stream": True}
    with server.begin(chat):
        server.wait_for("tiny", active=1)
        first, second = (Terminal(*ASK, "--config", tiny_config) for _ in range(2))
        server.wait_for("tiny", waiting=2)
        first.wait_for("waiting for tiny: ")
        second.wait_for("waiting for tiny: ")
        said = {
            re.findall("waiting for tiny: [^\x1b]*", each.written)[0] for each in (first, second)
        }
        assert said == {"waiting for tiny: you are next", "waiting for tiny: 1 before you"}
        first.press_ctrl_c()
        assert first.end() == 130
        assert screen(first.written).strip() in {"", "^C"}
        server.wait_for("tiny", waiting=1)
        worker.resume()
    assert second.end() == 0


def test_a_load_in_this_process_is_shown(tiny_config: Path) -> None:
    """Without a server the same line stands there, and is gone as well."""
    terminal = Terminal(*ASK, "--config", tiny_config)
    assert terminal.end() == 0
    assert "\rloading tiny" in terminal.written
    assert "\rtiny is reading the prompt" in terminal.written
    assert "loading" not in screen(terminal.written)
    assert "reading" not in screen(terminal.written)


def test_an_error_takes_the_line_with_it(tiny_config: Path) -> None:
    """The message of a worker that is killed in its load stands alone."""
    terminal = Terminal(*ASK, "--config", tiny_config)
    terminal.wait_for("loading tiny")
    while not (workers := psutil.Process(terminal.process.pid).children()):
        pass
    workers[0].kill()
    assert terminal.end() == 70
    assert screen(terminal.written).startswith("error: tiny: the worker was ended by signal 9")


def test_a_terminal_that_cannot_erase_shows_no_line(tiny_config: Path) -> None:
    """With TERM=dumb there is the answer alone."""
    terminal = Terminal(*ASK, "--config", tiny_config, TERM="dumb")
    assert terminal.end() == 0
    assert "loading" not in terminal.written
    assert "\x1b" not in terminal.written


def test_without_a_terminal_nothing_is_shown(serve: Serve, slow_config: Path) -> None:
    """Through a pipe, stderr has the line under the answer and no other, however long it takes."""
    worker = serve(slow_config).stop_half_loaded("smollm2")
    command = [*PROGRAM, *ASK, "--config", str(slow_config)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as piped:
        terminal = Terminal(*ASK, "--config", slow_config)  # who came later hears of the load
        terminal.wait_for("loading smollm2")
        worker.resume()
        stdout, stderr = piped.communicate(timeout=50)
        assert (terminal.end(), piped.returncode) == (0, 0)
    assert stdout
    (line,) = stderr.decode().splitlines()
    assert " · smollm2 · 4 tokens" in line


def test_in_this_process_nothing_is_shown_either(run: Run, tiny_config: Path) -> None:
    """Without a server and without a terminal, it is the same."""
    done = run(*ASK, "--config", tiny_config)
    assert len(done.stderr.splitlines()) == 1
    assert "loading" not in done.stderr
