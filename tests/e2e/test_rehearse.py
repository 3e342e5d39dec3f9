"""`modelrouter models rehearse`: tried as a person does, and ended in the middle."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from program import PROGRAM, Run, Serve, write_config
from terminal import Terminal

REHEARSE = ("models", "rehearse")
TINY = ("--geometry", "tiny", "--quant", "Q8_0")


@pytest.fixture
def config(tmp_path: Path, tiny_gguf: Path) -> Path:
    """A box with one resident model."""
    settings = ('residency = "resident"', "context = 512", "batch = 32")
    return write_config(tmp_path / "box", tiny_gguf, *settings, name="small")


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """The folder that files are written into."""
    return tmp_path / "space"


def left_in(space: Path) -> list[Path]:
    """Return what is left there."""
    return list(space.rglob("*"))


def test_a_model_that_is_not_there(run: Run, config: Path, space: Path) -> None:
    """It says what will be written, runs it beside the resident model, and removes it."""
    done = run(*REHEARSE, *TINY, "--folder", space, "--config", config)
    assert done.returncode == 0, done.stderr
    first, *steps = done.stderr.splitlines()
    assert first.startswith("tiny (Q8_0): a file of ")
    assert f"is written to {space} (" in first
    assert first.endswith("and removed in the end")
    assert "writing the file, MiB 100%" not in steps[:1]
    for step in ("measuring memory, disk and CPU", "reading prompts", "decoding 4 at once"):
        assert step in steps
    heads = [line[:10].rstrip() for line in done.stdout.splitlines()]
    assert heads[1:8] == ["memory", "load", "alone", "4 at once", "prompt", "disk", "limit"]
    assert "of which resident ones have" in done.stdout
    assert "nothing is read from it for a token" in done.stdout
    assert "would not make it faster" in done.stdout
    assert left_in(space) == []


def test_a_model_of_models_toml(run: Run, tmp_path: Path, tiny_gguf: Path) -> None:
    """Its own file is run, nothing is written; what was measured stays for `plan`."""
    config = write_config(tmp_path / "box", tiny_gguf, "context = 512", "slots = 2")
    done = run(*REHEARSE, "tiny", "--json", "--config", config)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["written_seconds"] is None
    assert (found["model"], found["slots"], found["context_tokens"]) == ("tiny", 2, 512)
    assert found["alone"]["at_once"] == 1
    assert found["together"]["at_once"] == 2
    assert found["pinned_bytes"] >= found["weights_bytes"]
    assert found["read_bytes"] == 0
    assert found["limit"] in {"memory", "CPU"}
    assert found["more_memory"] == []
    assert "a file of" not in done.stderr
    pace = json.loads(run("plan", "--json", "--config", config).stdout)["models"][0]["pace"]
    assert pace["predicted_seconds_a_token"] > 0
    assert pace["measured_seconds_a_token"] > 0


@contextmanager
def rehearsing(*arguments: str | Path) -> Iterator["subprocess.Popen[str]"]:
    """Start a rehearsal; it must be over when the block is left."""
    process = subprocess.Popen(
        [*PROGRAM, *REHEARSE, *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process: "subprocess.Popen[str]", begin: str) -> None:
    """Read what it says until a line begins so."""
    assert process.stderr is not None
    said = ""
    while not (line := process.stderr.readline()).startswith(begin):
        said += line
        assert line, said


@pytest.mark.parametrize(
    ("geometry", "step"),
    [("llama-3.2-1b", "writing the file, MiB 10%"), ("smollm2-135m", "decoding alone")],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ended_in_the_middle(
    geometry: str, step: str, number: signal.Signals, config: Path, space: Path
) -> None:
    """By Ctrl-C, a shutdown or a closed terminal, while it writes or runs: no file, no worker."""
    part = ("--geometry", geometry, "--quant", "Q4_0", "--slots", "1")
    with rehearsing(*part, "--folder", space, "--config", config) as process:
        wait_for(process, step)
        assert left_in(space)
        workers = psutil.Process(process.pid).children()
        process.send_signal(number)
        _, said = process.communicate(timeout=40)
        assert process.returncode == 130, said
    assert left_in(space) == []
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_bars_on_a_terminal(config: Path, space: Path) -> None:
    """A person sees the steps, and Ctrl-C ends them."""
    terminal = Terminal(*REHEARSE, *TINY, "--folder", space, "--config", config)
    terminal.wait_for("writing the file, MiB")
    terminal.wait_for("measuring memory, disk and CPU")
    terminal.press_ctrl_c()
    assert terminal.end() == 130
    assert left_in(space) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "name either a model of models.toml or a --geometry"),
        (("small", *TINY), 2, "name either a model of models.toml or a --geometry"),
        (
            ("small", "--quant", "Q8_0", "--context", "512", "--slots", "2"),
            2,
            "--quant, --context, --slots: for a --geometry; a model of models.toml is rehearsed",
        ),
        (
            ("small", "--kv-type", "f16", "--folder", "."),
            2,
            "--kv-type, --folder: for a --geometry",
        ),
        (
            ("smal",),
            2,
            'no model "smal" in models.toml; there are small\nhint: did you mean "small"?',
        ),
        (("--geometry", "llama-66b"), 2, 'hint: did you mean "llama-65b"?'),
        (("--geometry", "llama-65b", "--quant", "Q4_K_M"), 2, 'hint: did you mean "Q4_K"?'),
        (("--geometry", "tiny", "--slots", "0"), 2, "greater than or equal to 1"),
    ],
)
def test_bad_requests(
    run: Run, config: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """One clear message, what would help, and the exit code of its kind."""
    done = run(*REHEARSE, *arguments, "--config", config)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_box_that_is_too_small(run: Run, tmp_path: Path, tiny_gguf: Path, space: Path) -> None:
    """The numbers, and exit code 69: waiting will not help."""
    config = write_config(tmp_path / "box", tiny_gguf, "context = 512")
    config.write_text(f'{config.read_text()}\n[budget]\nram = "300MiB"\nreserve = "16MiB"\n')
    done = run(*REHEARSE, "--geometry", "llama-65b", "--folder", space, "--config", config)
    assert done.returncode == 69
    assert "llama-65b (Q4_K) needs 1.31 GiB; the budget is 284.0 MiB" in done.stderr
    assert left_in(space) == []


def test_not_beside_a_server(run: Run, serve: Serve, config: Path) -> None:
    """Its models have the memory; it is named, and nothing is loaded twice."""
    server = serve(config)
    done = run(*REHEARSE, *TINY, "--config", config)
    assert done.returncode == 75
    assert f"the server at {server.url} has the memory" in done.stderr
