"""Every figure of docs/classifier.md in one run, as Markdown, section by section.

`python benchmarks/classifier_report.py POOL`, where POOL is the folder of the public prompts;
`make classifier-report` runs it. It takes some minutes.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import classifier as benchmark

from modelrouter.classifier import Classifier
from modelrouter.classifier.dataset import Row, Source, read_sources
from modelrouter.classifier.evaluation import (
    Evaluation,
    as_table,
    evaluate,
    evaluate_files,
    steadiness,
)
from modelrouter.classifier.training import train

HARD: Final = sorted((Path(__file__).parents[1] / "data" / "hard").glob("*.jsonl"))
PREFIXES: Final = "raw_code_prefixes.jsonl"


def summary(shipped: Classifier, public: Sequence[Source], own: Sequence[Source]) -> None:
    """Print the figures at a glance."""
    by_file = evaluate_files(shipped, public, held_out=True)
    everything = held_out([*public, *own])
    own_rows = held_out(own)
    print("| | reached |\n|---|--:|")
    say(f"held-out public sources, mean of {len(by_file)} files", mean(by_file))
    say(f"held-out prompts of our own, {len(own_rows):,}", overall(shipped, own_rows).accuracy)
    say(f"hard set, {len(rows_of(read_sources(HARD)))}", mean(evaluate_hard(shipped)))
    for each in by_file:
        if each.name == PREFIXES:
            say("code prefixes taken for general", each.false["general"])
    say("calibration error (ECE), all held-out prompts", overall(shipped, everything).ece)
    for name, share in steadiness(shipped, everything).items():
        say(f"decisions that survive {name}", share)


def held_out_public(shipped: Classifier, public: Sequence[Source]) -> None:
    """Print how the held-out prompts of each public file are told."""
    print(as_table(evaluate_files(shipped, public, held_out=True), "file"))


def held_out_own(shipped: Classifier, own: Sequence[Source]) -> None:
    """Print how each kind of our own held-out prompts is told."""
    print(as_table(evaluate(shipped, held_out(own), "kind"), "kind"))


def hard_set(shipped: Classifier) -> None:
    """Print how each kind and each file of the hard set is told, and what it survives."""
    rows = rows_of(read_sources(HARD))
    print(as_table(evaluate(shipped, rows, "kind"), "kind"))
    print(as_table(evaluate_hard(shipped), "file"))
    print("| decisions that survive | |\n|---|--:|")
    for name, share in steadiness(shipped, rows).items():
        say(name, share)


def own_alone(shipped: Classifier, public: Sequence[Source], own: Sequence[Source]) -> None:
    """Print what the public prompts add: the shipped classifier beside one without them."""
    with tempfile.TemporaryDirectory() as folder:
        train(benchmark.PROMPTS, Path(folder))
        alone = Classifier.load(Path(folder))
    print("| trained on | public | own | hard |\n|---|--:|--:|--:|")
    for name, each in (("all", shipped), ("our own prompts alone", alone)):
        shares = (
            mean(evaluate_files(each, public, held_out=True)),
            overall(each, held_out(own)).accuracy,
            mean(evaluate_hard(each)),
        )
        print(f"| {name} | {' | '.join(f'{share:.3f}' for share in shares)} |")


def evaluate_hard(judged: Classifier) -> list[Evaluation]:
    """Return an evaluation for each file of the hard set."""
    return evaluate_files(judged, read_sources(HARD))


def overall(judged: Classifier, rows: Sequence[Row]) -> Evaluation:
    """Return one evaluation of all rows together."""
    pooled = [Row("all", r.text, r.label, r.kind, r.lang, r.group, r.is_found) for r in rows]
    [evaluation] = evaluate(judged, pooled)
    return evaluation


def rows_of(sources: Sequence[Source]) -> list[Row]:
    """Return the prompts of all sources."""
    return [row for source in sources for row in source.rows]


def held_out(sources: Sequence[Source]) -> list[Row]:
    """Return the prompts that nothing is trained on."""
    return [row for row in rows_of(sources) if row.part == "held_out"]


def mean(evaluations: Sequence[Evaluation]) -> float:
    """Return the accuracy, every file counted alike."""
    return statistics.fmean(evaluation.accuracy for evaluation in evaluations)


def say(name: str, share: float | None) -> None:
    """Print a line of a table."""
    print(f"| {name} | {'' if share is None else f'{share:.3f}'} |", flush=True)


def main() -> None:
    """Print all sections in the order of docs/classifier.md."""
    parser = argparse.ArgumentParser(description="Print every figure of docs/classifier.md.")
    parser.add_argument("pool", type=Path, metavar="POOL", help="folder of the public prompts")
    pool = sorted(parser.parse_args().pool.glob("*.jsonl"))
    if not pool:
        parser.error("POOL holds no *.jsonl files")
    shipped, public, own = Classifier.load(), read_sources(pool), read_sources(benchmark.PROMPTS)
    sections = {
        "Figures": lambda: summary(shipped, public, own),
        "Held-out public sources": lambda: held_out_public(shipped, public),
        "Held-out prompts of our own, by kind": lambda: held_out_own(shipped, own),
        "The hard set, by kind and by file": lambda: hard_set(shipped),
        "Time and memory": benchmark.speed,
        "What each part is worth": lambda: benchmark.ablation([*benchmark.PROMPTS, *pool]),
        "Trained on our own prompts alone": lambda: own_alone(shipped, public, own),
        "Follow-ups": benchmark.follow_ups,
    }
    for title, section in sections.items():
        print(f"\n### {title}\n", flush=True)
        section()


if __name__ == "__main__":
    main()
