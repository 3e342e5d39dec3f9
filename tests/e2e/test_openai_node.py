"""Chats as OpenAI's package for Node asks for them; Python's own is in `test_openai_chat.py`."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from program import Serve, write_config
from tool_models import TOOLS_TEMPLATE, with_template

SCRIPT = Path(__file__).with_name("openai_chat.mjs")


def test_openai_in_node(
    npm_package: Callable[[str], Path], serve: Serve, tmp_path: Path, tiny_gguf: Path
) -> None:
    """Whole answers, streams, a forced call through the streaming helper, typed errors, a leave."""
    package = npm_package("openai@6")
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
