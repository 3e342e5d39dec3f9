"""Trains a classifier from labelled prompts and writes its artifact.

The one door to scikit-learn; nothing imports it at run time. Run as
`python -m modelrouter.classifier.training FILES... --out DIR`.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import compress
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import scipy
import sklearn
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array, vstack
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from modelrouter.classifier.artifact import Artifact, softmax, write_artifact
from modelrouter.classifier.dataset import PARTS, Row, Source, mistakes, read_sources
from modelrouter.classifier.features import WIDTH, Features, Flags, extract
from modelrouter.classifier.scoring import Report, Table, score
from modelrouter.classifier.typos import disturbed
from modelrouter.errors import ConfigError

INVERSE_REGULARISATION: Final = 40.0
MOST_ITERATIONS: Final = 300

FOUND_WEIGHT: Final = 1 / 3
"""What a prompt of a public source counts beside one that was written to train on."""

TYPO_SEED: Final = 1
TYPO_SHARE: Final = 0.4
"""The weight of a prompt's misspelt copy; the rest is the prompt's own."""

Matrix: TypeAlias = csr_array
Labels: TypeAlias = NDArray[np.int64]


def train(files: Sequence[Path], out_dir: Path) -> Report:
    """Train on the prompts in `files`, write the artifact into `out_dir`, and report.

    The same files on the same versions of the libraries give the same bytes. Data with mistakes,
    with fewer than two fields, or with a field that is missing from a part is a ConfigError, and
    nothing is written.
    """
    sources = read_sources(files)
    rows = [row for source in sources for row in source.rows]
    fields = tuple(sorted({row.label for row in rows}))
    _check_parts(rows, fields)
    with threadpool_limits(limits=1):  # sums in another order would be other bytes
        matrix = to_matrix(extract(row.text) for row in rows)
        misspelt = to_matrix(extract(disturbed(row.text, TYPO_SEED)) for row in rows)
        labels = np.array([fields.index(row.label) for row in rows])
        artifact, temperature = _fit_calibrated(matrix, misspelt, rows, labels, fields)
    held_out = [at for at, row in enumerate(rows) if row.part == "held_out"]
    scores = softmax(_logits(artifact, matrix[held_out]))
    report = score([rows[at] for at in held_out], scores, labels[held_out])
    write_artifact(out_dir, artifact, _facts(sources, temperature, report))
    return report


def to_matrix(features: Iterable[Features]) -> Matrix:
    """Return the features as rows of a sparse matrix, WIDTH columns wide."""
    indices, values, ends = [], [], [0]
    for one in features:
        indices.append(one.indices.astype(np.int32))
        values.append(one.values)
        ends.append(ends[-1] + len(one.indices))
    return csr_array(
        (np.concatenate(values), np.concatenate(indices), np.array(ends)),
        shape=(len(ends) - 1, WIDTH),
    )


def _check_parts(rows: Sequence[Row], fields: Sequence[str]) -> None:
    """Refuse data that cannot be split: every field needs rows in every part."""
    if len(fields) < 2:
        raise ConfigError(
            f'every prompt has the label "{fields[0]}"' if fields else "no prompts were given",
            hint="a classifier needs prompts of two fields or more",
        )
    counts = Counter((row.label, row.part) for row in rows)
    for field in fields:
        for part in PARTS:
            if not counts[field, part]:
                raise ConfigError(
                    f'no prompt of field "{field}" falls into the part "{part}"',
                    hint="groups (kind and run, or source) are dealt out whole: give more of them",
                )


def _fit_calibrated(
    matrix: Matrix, misspelt: Matrix, rows: Sequence[Row], labels: Labels, fields: tuple[str, ...]
) -> tuple[Artifact, float]:
    """Fit on all rows but the held-out ones, with the temperature a smaller fit asked for.

    The temperature comes from a model that has not seen the calibration groups; the model that is
    kept has, so that no prompt is wasted. Every row is learned from as it is and misspelt.
    """
    parts = np.array([row.part for row in rows])

    def fit(chosen: Flags) -> Artifact:
        both = vstack([matrix[chosen], misspelt[chosen]])
        weights = row_weights(list(compress(rows, chosen)))
        both_weights = np.concatenate([weights * (1 - TYPO_SHARE), weights * TYPO_SHARE])
        return fit_weights(both, np.tile(labels[chosen], 2), both_weights, fields)

    aside = parts == "calibration"
    rehearsal = fit(parts == "fit")
    temperature = _temperature(_logits(rehearsal, matrix[aside]), labels[aside])
    kept = fit(parts != "held_out")
    scale = np.float32(1 / temperature)
    return Artifact(fields, kept.weights * scale, kept.bias * scale), temperature


def row_weights(rows: Sequence[Row]) -> Table:
    """Return a weight for each row, 1 on average: a file counts the root of its size.

    Otherwise a file of thousands of like lines would drown the small ones. Found prompts count
    less than written ones, and all labels count alike.
    """
    files, labels = np.array([row.file for row in rows]), np.array([row.label for row in rows])
    _, file_of_row, sizes = np.unique(files, return_inverse=True, return_counts=True)
    weights: Table = 1 / np.sqrt(sizes[file_of_row], dtype=np.float64)
    weights[[row.is_found for row in rows]] *= FOUND_WEIGHT
    _, label_of_row = np.unique(labels, return_inverse=True)
    weights /= np.bincount(label_of_row, weights)[label_of_row]
    weights /= weights.mean()
    return weights


def fit_weights(
    matrix: Matrix, labels: Labels, weights: Table, fields: tuple[str, ...]
) -> Artifact:
    """Return the weights of a logistic regression, cancelling out over the fields."""
    model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=MOST_ITERATIONS)
    model.fit(matrix, labels, sample_weight=weights)
    coefficients, bias = model.coef_, model.intercept_
    if len(fields) == 2:  # scikit-learn keeps one row for two classes: the second's log odds
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        bias = np.concatenate([-bias, bias]) / 2
    return Artifact(
        fields,
        (coefficients - coefficients.mean(axis=0)).astype(np.float32),
        (bias - bias.mean()).astype(np.float32),
    )


def _logits(artifact: Artifact, matrix: Matrix) -> Table:
    return np.asarray(matrix @ artifact.weights.T + artifact.bias, dtype=np.float64)


def _temperature(logits: Table, labels: Labels) -> float:
    """Return the number to divide logits by so that the labels are likeliest (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        scores = softmax(logits / np.exp(log_temperature))
        return float(-np.log(np.maximum(scores[np.arange(len(labels)), labels], 1e-12)).sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def _facts(sources: Sequence[Source], temperature: float, report: Report) -> dict[str, object]:
    """Return what the manifest says of the origin; no date, so that equal data give equal bytes."""
    return {
        "libraries": {
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "scipy": scipy.__version__,
        },
        "sources": [
            {"file": source.name, "sha256": source.sha256, "rows": len(source.rows)}
            for source in sources
        ],
        "temperature": temperature,
        "held_out": asdict(report),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line; print the report, or every mistake in the data."""
    parser = argparse.ArgumentParser(
        prog="python -m modelrouter.classifier.training",
        description="Train a prompt classifier from labelled JSON lines.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        report = train(options.files, options.out)
    except ConfigError as error:
        sys.stderr.write(mistakes(error))
        return error.exit_code
    sys.stdout.write(f"{report}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
