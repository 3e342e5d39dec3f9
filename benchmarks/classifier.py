"""The classifier's speed and memory, what each of its parts is worth, and how it takes follow-ups.

Each figure of docs/classifier.md that is not an evaluation's comes from here, as Markdown:
`python benchmarks/classifier.py speed`, `follow-ups`, or `ablation FILES...`.
"""

import argparse
import itertools
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from scipy.sparse import csr_array, vstack
from threadpoolctl import threadpool_limits

from modelrouter.classifier import Classifier, model, training
from modelrouter.classifier.dataset import Row, read_sources
from modelrouter.classifier.features import BUCKETS, Flags, extract
from modelrouter.classifier.scoring import Table
from modelrouter.classifier.training import Labels, to_matrix
from modelrouter.classifier.typos import disturbed
from modelrouter.types import Message, Request

PROMPTS: Final = sorted((Path(__file__).parents[1] / "data" / "prompts").glob("*.jsonl"))

CHARACTERS_A_TOKEN: Final = 4
TURNS: Final = 300
ALWAYS: Final = 1.01

FOLLOW_UPS: Final = (
    "now make it faster", "yes, do it", "shorter please", "why?", "ok, and without the second part",
    "can you explain the first line", "try again", "thanks! one more version", "go on",
    "und jetzt noch kürzer", "可以再短一点吗", "longer", "more examples", "is that all?",
    "no, the other way round", "again, but simpler", "what do you mean", "that didn't work",
    "are you sure?", "do the same for the other three", "undo the last change", "make it nicer",
    "in german please", "plus courte", "¿y ahora?", "step by step please", "keep it simple",
    "can you check it again", "hm no, like before", "another one",
)  # fmt: skip
"""Turns that say nothing of a field, of which each belongs to any conversation."""

PREDICTING: Final = """
from modelrouter.classifier import Classifier
from modelrouter.types import Message, Request
classifier = Classifier.load()
classifier.predict(Request((Message('user', 'sort a list ' * 400),)))
"""

RULES: Final = ((0, ALWAYS), (40, 0.8), (40, 0.95), (40, ALWAYS), (80, 0.95))
"""Turns of up to so many characters, and below such a confidence, lean on those before them."""

SHIPS: Final = ": the one that ships"

KEYWORDS: Final = re.compile(
    r"\b(code|function|python|java|javascript|typescript|rust|sql|html|css|bash|shell|regex|"
    r"script|program|class|method|array|loop|compile|error|exception|api|json|git|docker|query|"
    r"def|import|return|const|var|void|public|select)\b",
    re.IGNORECASE,
)
"""What a router of keywords would look for."""


def chat(*contents: str) -> Request:
    """Return a chat of these turns of a user, an assistant's "ok" after each but the last."""
    turns = [Message("user", content) for content in contents]
    answers = [Message("assistant", "ok")] * (len(turns) - 1)
    between = itertools.zip_longest(turns, answers)
    return Request(tuple(message for pair in between for message in pair if message))


def rows_of(files: Sequence[Path]) -> list[Row]:
    """Return the prompts of the files."""
    return [row for source in read_sources(files) for row in source.rows]


