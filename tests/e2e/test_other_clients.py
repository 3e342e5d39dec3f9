"""Clients that run as programs of their own: `llm`, and Ollama's package in Node."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from program import Serve

SCRIPT = Path(__file__).with_name("ollama_chat.mjs")


def run(command: list[str | Path], **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        stdin=subprocess.DEVNULL,
        env=os.environ | env,
    )


def test_ollama_in_node(
    npm_package: Callable[[str], Path], serve: Serve, tiny_config: Path
) -> None:
    """Whole answers, streams, a hole, lists, errors in the server's words, a leave."""
    package = npm_package("ollama@0.6")
    server = serve(tiny_config)
    done = run(["node", SCRIPT, package, server.url])
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["names"] == ["auto", "code", "general", "tiny"]
    assert "completion" in seen["capabilities"]
    assert (seen["model"], seen["reason"]) == ("tiny", "length")
    assert seen["text"] == seen["streamed"]
    assert seen["filled"] > 0
    assert seen["failure"]["status"] == 404
    assert seen["failure"]["message"].startswith("model 'nobody' not found; there are ")
    server.wait_for("tiny", active=0)


def test_llm_on_the_command_line(serve: Serve, tiny_config: Path, tmp_path: Path) -> None:
    """`llm` needs the address and nothing else: it asks, streams, lists, and says what is wrong."""
    server = serve(tiny_config)
    llm: list[str | Path] = [sys.executable, "-m", "llm", "openai", "endpoint", f"{server.url}/v1"]
    home = {"LLM_USER_PATH": str(tmp_path / "llm")}
    listed = run([*llm, "--models"], **home)
    assert listed.returncode == 0, listed.stderr
    for name in ("auto", "code", "general", "tiny"):
        assert name in listed.stdout
    asked: list[str | Path] = ["Hi", "-o", "seed", "1", "-o", "max_tokens", "8"]
    streamed = run([*llm, "-m", "auto", *asked], **home)
    assert streamed.returncode == 0, streamed.stderr
    whole = run([*llm, "-m", "auto", "--no-stream", *asked], **home)
    assert whole.stdout == streamed.stdout != ""
    other = run([*llm, "--responses", "-m", "auto", "Hi"], **home)
    assert (other.returncode, other.stdout != "") == (0, True), other.stderr
    unknown = run([*llm, "-m", "tinyy", *asked], **home)
    assert unknown.returncode == 1
    assert 'did you mean "tiny"' in unknown.stderr
