"""Chats as OpenAI's package for Node asks for them; Python's own is in `test_openai_chat.py`."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import TOOLS_TEMPLATE, Serve, with_template, write_config

SCRIPT = Path(__file__).with_name("openai_chat.mjs")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it; a skip that says why where it cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "openai@6"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=45
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install openai@6 within 45 s")
    if done.returncode:
        pytest.skip(f"npm cannot install openai@6: {done.stderr.strip()[-200:]}")
    return folder


def test_openai_in_node(package: Path, serve: Serve, tmp_path: Path, tiny_gguf: Path) -> None:
    """Whole answers, streams, a forced call through the streaming helper, typed errors, a leave."""
    model = with_template(tiny_gguf, tmp_path / "caller.gguf", TOOLS_TEMPLATE)
    server = serve(write_config(tmp_path, model, "context = 1024"))
    done = subprocess.run(
        ["node", SCRIPT, package, server.url],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["model"] == "tiny"
    assert seen["text"] == seen["streamed"]
    assert seen["finish"] == "tool_calls"
    assert seen["call"]["name"] == "weather"
    assert json.loads(seen["call"]["arguments"]) == {"city": "Paris"}
    assert seen["failure"] == {"kind": "NotFoundError", "status": 404}
    server.wait_for("tiny", active=0)
