"""Scores a classifier on prompts it was not trained on, and says so in tables.

It knows no training and no weights: scores and true labels in, a report out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelrouter.classifier.dataset import Row
from modelrouter.classifier.features import Flags

CALIBRATION_BINS: Final = 15
CONFIDENCES: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""The confidences that a policy's rule might ask for."""

FEWEST_ROWS: Final = 8
"""Kinds with fewer held-out rows are left out: one prompt would be more than a tenth of them."""

Table: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """How many of `rows` held-out prompts of one file or kind were told right, from 0 to 1."""

    name: str
    rows: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class Bin:
    """The prompts whose confidence lies from `at_least` to a fifteenth more.

    `confidence` is their mean, `accuracy` the share of them that were told right.
    """

    at_least: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Sure:
    """How many prompts had a confidence of `at_least`, and the share of them told right.

    The accuracy is None where there are none.
    """

    at_least: float
    rows: int
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """What the held-out prompts say of a classifier.

    `accuracy` is over all held-out rows, `macro_accuracy` the mean over files. `ece` is the
    expected calibration error over 15 bins of confidence (Guo et al. 2017, "On Calibration of
    Modern Neural Networks"); `bins` are those that hold prompts. `confusion` counts prompts: a row
    for each true field and a column for each said one, in the order of `fields`.
    """

    rows: int
    accuracy: float
    macro_accuracy: float
    ece: float
    fields: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    sure: tuple[Sure, ...]
    bins: tuple[Bin, ...]
    files: tuple[Score, ...]
    kinds: tuple[Score, ...]

    def __str__(self) -> str:
        totals = (
            f"held out  {self.rows:,} prompts: accuracy {self.accuracy:.3f}, "
            f"mean of files {self.macro_accuracy:.3f}, ECE {self.ece:.3f}"
        )
        blocks = (
            ("", [totals]),
            ("confusion: rows are the true fields, columns what was said", self._confusion_lines()),
            ("by confidence", [_sure_line(each, self.rows) for each in self.sure]),
            ("by file", map(_line, self.files)),
            ("by kind", map(_line, self.kinds)),
        )
        return "\n".join(line for title, lines in blocks for line in (title, *lines) if line)

    def _confusion_lines(self) -> list[str]:
        first = max(map(len, self.fields))
        widths = [max(len(field), 6) for field in self.fields]
        table = [("", self.fields)]
        table += [
            (field, tuple(f"{count:,}" for count in counts))
            for field, counts in zip(self.fields, self.confusion, strict=True)
        ]
        return [
            f"  {name:{first}}  {'  '.join(map(str.rjust, cells, widths))}" for name, cells in table
        ]


def _line(score: Score) -> str:
    return f"  {score.accuracy:.3f}  {score.rows:6,}  {score.name}"


def _sure_line(sure: Sure, rows: int) -> str:
    accuracy = "    -" if sure.accuracy is None else f"{sure.accuracy:.3f}"
    return f"  {accuracy}  {sure.rows:6,}  {sure.at_least:.2f} or more ({sure.rows / rows:.0%})"


def score(
    rows: Sequence[Row], scores: Table, labels: NDArray[np.int64], fields: tuple[str, ...]
) -> Report:
    """Return the report on `rows`: one row of `scores` and one of `labels` (a column) for each.

    `fields` are the names of the columns.
    """
    said = scores.argmax(axis=1)
    right: Flags = said == labels
    confidence = scores.max(axis=1)
    files = _accuracies([row.file for row in rows], right)
    kinds = _accuracies([row.kind for row in rows], right)
    return Report(
        rows=len(rows),
        accuracy=float(right.mean()),
        macro_accuracy=float(np.mean([file.accuracy for file in files])),
        ece=calibration_error(confidence, right),
        fields=fields,
        confusion=_confusion(labels, said, len(fields)),
        sure=tuple(_sure(confidence, right, at_least) for at_least in CONFIDENCES),
        bins=reliability(confidence, right),
        files=files,
        kinds=tuple(kind for kind in kinds if kind.rows >= FEWEST_ROWS),
    )


def _confusion(
    labels: NDArray[np.int64], said: NDArray[np.int64], fields: int
) -> tuple[tuple[int, ...], ...]:
    counts = np.bincount(labels * fields + said, minlength=fields * fields)
    return tuple(map(tuple, counts.reshape(fields, fields).tolist()))


def _sure(confidence: Table, right: Flags, at_least: float) -> Sure:
    chosen = right[confidence >= at_least]
    return Sure(at_least, len(chosen), float(chosen.mean()) if len(chosen) else None)


def _accuracies(names: Sequence[str], right: Flags) -> tuple[Score, ...]:
    """Return how often `right` is true for each name, worst first."""
    totals = Counter(names)
    hits = Counter(name for name, is_right in zip(names, right, strict=True) if is_right)
    scores = [Score(name, total, hits[name] / total) for name, total in totals.items()]
    return tuple(sorted(scores, key=lambda score: (score.accuracy, score.name)))


def calibration_error(confidence: Table, right: Flags) -> float:
    """Return the mean gap between confidence and accuracy, over 15 bins of confidence.

    Both have an entry for each prompt: how sure the answer was, and whether it was right.
    """
    gaps = np.bincount(_bins(confidence), weights=confidence - right)
    return float(np.abs(gaps).sum() / len(right))


def reliability(confidence: Table, right: Flags) -> tuple[Bin, ...]:
    """Return the bins of confidence that hold prompts, the least sure first."""
    bin_of_row = _bins(confidence)
    return tuple(
        Bin(
            at_least=float(number / CALIBRATION_BINS),
            rows=int((bin_of_row == number).sum()),
            confidence=float(confidence[bin_of_row == number].mean()),
            accuracy=float(right[bin_of_row == number].mean()),
        )
        for number in np.unique(bin_of_row)
    )


def _bins(confidence: Table) -> NDArray[np.int64]:
    """Return the number of the bin of each confidence, from 0; a confidence of 1 is in the last."""
    numbers = (confidence * CALIBRATION_BINS).astype(np.int64)
    return np.minimum(numbers, CALIBRATION_BINS - 1)
