"""The real llama.cpp loads a mapped model without reading it: the kernel says what is in memory.

A model of 50 MB: the kernel may read ahead of the header as much as 16.
"""

import ctypes
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import llama_cpp.llama_cpp as lib
import numpy as np
import pytest
from last_pass import logits
from page_cache import forget, pages_in_memory
from split_files import write_split

from modelrouter import synthetic
from modelrouter.engine import llama, mapping
from modelrouter.engine.backend import Row
from modelrouter.engine.llama import LlamaBackend
from modelrouter.engine.mapping import unread
from modelrouter.engine.protocol import Load
from modelrouter.memory.kv import StoredTypes

PAGE = mmap.PAGESIZE
GEOMETRY = synthetic.Geometry(12, 512, 2048, heads=8, kv_heads=8, context_length=512)


@pytest.fixture(scope="module")
def wide_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model of 50 MB."""
    path = tmp_path_factory.mktemp("models") / "wide.gguf"
    synthetic.write(path, GEOMETRY, "Q8_0")
    return path


@pytest.fixture(autouse=True)
def _warnings_only() -> None:
    """Silence llama.cpp as the backend does, where a test loads without one."""
    lib.llama_log_set(llama.log_warnings, None)


def load_of(path: Path) -> Load:
    """Return the message that loads a model mapped."""
    return Load(str(path), False, 256, 1, 32, StoredTypes("q8_0", "f16"), 1)


@contextmanager
def backend_of(path: Path) -> Iterator[LlamaBackend]:
    """Give a loaded model for the length of a block."""
    backend = LlamaBackend(load_of(path), lambda _: None)
    yield backend
    backend.close()


def test_a_mapped_load_reads_next_to_nothing(wide_gguf: Path) -> None:
    """Less than half of it, the kernel's readahead; llama.cpp by itself reads all of it."""
    pages = -(-wide_gguf.stat().st_size // PAGE)
    forget(wide_gguf)
    lib.llama_model_free(llama.open_model(load_of(wide_gguf)))
    assert pages_in_memory(wide_gguf) == pages
    forget(wide_gguf)
    with backend_of(wide_gguf) as backend:
        assert pages_in_memory(wide_gguf) < pages // 2
        assert backend.refusals == ()


def test_the_same_logits(wide_gguf: Path) -> None:
    """A model that was mapped unread computes what one that was read at the load computes."""
    found = []
    for whole in (False, True):
        backend = LlamaBackend(replace(load_of(wide_gguf), whole=whole), lambda _: None)
        assert backend.decode([Row(0, 0, 65, wants_logits=True)])
        found.append(logits(backend))
        backend.close()
    assert np.array_equal(*found)


def test_every_file_of_a_split_model_is_read_ahead_again(tmp_path: Path) -> None:
    """The mappings of all files are known, and none is left to be read at random."""
    paths = write_split(tmp_path, 3)
    with unread([str(path) for path in paths], llama.library()) as outcome:
        model = llama.open_model(load_of(paths[0]))
        assert flagged(paths) == 3
    assert sorted(mapped.path for mapped in outcome.mappings) == [str(path) for path in paths]
    for mapped in outcome.mappings:
        there = ctypes.string_at(mapped.address, mapped.n_bytes)
        content = Path(mapped.path).read_bytes()[mapped.offset :]
        assert there.startswith(content[: mapped.n_bytes])
        assert len(content) > PAGE
    assert flagged(paths) == 0
    lib.llama_model_free(model)


def flagged(paths: list[Path]) -> int:
    """Return how many mappings of these files are marked to be read at random."""
    blocks = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    ours = [block for block in blocks if any(str(path) in block for path in paths)]
    return sum(" rr" in block.split("VmFlags:")[1] for block in ours)


def test_a_library_that_is_not_as_known_reads_as_ever(tiny_gguf: Path) -> None:
    """No function of that name, or another version of the struct: the load works, and says so."""
    with unread([str(tiny_gguf)], ctypes.CDLL(None)) as outcome:
        lib.llama_model_free(llama.open_model(load_of(tiny_gguf)))
    assert outcome.refusal == (
        "this llama.cpp is not as known: it reads a mapped file whole at the load"
    )
    assert outcome.mappings == []


def test_the_registry_is_as_before(tiny_gguf: Path) -> None:
    """After a load, and after one that failed, the backend's pointer is its own again."""
    library = llama.library()
    entry = mapping._entry(library)
    assert entry is not None
    before = entry.get_proc_address
    with unread([str(tiny_gguf)], library):
        assert entry.get_proc_address != before
    assert entry.get_proc_address == before
    with pytest.raises(LookupError), unread([str(tiny_gguf)], library):
        raise LookupError
    assert entry.get_proc_address == before
