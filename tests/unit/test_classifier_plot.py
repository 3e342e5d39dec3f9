"""The reliability plot: a real PNG of the promised size, the same bytes for the same report."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest

from modelrouter.classifier.dataset import Row
from modelrouter.classifier.scoring import Report, score

pytest.importorskip("matplotlib", reason="matplotlib comes with modelrouter[training]")

import matplotlib as mpl

from modelrouter.classifier.plot import HEIGHT_PIXELS, WIDTH_PIXELS, reliability_plot


def report(prompts: int) -> Report:
    """Return a report on so many made-up prompts of two fields."""
    dice = np.random.default_rng(0)
    sure = dice.uniform(0.5, 1.0, prompts)
    labels = (dice.uniform(size=prompts) > sure).astype(np.int64)
    rows = [Row("f.jsonl", "text", "code", "plain", "en", "g", is_found=False)] * prompts
    return score(rows, np.stack([sure, 1 - sure], axis=1), labels, ("code", "general"))


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the data of each chunk of a PNG, once its checksum is right."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(png):
        [length] = struct.unpack_from(">I", png, at)
        name, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        [checksum] = struct.unpack_from(">I", png, at + 8 + length)
        assert checksum == zlib.crc32(name + data)
        yield name, data
        at += 12 + length


@pytest.mark.parametrize("prompts", [1, 1_000])
def test_the_plot_is_a_png_of_the_promised_size(prompts: int) -> None:
    """Header, whole picture, end; one prompt is enough for a plot."""
    found = list(chunks(reliability_plot(report(prompts))))
    assert found[0][0] == b"IHDR"
    assert struct.unpack(">II", found[0][1][:8]) == (WIDTH_PIXELS, HEIGHT_PIXELS)
    assert found[-1] == (b"IEND", b"")
    pixels = zlib.decompress(b"".join(data for name, data in found if name == b"IDAT"))
    assert len(pixels) == HEIGHT_PIXELS * (1 + 4 * WIDTH_PIXELS)  # RGBA, and a filter byte a line
    assert len(set(pixels)) > 10  # something is drawn


def test_the_plot_carries_no_date_and_no_version() -> None:
    """Chunks of text or time would change the bytes from one day or release to the next."""
    names = {name for name, _ in chunks(reliability_plot(report(100)))}
    assert names <= {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def test_a_persons_own_style_does_not_change_the_plot() -> None:
    """The same report gives the same bytes, whatever a matplotlibrc says."""
    plain = reliability_plot(report(100))
    with mpl.rc_context({"savefig.dpi": 30, "axes.facecolor": "red", "font.size": 30}):
        assert reliability_plot(report(100)) == plain
    assert reliability_plot(report(101)) != plain
