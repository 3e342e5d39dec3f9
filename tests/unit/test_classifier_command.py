"""`modelrouter classifier`, as people run it."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

COMMAND: Final = (sys.executable, "-m", "modelrouter", "classifier")
SHORT_OF_DISK: Final = (
    sys.executable,
    "-c",
    """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
from modelrouter.__main__ import main
main()
""",
    "classifier",
)
"""The same where no file may grow beyond a megabyte, which the arrays do."""

FIELDS: Final = {
    "baking": "knead the dough",
    "garden": "prune the roses",
    "travel": "book the night train",
}


def run(
    *arguments: str | Path, command: Sequence[str] = COMMAND
) -> subprocess.CompletedProcess[str]:
    """Run `modelrouter classifier ARGUMENTS`."""
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def prompts_of(file: Path, count: int) -> Path:
    """Write prompts of three fields that are neither code nor general, and return the file."""
    lines = [
        {"text": f"{text} {run}", "label": label, "kind": "plain", "lang": "en", "run": str(run)}
        for label, text in FIELDS.items()
        for run in range(count)
    ]
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return file


@pytest.fixture
def hobbies(tmp_path: Path) -> Path:
    """Return a file of twenty prompts of each of three fields."""
    return prompts_of(tmp_path / "hobbies.jsonl", 20)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a folder, hidden ones too, by name."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@contextmanager
def watched(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """Run a command with its standard error on a terminal, and yield what it draws there."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        os.close(theirs)
        yield process, _drawn(ours)
    os.close(ours)


def _drawn(terminal: int) -> Iterator[str]:
    """Yield what appears on a terminal until its other side is closed."""
    try:
        while text := os.read(terminal, 4096):
            yield text.decode(errors="replace")
    except OSError:  # Linux says EIO where others say the end
        return


def test_a_classifier_of_ones_own_is_trained_and_evaluated(tmp_path: Path, hobbies: Path) -> None:
    """What `train` writes, `eval` reads; the figures are named after the fields."""
    pytest.importorskip("sklearn", reason="scikit-learn comes with modelrouter[training]")
    pytest.importorskip("matplotlib", reason="matplotlib comes with modelrouter[training]")
    mine = tmp_path / "mine"
    trained = run("train", hobbies, "--out", mine)
    assert (trained.returncode, trained.stderr) == (0, "")
    files = sorted(contents(mine))
    assert [name.split("-")[0] for name in files] == ["manifest.json", "reliability", "weights"]
    assert trained.stdout.endswith(f"written to {mine}: {', '.join(files)}\n")
    done = run("eval", hobbies, "--classifier", mine, "--json")
    [figures] = json.loads(done.stdout)
    assert figures | {"ece": 0, "us_per_prompt": 0} == {
        "file": "hobbies.jsonl",
        "n": 60,
        "accuracy": 1.0,
        "macro_f1": 1.0,
        "false_baking": 0.0,
        "false_garden": 0.0,
        "false_travel": 0.0,
        "ece": 0,
        "us_per_prompt": 0,
    }


def test_a_terminal_sees_every_step(tmp_path: Path, hobbies: Path) -> None:
    """Bars on standard error, one a step with its count; standard output has the report alone."""
    pytest.importorskip("matplotlib", reason="matplotlib comes with modelrouter[training]")
    with watched("train", hobbies, "--out", tmp_path / "mine") as (process, drawn):
        seen = "".join(drawn)
        assert process.stdout is not None
        printed = process.stdout.read()
    for step in ("reading", "features", "60/60", "calibrating", "fitting", "writing"):
        assert step in seen
    assert printed.startswith("held out  ")
    assert "\x1b" not in printed


def test_ctrl_c_leaves_the_classifier_that_was_there(tmp_path: Path) -> None:
    """In the middle of a training: exit code 130, no traceback, and every byte as it was."""
    pytest.importorskip("matplotlib", reason="matplotlib comes with modelrouter[training]")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "manifest.json").write_text("what was there")
    many = prompts_of(tmp_path / "many.jsonl", 20_000)
    with watched("train", many, "--out", mine) as (process, drawn):
        seen = next(text for text in drawn if "features" in text)
        process.send_signal(signal.SIGINT)
        seen += "".join(drawn)
    assert process.returncode == 130
    assert "Traceback" not in seen
    assert contents(mine) == {"manifest.json": b"what was there"}


def test_a_full_disk_leaves_the_classifier_that_was_there(tmp_path: Path, hobbies: Path) -> None:
    """What cannot be written whole is not written: one line, and every byte as it was."""
    pytest.importorskip("matplotlib", reason="matplotlib comes with modelrouter[training]")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "manifest.json").write_text("what was there")
    done = run("train", hobbies, "--out", mine, command=SHORT_OF_DISK)
    assert (done.returncode, done.stdout) == (74, "")
    assert done.stderr == "error: [Errno 27] File too large\n"
    assert contents(mine) == {"manifest.json": b"what was there"}


def test_the_shipped_classifier_refuses_fields_it_does_not_know(hobbies: Path) -> None:
    """Exit code 2, what is wrong, and what the fields are."""
    done = run("eval", hobbies)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        'error: labels that the classifier does not know: "baking" in hobbies.jsonl, '
        '"garden" in hobbies.jsonl, "travel" in hobbies.jsonl\n'
        "hint: its fields are code, general\n"
    )


@pytest.mark.parametrize("command", ["train", "eval"])
def test_bad_lines_are_named(tmp_path: Path, command: str) -> None:
    """Each mistake has its file and line, and nothing is written."""
    bad = tmp_path / "bad.jsonl"
    bad.write_text(
        '{"text": "a"}\n{"text": "b", "label": "code", "kind": "plain", "run": "r"}\n[]\n'
    )
    out = ("--out", tmp_path / "out") if command == "train" else ()
    done = run(command, bad, *out)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f'error: {bad}:1: missing key "label"\n'
        f"{bad}:3: expected an object, got list\n"
        'hint: a line is {"text", "label", "kind", "lang", "run"}; nothing was written\n'
    )
    assert not (tmp_path / "out").exists()
