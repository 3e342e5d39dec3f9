"""Evaluates a loaded classifier on labelled prompts: how often right, how sure, how fast.

It knows no training and no weights; it asks for predictions as a request does. Run as
`python -m modelrouter.classifier.evaluation FILES... [--json]`.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from modelrouter.classifier.dataset import Row, Source, mistakes, read_sources
from modelrouter.classifier.model import Classifier
from modelrouter.classifier.scoring import calibration_error
from modelrouter.classifier.typos import DISTURBANCES
from modelrouter.errors import ConfigError
from modelrouter.types import Message, Request

By: TypeAlias = Literal["file", "kind", "lang"]

DISTURBANCE_SEED: Final = 7
"""Not the seed of the training: the classifier must not have seen these very typos."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a classifier said of one labelled prompt, and the microseconds it took."""

    row: Row
    field: str
    confidence: float
    microseconds: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a classifier did on the prompts of one file, kind or language.

    `macro_f1` is the mean F1 of the fields that are a label or an answer here. `false` has, for
    each field, the share of other fields' prompts that were taken for it, None where there are
    none. `ece` is the expected calibration error, `us_per_prompt` the median in microseconds.
    """

    name: str
    n: int
    accuracy: float
    macro_f1: float
    false: Mapping[str, float | None]
    ece: float
    us_per_prompt: float

    def figures(self, by: By) -> dict[str, object]:
        """Return the figures as plain values; the name stands under the key `by`."""
        return {
            by: self.name,
            "n": self.n,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            **{f"false_{field}": share for field, share in self.false.items()},
            "ece": self.ece,
            "us_per_prompt": self.us_per_prompt,
        }

    def to_json(self, by: By) -> dict[str, object]:
        """Return the figures with four digits, the microseconds whole."""
        figures = self.figures(by) | {"us_per_prompt": round(self.us_per_prompt)}
        return {
            key: round(value, 4) if isinstance(value, float) else value
            for key, value in figures.items()
        }


def evaluate(classifier: Classifier, rows: Sequence[Row], by: By = "file") -> list[Evaluation]:
    """Return an evaluation for each file, kind or language of `rows`, by name.

    ConfigError where there are no prompts, or one has a label that is no field of the classifier.
    """
    check_labels(classifier, rows)
    groups: dict[str, list[Answer]] = {}
    for row in rows:
        groups.setdefault(getattr(row, by), []).append(_answer(classifier, row))
    return [
        _evaluation(name, answers, classifier.fields) for name, answers in sorted(groups.items())
    ]


def evaluate_files(
    classifier: Classifier, sources: Sequence[Source], *, held_out: bool = False
) -> list[Evaluation]:
    """Return an evaluation for each file, by name; files of one name stay apart.

    With `held_out`, only on what is never trained on, and a file without any has no evaluation.
    ConfigError as for `evaluate`, and where a file has no prompts at all.
    """
    if empty := [source.name for source in sources if not source.rows]:
        raise ConfigError(f"no prompts in {', '.join(empty)}")
    asked = [_asked(source.rows, held_out=held_out) for source in sources]
    check_labels(classifier, [row for rows in asked for row in rows])
    found = [each for rows in asked if rows for each in evaluate(classifier, rows)]
    return sorted(found, key=lambda evaluation: evaluation.name)


def _asked(rows: Sequence[Row], *, held_out: bool) -> list[Row]:
    return [row for row in rows if not held_out or row.part == "held_out"]


def steadiness(classifier: Classifier, rows: Sequence[Row]) -> dict[str, float]:
    """Return for each disturbance the share of prompts whose field stays what it was."""
    before = [_field(classifier, row.text) for row in rows]
    return {
        name: statistics.fmean(
            _field(classifier, disturb(row.text, DISTURBANCE_SEED)) == field
            for row, field in zip(rows, before, strict=True)
        )
        for name, disturb in DISTURBANCES.items()
    }


def check_labels(classifier: Classifier, rows: Sequence[Row]) -> None:
    """Refuse prompts that the classifier cannot get right: none at all, or of unknown fields."""
    if not rows:
        raise ConfigError("no prompts to evaluate on", hint="--held-out leaves only some of a file")
    unknown = {row.label: row.file for row in rows if row.label not in classifier.fields}
    if unknown:
        said = ", ".join(f'"{label}" in {file}' for label, file in sorted(unknown.items()))
        raise ConfigError(
            f"labels that the classifier does not know: {said}",
            hint=f"its fields are {', '.join(classifier.fields)}",
        )


def _answer(classifier: Classifier, row: Row) -> Answer:
    request = Request((Message("user", row.text),))
    start = time.perf_counter()
    prediction = classifier.predict(request)
    microseconds = (time.perf_counter() - start) * 1e6
    return Answer(row, prediction.field, prediction.confidence, microseconds)


def _field(classifier: Classifier, text: str) -> str:
    return classifier.predict(Request((Message("user", text),))).field


def _evaluation(name: str, answers: Sequence[Answer], fields: Sequence[str]) -> Evaluation:
    right = np.array([answer.field == answer.row.label for answer in answers])
    confidence = np.array([answer.confidence for answer in answers])
    seen = sorted({answer.row.label for answer in answers} | {answer.field for answer in answers})
    return Evaluation(
        name=name,
        n=len(answers),
        accuracy=float(right.mean()),
        macro_f1=statistics.fmean(_f1(answers, field) for field in seen),
        false={field: _false_share(answers, field) for field in fields},
        ece=calibration_error(confidence, right),
        us_per_prompt=statistics.median(answer.microseconds for answer in answers),
    )


def _f1(answers: Sequence[Answer], field: str) -> float:
    """Return 2 hits / (told + true): the harmonic mean of precision and recall."""
    hits = sum(answer.field == field == answer.row.label for answer in answers)
    told = sum(answer.field == field for answer in answers)
    true = sum(answer.row.label == field for answer in answers)
    return 2 * hits / (told + true)


def _false_share(answers: Sequence[Answer], field: str) -> float | None:
    others = [answer for answer in answers if answer.row.label != field]
    return statistics.fmean(answer.field == field for answer in others) if others else None


def as_text(evaluations: Sequence[Evaluation], by: By = "file", *, as_json: bool) -> str:
    """Return the evaluations as a JSON list with an object for each, or as a table."""
    if as_json:
        return json.dumps([each.to_json(by) for each in evaluations], indent=2) + "\n"
    return as_table(evaluations, by)


def as_table(evaluations: Sequence[Evaluation], by: By) -> str:
    """Return the evaluations as Markdown, with the plain mean of all lines (macro) at the end."""
    rows = [evaluation.figures(by) for evaluation in evaluations]
    mean = {key: _mean(row[key] for row in rows) for key in rows[0] if key not in {by, "n"}}
    rows.append({by: "mean", "n": sum(e.n for e in evaluations), **mean})
    lines = [f"| {' | '.join(rows[0])} |", f"|---|{'--:|' * (len(rows[0]) - 1)}"]
    lines += [f"| {' | '.join(map(_cell, row.values()))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _mean(cells: Iterable[object]) -> float | None:
    numbers = [cell for cell in cells if isinstance(cell, float | int)]
    return statistics.fmean(numbers) if numbers else None


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if value < 10 else f"{value:,.0f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate from the command line; print the figures, or every mistake in the data."""
    parser = argparse.ArgumentParser(
        prog="python -m modelrouter.classifier.evaluation",
        description="Evaluate a prompt classifier on labelled JSON lines.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--classifier", type=Path, metavar="DIR", help="not the shipped one")
    parser.add_argument("--by", choices=get_args(By), default="file", help="a line for each")
    parser.add_argument("--held-out", action="store_true", help="only what is never trained on")
    parser.add_argument("--disturb", action="store_true", help="which decisions survive typos")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        sys.stdout.write(_report(options))
    except ConfigError as error:
        sys.stderr.write(mistakes(error))
        return error.exit_code
    return 0


def _report(options: argparse.Namespace) -> str:
    classifier = Classifier.load(options.classifier)
    sources = read_sources(options.files)
    if options.by == "file" and not options.disturb:
        return as_text(
            evaluate_files(classifier, sources, held_out=options.held_out),
            as_json=options.json,
        )
    rows = _asked([row for source in sources for row in source.rows], held_out=options.held_out)
    if options.disturb:
        check_labels(classifier, rows)
        return json.dumps(steadiness(classifier, rows), indent=2) + "\n"
    return as_text(evaluate(classifier, rows, options.by), options.by, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
