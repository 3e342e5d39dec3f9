"""Time to the first token: our server over HTTP beside llama_cpp.Llama called directly, in one run.

Both load the starter model with the same threads and context, both answer new prompts in turns, and
both may reuse what the last prompt began with; the figure is the median of the turns' ratios.
"""

import statistics
import tempfile
import time
from pathlib import Path

from llama_cpp import Llama
from serving import serving
from starter import models_toml, starter_spec

from modelrouter.client import Client
from modelrouter.engine.cores import physical_cores
from modelrouter.types import Message, Request

TURNS = 15
CONTEXT = 2048
QUESTIONS = {
    "a line": "Name {n} reasons why sorting {n} numbers may be slower than hashing them",
    "a function": """Explain what this function does with {n} rows, and what it costs:
def merge_{n}(left, right):
    merged = []
    while left and right:
        side = left if left[0] <= right[0] else right
        merged.append(side.pop(0))
    return merged + left + right

rows = [[row * {n} % 101, row] for row in range({n})]
while len(rows) > 1:
    rows = [merge_{n}(a, b) for a, b in zip(rows[::2], rows[1::2])]""",
}


def rival_seconds(llama: Llama, question: str) -> float:
    """Stream from the high-level class until the first text."""
    started = time.perf_counter()
    chunks = llama.create_chat_completion(
        [{"role": "user", "content": question}], stream=True, temperature=0, max_tokens=4
    )
    return next(
        time.perf_counter() - started for c in chunks if c["choices"][0]["delta"].get("content")
    )


def our_seconds(url: str, question: str) -> float:
    """Stream from the server, as `ask` does, until the first text."""
    request = Request(
        (Message("user", question),), max_tokens=4, sampling={"temperature": 0}, use_cache=False
    )
    started = time.perf_counter()
    answer = iter(Client(url, None).ask(request))
    next(answer)
    taken = time.perf_counter() - started
    for _ in answer:
        pass
    return taken


def main() -> None:
    """Print both medians and their ratio."""
    spec = starter_spec(slots=1, context=CONTEXT)
    llama = Llama(
        str(spec.facts.path),
        n_ctx=CONTEXT,
        n_threads=physical_cores(),
        flash_attn=True,
        verbose=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        config = models_toml(Path(folder), slots=1, context=CONTEXT)
        with serving(config) as url:
            our_seconds(url, "warm up")
            rival_seconds(llama, "warm up")
            print(f"first token, {TURNS} turns   modelrouter   llama_cpp.Llama   ratio (median)")
            for name, question in QUESTIONS.items():
                turns = [question.format(n=n) for n in range(100, 100 + TURNS)]
                pairs = [(our_seconds(url, q), rival_seconds(llama, q)) for q in turns]
                print(f"{name:>22}   {_line(pairs)}")


def _line(pairs: list[tuple[float, float]]) -> str:
    ours, rival = (statistics.median(side) * 1000 for side in zip(*pairs, strict=True))
    ratio = statistics.median(o / r for o, r in pairs)
    return f"{ours:8.1f} ms   {rival:12.1f} ms   {ratio:.3f}"


main()
