"""The footprint of a model is what llama.cpp itself would allocate for it, told without loading it.

The models are headers over files full of holes: llama.cpp plans its buffers for them (`no_alloc`)
and reads no weight.
"""

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import llama_cpp.llama_cpp as lib
import pytest

from modelrouter.engine import llama
from modelrouter.engine.protocol import Load
from modelrouter.gguf import read_facts
from modelrouter.memory.footprint import WORKER_BYTES, Footprint, footprint
from modelrouter.synthetic import GEOMETRIES, QUANTIZATIONS
from modelrouter.synthetic.header import plan_file
from modelrouter.types import KvType

MIB = 2**20


class Settings(NamedTuple):
    """What a person sets that changes the footprint."""

    context_tokens: int
    slots: int
    batch_rows: int
    kv_type: KvType


LONG = Settings(2048, 1, 512, "f16")
SHARED = Settings(1024, 4, 128, "q8_0")
UNEVEN = Settings(300, 3, 64, "q4_0")


class Planned(NamedTuple):
    """The bytes of buffers that llama.cpp plans, as its log tells them: in steps of 0.01 MiB."""

    kv_bytes: float
    compute_bytes: float


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Collect llama.cpp's log for as long as a test runs."""
    lines: list[str] = []

    @lib.llama_log_callback  # type: ignore[untyped-decorator]
    def collect(_level: int, text: bytes, _data: ctypes.c_void_p) -> None:
        lines.append(text.decode(errors="replace"))

    lib.llama_log_set(collect, None)
    yield lines
    lib.llama_log_set(llama._log_warnings, None)


def hollow_model(path: Path, geometry: str) -> Path:
    """Write a well-known model's header to `path`, and holes in place of its weights."""
    plan = plan_file(GEOMETRIES[geometry], QUANTIZATIONS["Q8_0"], geometry)
    with path.open("wb") as file:
        file.write(plan.header)
        file.truncate(plan.n_bytes)
    return path


def planned(path: Path, settings: Settings, log: list[str]) -> Planned:
    """Have llama.cpp plan the model's buffers, with the engine's own context."""
    params = lib.llama_model_default_params()
    params.no_alloc = True
    params.load_mode = lib.LLAMA_LOAD_MODE_NONE
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    context = llama._make_context(model, Load(str(path), True, **settings._asdict(), threads=1))
    lib.llama_free(context)
    lib.llama_model_free(model)
    text = "".join(log)
    compute = _mib(r"compute buffer size", text) + _mib(r"output buffer size", text)
    return Planned(_mib(r"llama_kv_cache: size", text) * MIB, compute * MIB)


def _mib(what: str, log: str) -> float:
    sizes = re.findall(what + r" = +([\d.]+) MiB", log)
    assert sizes, f"llama.cpp's log tells no {what}"
    return sum(map(float, sizes))


def told(path: Path, settings: Settings, *, whole: bool = True) -> Footprint:
    """Return what the module under test says."""
    return footprint(read_facts(path), whole=whole, **settings._asdict())


@pytest.mark.parametrize("settings", [LONG, SHARED, UNEVEN])
@pytest.mark.parametrize("geometry", ["tiny", "llama-65b", "mixtral-8x7b"])
def test_kv_bytes(tmp_path: Path, log: list[str], geometry: str, settings: Settings) -> None:
    """The context's memory is llama.cpp's own figure: its cells, its heads, its types."""
    path = hollow_model(tmp_path / "hollow.gguf", geometry)
    expected = planned(path, settings, log).kv_bytes
    assert told(path, settings).kv_bytes == pytest.approx(expected, abs=MIB / 100)


@pytest.mark.parametrize("settings", [LONG, SHARED])
@pytest.mark.parametrize(
    "geometry",
    [
        "smollm2-135m",
        "llama-3-8b",
        "tiny",
        "llama-65b",
        "mixtral-8x7b",
    ],
)
def test_compute_bytes(tmp_path: Path, log: list[str], geometry: str, settings: Settings) -> None:
    """Working memory is counted within a twentieth for real models, and never 1 MiB too low."""
    path = hollow_model(tmp_path / "hollow.gguf", geometry)
    expected = planned(path, settings, log).compute_bytes
    counted = told(path, settings).compute_bytes
    assert expected * 0.95 - 0.1 * MIB <= counted <= expected * 1.05 + MIB


def test_weights_of_a_resident_model(starter_gguf: Path) -> None:
    """A model that is read whole is charged its weights; none is left to the page cache."""
    resident = told(starter_gguf, LONG, whole=True)
    assert (resident.weights_bytes, resident.mapped_bytes) == (96_576_768, 0)
    assert resident.worker_bytes == WORKER_BYTES


def test_weights_of_a_mapped_model(starter_gguf: Path) -> None:
    """A mapped model's weights are told, but the budget is charged only what stays."""
    mapped = told(starter_gguf, LONG, whole=False)
    assert (mapped.weights_bytes, mapped.mapped_bytes) == (0, 96_576_768)
    assert mapped.total_bytes == told(starter_gguf, LONG, whole=True).total_bytes - 96_576_768


def test_the_total_is_the_sum_of_what_stays() -> None:
    """Mapped bytes are no part of it."""
    assert Footprint(1, 20, 300, 4_000, 50_000).total_bytes == 4_321
