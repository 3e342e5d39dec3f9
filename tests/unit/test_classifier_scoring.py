"""Scores: the report's figures, worked out by hand on a few prompts."""

import numpy as np
import pytest

from modelrouter.classifier.dataset import Row
from modelrouter.classifier.scoring import Bin, Report, Sure, score

FIELDS = ("code", "food", "law")

ANSWERS = [
    # file, the true field, and the score of each field
    ("a.jsonl", "code", (0.98, 0.01, 0.01)),
    ("a.jsonl", "code", (0.96, 0.02, 0.02)),
    ("a.jsonl", "food", (0.55, 0.40, 0.05)),
    ("b.jsonl", "food", (0.10, 0.72, 0.18)),
    ("b.jsonl", "law", (0.30, 0.30, 0.40)),
]


@pytest.fixture
def report() -> Report:
    """Return the report on the answers above: one of the five is wrong."""
    rows = [
        Row(file, "text", label, "plain", "en", "group", is_found=False)
        for file, label, _ in ANSWERS
    ]
    labels = np.array([FIELDS.index(label) for _, label, _ in ANSWERS])
    return score(rows, np.array([scores for _, _, scores in ANSWERS]), labels, FIELDS)


def test_the_confusion_counts_true_fields_in_rows(report: Report) -> None:
    """The one mistake, food taken for code, stands in food's row and code's column."""
    assert report.confusion == ((2, 0, 0), (1, 1, 0), (0, 0, 1))


def test_accuracies_are_over_all_and_over_files(report: Report) -> None:
    """Four of five, and the mean of 2/3 and 2/2; kinds of fewer than eight prompts are left out."""
    assert (report.rows, report.accuracy) == (5, 0.8)
    assert report.macro_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert [(file.name, file.rows) for file in report.files] == [("a.jsonl", 3), ("b.jsonl", 2)]
    assert report.kinds == ()


def test_bins_hold_what_the_calibration_error_is_made_of(report: Report) -> None:
    """Each fifteenth of confidence that holds prompts: how many, how sure and how right."""
    assert report.bins == (
        Bin(pytest.approx(6 / 15), 1, pytest.approx(0.40), 1.0),
        Bin(pytest.approx(8 / 15), 1, pytest.approx(0.55), 0.0),
        Bin(pytest.approx(10 / 15), 1, pytest.approx(0.72), 1.0),
        Bin(pytest.approx(14 / 15), 2, pytest.approx(0.97), 1.0),
    )
    gaps = [each.rows * abs(each.confidence - each.accuracy) for each in report.bins]
    assert report.ece == pytest.approx(sum(gaps) / 5)


def test_a_confidence_says_how_many_are_left_and_how_right(report: Report) -> None:
    """A policy that asks for 0.6 sees three prompts, all told right; for 0.99, none."""
    found = {each.at_least: each for each in report.sure}
    assert found[0.5] == Sure(0.5, 4, 0.75)
    assert found[0.6] == Sure(0.6, 3, 1.0)
    assert found[0.99] == Sure(0.99, 0, None)


def test_the_report_prints_in_columns(report: Report) -> None:
    """Fields keep their columns however long their names; what nobody reached has a dash."""
    assert str(report).splitlines()[1:] == [
        "confusion: rows are the true fields, columns what was said",
        "          code    food     law",
        "  code       2       0       0",
        "  food       1       1       0",
        "  law        0       0       1",
        "by confidence",
        "  0.750       4  0.50 or more (80%)",
        "  1.000       3  0.60 or more (60%)",
        "  1.000       3  0.70 or more (60%)",
        "  1.000       2  0.80 or more (40%)",
        "  1.000       2  0.90 or more (40%)",
        "  1.000       2  0.95 or more (40%)",
        "      -       0  0.99 or more (0%)",
        "by file",
        "  0.667       3  a.jsonl",
        "  1.000       2  b.jsonl",
        "by kind",
    ]
