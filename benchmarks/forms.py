"""What it costs to hold an answer to a form: tokens a second of the starter model, free and held.

    python benchmarks/forms.py

All in one process and in turns, so that a busy moment of the box hits each of them alike.
"""

import statistics
import time

from starter import starter_spec

from modelrouter.engine.batcher import Batcher
from modelrouter.engine.constraint import compiled
from modelrouter.engine.llama import LlamaBackend
from modelrouter.engine.protocol import Finished, Generate
from modelrouter.engine.spawning import load_message
from modelrouter.formats import ANY_OBJECT, AnswerFormat
from modelrouter.generation import Generation, Piece
from modelrouter.types import Sampling

PROMPT = (
    "<|im_start|>user\nTell me a very long story about a cat.<|im_end|>\n<|im_start|>assistant\n"
)
TOKENS = 100
SEEDS = range(4)
ROUNDS = 5
FORMS = {
    "free": None,
    "any object": ANY_OBJECT,
    "schema": AnswerFormat.of_schema(
        {"type": "array", "items": {"type": "string"}, "minItems": 60}
    ),
    "grammar": AnswerFormat("gbnf", 'root ::= ([a-z] | " ")+'),
}


def pace(backend: LlamaBackend, form: AnswerFormat | None) -> float:
    """Return the tokens a second over all seeds, prompts not counted."""
    grammar = None if form is None else compiled(form)
    tokens, seconds = 0, 0.0
    for seed in SEEDS:
        batcher = Batcher(backend, time.perf_counter)
        drawing = Sampling(temperature=0.8, seed=seed)
        wanted = Generation((Piece(PROMPT, special=True),), drawing, TOKENS, grammar=grammar)
        events = batcher.submit(Generate(0, wanted))
        while not batcher.is_idle:
            events = batcher.commit(decoded=backend.decode(batcher.plan()))
        end = events[-1]
        assert isinstance(end, Finished), end
        tokens += end.usage.completion_tokens
        seconds += end.timings.decode_seconds
    return tokens / seconds


def main() -> None:
    """Measure all forms in turns and print each beside the free answer."""
    message = load_message(starter_spec(slots=1, context=512), None)
    backend = LlamaBackend(message, lambda _: None)
    pace(backend, ANY_OBJECT)  # takes the vocabulary in
    paces: dict[str, list[float]] = {name: [] for name in FORMS}
    for _ in range(ROUNDS):
        for name, form in FORMS.items():
            paces[name].append(pace(backend, form))
    free = statistics.median(paces["free"])
    for name, measured in paces.items():
        middle = statistics.median(measured)
        print(f"{name:12} {middle:6.1f} tokens/s  {middle / free:5.2f} of free")
    backend.close()


if __name__ == "__main__":
    main()
