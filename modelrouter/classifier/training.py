"""Trains a classifier from labelled prompts and writes its artifact.

The one door to scikit-learn; nothing imports it at run time.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array, vstack
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from modelrouter.classifier.artifact import Artifact, check_folder, softmax, write_artifact
from modelrouter.classifier.dataset import PARTS, QUARTERS, Row, read_sources
from modelrouter.classifier.features import WIDTH, Features, Flags, extract
from modelrouter.classifier.plot import reliability_plot
from modelrouter.classifier.progress import Progress, counted, silent
from modelrouter.classifier.provenance import data_date, origin
from modelrouter.classifier.scoring import Report, Table, score
from modelrouter.classifier.typos import disturbed
from modelrouter.errors import ConfigError

INVERSE_REGULARISATION: Final = 40.0
MOST_ITERATIONS: Final = 300

TOLERANCE: Final = 1e-5
"""With scikit-learn's own, 1e-4, fits stop at lengths a tenth apart, and the temperature of one
does not suit the other."""

FOUND_WEIGHT: Final = 4.0
"""A file of n found prompts counts as much as this times the root of n written ones."""

TYPO_SEED: Final = 1
TYPO_SHARE: Final = 0.4
"""The weight of a prompt's misspelt copy; the rest is the prompt's own."""

Matrix: TypeAlias = csr_array
Labels: TypeAlias = NDArray[np.int64]


def train(files: Sequence[Path], out_dir: Path, progress: Progress = silent) -> Report:
    """Train on the prompts in `files`, write the artifact into `out_dir`, and report.

    `progress` is told of every step. The same files on the same versions of the libraries and the
    same kind of processor give the same bytes. Data with mistakes, with fewer than two fields, or
    with a field that is missing from a part is a ConfigError. Whatever stops it, `out_dir` then
    holds what it held.
    """
    check_folder(out_dir)
    progress("reading", 0, 0)
    sources = read_sources(files)
    rows = [row for source in sources for row in source.rows]
    fields = tuple(sorted({row.label for row in rows}))
    _check_parts(rows, fields)
    date = data_date(files)
    with threadpool_limits(limits=1):  # sums in another order would be other bytes
        matrix = to_matrix(extract(row.text) for row in counted(rows, "features", progress))
        misspelt = to_matrix(
            extract(disturbed(row.text, TYPO_SEED))
            for row in counted(rows, "features of misspelt copies", progress)
        )
        labels = np.array([fields.index(row.label) for row in rows])
        artifact, temperature = _fit_calibrated(
            matrix, misspelt, rows, labels, fields, progress=progress
        )
    held_out = [at for at, row in enumerate(rows) if row.part == "held_out"]
    scores = softmax(_logits(artifact, matrix[held_out]))
    report = score([rows[at] for at in held_out], scores, labels[held_out], fields)
    progress("writing", 0, 0)
    facts = origin(sources, date, temperature, report)
    write_artifact(out_dir, artifact, facts, reliability_plot(report))
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
    matrix: Matrix,
    misspelt: Matrix,
    rows: Sequence[Row],
    labels: Labels,
    fields: tuple[str, ...],
    *,
    progress: Progress,
) -> tuple[Artifact, float]:
    """Fit on all rows but the held-out ones, with the temperature that smaller fits asked for.

    Each quarter is judged by a model that learned from the other three, so the temperature comes
    from prompts whose groups their judge has not seen. Every row is learned from as it is and
    misspelt.
    """
    parts = np.array([row.part for row in rows])
    learned = parts != "held_out"

    def fit(chosen: Flags) -> Artifact:
        both = vstack([matrix[chosen], misspelt[chosen]])
        weights = row_weights(list(compress(rows, chosen)))
        both_weights = np.concatenate([weights * (1 - TYPO_SHARE), weights * TYPO_SHARE])
        return fit_weights(both, np.tile(labels[chosen], 2), both_weights, fields)

    logits = np.zeros((len(rows), len(fields)))
    for done, quarter in enumerate(QUARTERS):
        progress("calibrating", done, len(QUARTERS))
        aside = parts == quarter
        logits[aside] = _logits(fit(learned & ~aside), matrix[aside])
    weights = row_weights(list(compress(rows, learned)))
    temperature = _temperature(logits[learned], labels[learned], weights)
    progress("fitting", 0, 0)
    kept = fit(learned)
    scale = np.float32(1 / temperature)
    return Artifact(fields, kept.weights * scale, kept.bias * scale), temperature


def row_weights(rows: Sequence[Row]) -> Table:
    """Return a weight for each row, 1 on average: a file of found prompts counts its size's root.

    Otherwise a file of thousands of like lines would drown the small ones. Prompts that were
    written to train on count one each, and all labels count alike.
    """
    files, labels = np.array([row.file for row in rows]), np.array([row.label for row in rows])
    _, file_of_row, sizes = np.unique(files, return_inverse=True, return_counts=True)
    is_found = np.array([row.is_found for row in rows])
    weights: Table = np.where(is_found, FOUND_WEIGHT / np.sqrt(sizes[file_of_row]), 1.0)
    _, label_of_row = np.unique(labels, return_inverse=True)
    weights /= np.bincount(label_of_row, weights)[label_of_row]
    weights /= weights.mean()
    return weights


def fit_weights(
    matrix: Matrix, labels: Labels, weights: Table, fields: tuple[str, ...]
) -> Artifact:
    """Return the weights of a logistic regression, cancelling out over the fields."""
    model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=MOST_ITERATIONS, tol=TOLERANCE)
    used = np.unique(matrix.indices)  # other buckets would only take time: their weight stays 0
    model.fit(matrix[:, used], labels, sample_weight=weights)
    coefficients = np.zeros((len(model.coef_), matrix.shape[1]))
    coefficients[:, used] = model.coef_
    bias = model.intercept_
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


def _temperature(logits: Table, labels: Labels, weights: Table) -> float:
    """Return the number to divide logits by so that the labels are likeliest (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        scores = softmax(logits / np.exp(log_temperature))
        likelihoods = np.maximum(scores[np.arange(len(labels)), labels], 1e-12)
        return float(-(weights * np.log(likelihoods)).sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
