"""Draws how far a classifier's confidence can be trusted, as a PNG.

The one door to matplotlib, which comes with modelrouter[training]; nothing imports it at run time.
"""

import io
from collections.abc import Sequence
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modelrouter.classifier.scoring import CALIBRATION_BINS, Bin, Report

WIDTH_PIXELS: Final = 720
HEIGHT_PIXELS: Final = 800
DOTS_PER_INCH: Final = 120

BLUE, GREY = "#3b6ea5", "#888888"


def reliability_plot(report: Report) -> bytes:
    """Return the reliability diagram of `report` (Guo et al. 2017) as a PNG of 720 x 800 pixels.

    Above, how often the answers of each bin of confidence were right, beside the diagonal on which
    a confidence keeps its word; below, how many answers fell into the bin. Equal reports on equal
    libraries give equal bytes: neither a date nor the user's matplotlibrc goes in.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        size = (WIDTH_PIXELS / DOTS_PER_INCH, HEIGHT_PIXELS / DOTS_PER_INCH)
        figure = Figure(size, dpi=DOTS_PER_INCH, layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _draw_accuracy(above, report)
        _draw_counts(below, report.bins)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()


def _draw_accuracy(axes: Axes, report: Report) -> None:
    bins = report.bins
    axes.plot((0, 1), (0, 1), color=GREY, linestyle="--", linewidth=1, label="as sure as right")
    axes.bar(_middles(bins), [each.accuracy for each in bins], 0.9 / CALIBRATION_BINS, color=BLUE)
    axes.plot(
        [each.confidence for each in bins],
        [each.accuracy for each in bins],
        color="black",
        marker="o",
        markersize=3,
        linewidth=1,
        label="at the bin's mean confidence",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share of right answers")
    axes.set_title(
        f"{report.rows:,} held-out prompts: accuracy {report.accuracy:.3f}, ECE {report.ece:.3f}"
    )
    axes.legend(loc="upper left")


def _draw_counts(axes: Axes, bins: Sequence[Bin]) -> None:
    """Draw the bars on a logarithmic scale: most answers are sure ones."""
    axes.bar(_middles(bins), [each.rows for each in bins], 0.9 / CALIBRATION_BINS, color=GREY)
    axes.set(yscale="log", ylim=(0.7, None), xlabel="confidence", ylabel="prompts")


def _middles(bins: Sequence[Bin]) -> list[float]:
    return [each.at_least + 0.5 / CALIBRATION_BINS for each in bins]
