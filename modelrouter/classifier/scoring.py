"""Scores a classifier on prompts it was not trained on, and says so in a table.

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
class Report:
    """What the held-out prompts say of a classifier.

    `accuracy` is over all held-out rows, `macro_accuracy` the mean over files. `ece` is the
    expected calibration error over 15 bins of confidence (Guo et al. 2017, "On Calibration of
    Modern Neural Networks").
    """

    rows: int
    accuracy: float
    macro_accuracy: float
    ece: float
    files: tuple[Score, ...]
    kinds: tuple[Score, ...]

    def __str__(self) -> str:
        totals = (
            f"held out  {self.rows:,} prompts: accuracy {self.accuracy:.3f}, "
            f"mean of files {self.macro_accuracy:.3f}, ECE {self.ece:.3f}"
        )
        files, kinds = map(_line, self.files), map(_line, self.kinds)
        return "\n".join([totals, "by file", *files, "by kind", *kinds])


def _line(score: Score) -> str:
    return f"  {score.accuracy:.3f}  {score.rows:6,}  {score.name}"


def score(rows: Sequence[Row], scores: Table, labels: NDArray[np.int64]) -> Report:
    """Return the report on `rows`: one row of `scores` and one of `labels` (a column) for each."""
    right: Flags = scores.argmax(axis=1) == labels
    files = _accuracies([row.file for row in rows], right)
    kinds = _accuracies([row.kind for row in rows], right)
    return Report(
        rows=len(rows),
        accuracy=float(right.mean()),
        macro_accuracy=float(np.mean([file.accuracy for file in files])),
        ece=calibration_error(scores.max(axis=1), right),
        files=files,
        kinds=tuple(kind for kind in kinds if kind.rows >= FEWEST_ROWS),
    )


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
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right)
    return float(np.abs(gaps).sum() / len(right))