def speed() -> None:
    """Print the time a prediction takes, by length of the prompt, and what loading costs."""
    classifier = Classifier.load()
    text = "\n\n".join(row.text for row in rows_of(PROMPTS))
    print("| tokens | median ms | 99th percentile ms |\n|--:|--:|--:|")
    for tokens in (50, 500, 2_000, 8_000):
        times = sorted(_milliseconds(classifier, text, tokens * CHARACTERS_A_TOKEN))
        p50, p99 = statistics.median(times), times[len(times) * 99 // 100]
        print(f"| {tokens:,} | {p50:.2f} | {p99:.2f} |")
    bare, loaded = _resident_mb("import sys"), _resident_mb(PREDICTING)
    print(f"\nMemory over a bare Python, numpy included: {loaded - bare:.0f} MB.", end=" ")
    started = time.perf_counter()
    Classifier.load()
    print(f"Loading: {(time.perf_counter() - started) * 1000:.0f} ms.")


def _milliseconds(classifier: Classifier, text: str, length: int) -> Iterator[float]:
    """Yield how long predictions of different stretches of `text` take, the first few left out."""
    dice = random.Random(0)
    for turn in range(-10, TURNS):
        at = dice.randrange(len(text) - length)
        request = chat(text[at : at + length] + ".")
        started = time.perf_counter()
        classifier.predict(request)
        if turn >= 0:
            yield (time.perf_counter() - started) * 1000


def _resident_mb(statement: str) -> float:
    """Return the resident memory of a process that ran the statement, in millions of bytes."""
    script = f"""{statement}
status = open('/proc/self/status').read()
print(status.split('VmRSS:')[1].split()[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return int(done.stdout) * 1024 / 1e6


def follow_ups() -> None:
    """Print how conversations are told under several rules, the shipped one among them.

    The prompts are held out. "same" are follow-ups of our own after a prompt of their field,
    "any" those of FOLLOW_UPS, and "new" prompts after one of the other field: the hardest case.
    """
    classifier = Classifier.load()
    cases = _conversations()
    shipped = (model.SHORT_CHARACTERS, model.UNSURE)
    print("| rule | same | any | new |\n|---|--:|--:|--:|")
    for rule in sorted({*RULES, shipped}):
        vars(model).update(zip(("SHORT_CHARACTERS", "UNSURE"), rule, strict=True))
        shares = " | ".join(f"{_agreement(classifier, case):.3f}" for case in cases)
        print(f"| {_said(*rule)}{SHIPS if rule == shipped else ''} | {shares} |")
    vars(model).update(SHORT_CHARACTERS=shipped[0], UNSURE=shipped[1])


def _said(characters: int, unsure: float) -> str:
    """Return a rule of RULES in words."""
    if not characters:
        return "the last turn alone"
    return f"up to {characters} characters, {f'below {unsure:.2f}' if unsure < 1 else 'always'}"


def _conversations() -> tuple[list[tuple[str, str, str]], ...]:
    """Return (the turn before, the last turn, its field) for follow-ups, any ones, new subjects."""
    dice = random.Random(0)
    rows = [row for row in rows_of(PROMPTS) if row.part == "held_out"]
    follow = [row for row in rows if row.kind == "follow-up"]
    rest = [row for row in rows if row.kind != "follow-up"]
    starts = {
        field: [row.text for row in rest if row.label == field and row.kind != "one-word"]
        for field in ("code", "general")
    }
    other = {"code": "general", "general": "code"}
    same = [(dice.choice(starts[r.label]), r.text, r.label) for r in follow for _ in range(4)]
    anyone = [(dice.choice(starts[f]), t, f) for t in FOLLOW_UPS for f in starts for _ in range(4)]
    new = [(dice.choice(starts[other[r.label]]), r.text, r.label) for r in rest]
    return same, anyone, new


def _agreement(classifier: Classifier, cases: Sequence[tuple[str, str, str]]) -> float:
    return statistics.fmean(
        classifier.predict(chat(before, last)).field == field for before, last, field in cases
    )


def ablation(files: Sequence[Path]) -> None:
    """Print the accuracy on the held-out rows of `files` with parts of the classifier left out."""
    rows = rows_of(files)
    held_out = [row for row in rows if row.part == "held_out"]
    learned = [row for row in rows if row.part != "held_out"]
    texts = [row.text for row in learned]
    truth = np.array([row.label == "general" for row in held_out], dtype=np.int64)
    labels = np.array([row.label == "general" for row in learned], dtype=np.int64)
    weights = training.row_weights(learned)
    asked, known = (to_matrix(extract(r.text) for r in part) for part in (held_out, learned))
    misspelt = to_matrix(extract(disturbed(text, training.TYPO_SEED)) for text in texts)
    grams, looks = slice(0, BUCKETS), slice(BUCKETS, None)
    lengths = [csr_array(np.log1p([[len(r.text)] for r in part])) for part in (learned, held_out)]
    keywords = [bool(KEYWORDS.search(row.text)) for row in held_out]

    print("| | all | public | own |\n|---|--:|--:|--:|")
    threadpool_limits(limits=1)  # as in training: sums in another order find other weights
    _say("always code", held_out, truth == 0)
    _say("any of 35 code words", held_out, (truth == 0) == keywords)
    for name, part, other in (
        ("length only", *lengths),
        ("structure only", known[:, looks], asked[:, looks]),
        ("n-grams only", known[:, grams], asked[:, grams]),
        ("n-grams and structure", known, asked),
    ):
        _say(name, held_out, _answers(part, labels, weights, other) == truth)
    both = vstack([known, misspelt])
    share = training.TYPO_SHARE
    both_weights = np.concatenate([weights * (1 - share), weights * share])
    answers = _answers(both, np.tile(labels, 2), both_weights, asked)
    _say(f"and misspelt copies{SHIPS}", held_out, answers == truth)


def _answers(known: csr_array, labels: Labels, weights: Table, asked: csr_array) -> Labels:
    """Return what a classifier trained on `known` says of `asked`."""
    fitted = training.fit_weights(known, labels, weights, ("code", "general"))
    answers: Labels = (asked @ fitted.weights.T + fitted.bias).argmax(axis=1)
    return answers


def _say(name: str, rows: Sequence[Row], right: Flags) -> None:
    """Print the accuracy over all rows, the mean of the public files, and over our own prompts."""
    own = np.array([row.file.startswith("sitting") for row in rows])
    files = np.array([row.file for row in rows])
    public = [float(right[files == file].mean()) for file in np.unique(files[~own])]
    mean = statistics.fmean(public) if public else float("nan")
    shares = f"{right.mean():.3f} | {mean:.3f} | {right[own].mean():.3f}"
    print(f"| {name} | {shares} |", flush=True)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description="Measure the prompt classifier.")
    parser.add_argument("what", choices=("speed", "follow-ups", "ablation"))
    parser.add_argument("files", nargs="*", type=Path, help="labelled prompts, for the ablation")
    options = parser.parse_args()
    if options.what == "ablation":
        ablation(options.files or PROMPTS)
    else:
        {"speed": speed, "follow-ups": follow_ups}[options.what]()


if __name__ == "__main__":
    main()
