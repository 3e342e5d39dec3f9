"""`modelrouter ps`, `models load` and `unload`: what runs on the server, seen and changed."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import PROGRAM, Run, Serve, write_config
from terminal import ERASED, Terminal


@pytest.mark.parametrize("command", [["ps"], ["ps", "-w"], ["models", "load", "tiny"]])
def test_without_a_server_nothing_is_loaded(
    run: Run, tiny_config: Path, command: list[str]
) -> None:
    """A sentence says so, and how to start one; the exit code is that of what is unavailable."""
    done = run(*command, "--config", tiny_config)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == (
        f"error: no server runs for {tiny_config}, so no model is loaded\n"
        "hint: start one with: modelrouter serve\n"
    )


def test_a_server_for_another_models_toml_is_named(
    run: Run, serve: Serve, tiny_config: Path, tmp_path: Path, tiny_gguf: Path
) -> None:
    """Whoever looks in the wrong folder is told where the server's models.toml is."""
    serve(tiny_config)
    done = run("ps", "--config", write_config(tmp_path / "other", tiny_gguf))
    assert done.returncode == 69
    assert f"hint: one runs for {tiny_config}: name that file with --config" in done.stderr


def test_the_table(run: Run, serve: Serve, tiny_config: Path) -> None:
    """A line for each model, and under them how much of the budget is used."""
    server = serve(tiny_config)
    assert run("models", "load", "tiny", "--config", tiny_config).stdout == "tiny is ready\n"
    (worker,) = server.workers()
    headings, tiny, used = run("ps", "--config", tiny_config).stdout.splitlines()
    assert " ".join(headings.split()) == "NAME STATE RESIDENCY MEMORY SLOTS WAITING PID"
    name, state, residency, *memory, slots, waiting, pid = tiny.split()
    assert (name, state, residency, slots, waiting) == ("tiny", "ready", "mapped", "0/1", "0")
    assert pid == str(worker.pid)
    assert re.fullmatch(r"[\d.]+ GiB \+ [\d.]+ KiB", " ".join(memory))
    footprint, pinned = float(memory[0]), float(memory[3]) / 2**20
    total = re.fullmatch(r"([\d.]+) of [\d.]+ GiB used", used)
    assert total
    assert abs(float(total[1]) - footprint - pinned) <= 0.011
    assert run("models", "unload", "tiny", "--config", tiny_config).stdout == "tiny is unloaded\n"
    assert not server.workers()


def test_json_is_the_status(run: Run, serve: Serve, tiny_config: Path) -> None:
    """`--json` prints what `GET /admin/status` answers."""
    server = serve(tiny_config)
    done = run("ps", "--json", "--config", tiny_config)
    assert json.loads(done.stdout) == server.get("/admin/status")[1]


def test_errors_of_the_server_are_errors_of_the_command(
    run: Run, serve: Serve, tiny_config: Path
) -> None:
    """The exit code and the words are those of the server's error."""
    serve(tiny_config)
    done = run("models", "load", "tinny", "--config", tiny_config)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        'error: no model "tinny" that can be loaded; there are tiny\nhint: did you mean "tiny"?\n'
    )


def test_what_failed_is_told_below_the_table(
    run: Run, serve: Serve, tmp_path: Path, tiny_gguf: Path
) -> None:
    """The last words of a model that could not be loaded stand there, and how often it failed."""
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_gguf.read_bytes())
    config = write_config(tmp_path / "moving", path)
    serve(config)
    path.write_bytes(tiny_gguf.read_bytes() + b"\0")
    assert run("models", "load", "tiny", "--config", config).returncode == 70
    _, _, failure, _ = run("ps", "--config", config).stdout.splitlines()
    assert failure == f"tiny failed: {path} has changed since its header was read"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_watching_through_a_pipe(
    run: Run, serve: Serve, tiny_config: Path, form: list[str]
) -> None:
    """Each change is a page of its own, or a line of JSON; Ctrl-C ends it with 130."""
    serve(tiny_config)
    command = [*PROGRAM, "ps", "--watch", *form, "--config", str(tiny_config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        states = states_in(process.stdout)
        assert next(states) == "unloaded"
        run("models", "load", "tiny", "--config", tiny_config)
        seen = [next(states)]
        while seen[-1] != "ready":
            seen.append(next(states))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert "Traceback" not in process.stderr.read().decode()
    assert set(seen) == {"loading", "ready"}


def states_in(lines: Iterator[bytes]) -> Iterator[str]:
    """Yield the state of the model "tiny" as it is told, in either form."""
    for line in lines:
        if line.startswith(b"{"):
            yield json.loads(line)["models"][0]["state"]
        elif line.startswith(b"tiny"):
            yield line.split()[1].decode()


def test_watching_on_a_terminal(run: Run, serve: Serve, tiny_config: Path) -> None:
    """The table is drawn anew in its place; Ctrl-C ends it with 130."""
    serve(tiny_config)
    terminal = Terminal("ps", "--watch", "--config", tiny_config)
    terminal.wait_for(r"tiny +unloaded")
    run("models", "load", "tiny", "--config", tiny_config)
    terminal.wait_for(r"(?s)\x1b\[1A.*tiny +ready")  # the cursor has gone up
    terminal.press_ctrl_c()
    assert terminal.end() == 130
    assert "Traceback" not in terminal.written


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_watching_ends_with_the_server(
    serve: Serve, tiny_config: Path, end: signal.Signals
) -> None:
    """A server that is gone is told as such, with the exit code of what is unavailable."""
    server = serve(tiny_config)
    terminal = Terminal("ps", "--watch", "--config", tiny_config)
    terminal.wait_for("used")
    server.process.send_signal(end)
    assert terminal.end() == 69
    assert f"error: the server at {server.url} has stopped" in terminal.written


def test_a_load_shows_how_far_it_is(serve: Serve, tmp_path: Path, starter_gguf: Path) -> None:
    """`models load` on a terminal says how much is loaded, and takes it back when it is there."""
    settings = ('residency = "resident"', "context = 512")
    config = write_config(tmp_path / "one", starter_gguf, *settings, name="smollm2")
    server = serve(config)
    worker = server.stop_half_loaded("smollm2")
    terminal = Terminal("models", "load", "smollm2", "--config", config)
    terminal.wait_for(r"loading smollm2 \d+%")
    worker.resume()
    assert terminal.end() == 0
    assert terminal.written.endswith(f"{ERASED}smollm2 is ready\r\n")


def test_the_command_of_a_locked_server_needs_the_key(
    run: Run, serve: Serve, tiny_config: Path
) -> None:
    """`ps` sends the key of the environment, and is refused without."""
    serve(tiny_config, MODELROUTER_API_KEY="secret")
    assert "needs its API key" in run("ps", "--config", tiny_config).stderr
    keyed = os.environ | {"MODELROUTER_API_KEY": "secret"}
    assert run("ps", "--config", tiny_config, env=keyed).returncode == 0
