"""Maps a model's files without reading them: otherwise llama.cpp reads all of them before it is
loaded. It knows addresses and files, no model.

llama.cpp's loader populates a mapping and asks for everything ahead, unless the CPU backend says
that the machine has several memory nodes (`llama_model_loader::init_mappings` in
src/llama-model-loader.cpp). There is no switch for it. So the backend says so while files are being
mapped: it answers through its registry entry, a plain struct with a pointer to the function that
finds such answers, and nothing else asks in the meantime. ADR 17 weighs it.
"""

import contextlib
import ctypes
import mmap
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelrouter.engine.pages import read_in_large_pieces

QUESTION: Final = b"ggml_backend_cpu_is_numa"
API_VERSION: Final = 2
"""GGML_BACKEND_API_VERSION of the llama.cpp that comes with llama-cpp-python 0.3.36."""

_Find = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
_Answer = ctypes.CFUNCTYPE(ctypes.c_bool)
_libc = ctypes.CDLL(None, use_errno=True)

_HEADER = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ (\d+)")
"""A mapping's first line in smaps: from, to, rights, place in the file, device, inode."""


class _Entry(ctypes.Structure):
    """`struct ggml_backend_reg` of ggml/src/ggml-backend-impl.h."""

    _fields_ = (
        ("api_version", ctypes.c_int),
        ("get_name", ctypes.c_void_p),
        ("get_device_count", ctypes.c_void_p),
        ("get_device", ctypes.c_void_p),
        ("get_proc_address", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class Mapped:
    """Where a stretch of a file lies in this process's memory."""

    path: str
    offset: int
    address: int
    n_bytes: int


@dataclass(slots=True)
class Outcome:
    """What came of it: llama.cpp's mappings, or, in words, why the files are read after all."""

    mappings: list[Mapped] = field(default_factory=list)
    refusal: str | None = None


@contextlib.contextmanager
def unread(paths: Sequence[str], library: ctypes.CDLL) -> Iterator[Outcome]:
    """Have llama.cpp map the files in the block without reading them; `library` is llama.cpp.

    The Outcome is filled at the block's end. Pages are then read ahead in their order, as ever.
    """
    outcome = Outcome()
    entry = _entry(library)
    if entry is None:
        outcome.refusal = "this llama.cpp is not as known: it reads a mapped file whole at the load"
        yield outcome
        return
    with _saying_yes(entry):
        yield outcome
    outcome.mappings = _read_ahead_again(paths)
    missing = set(paths) - {mapped.path for mapped in outcome.mappings}
    if missing:
        outcome.refusal = f"no mapping is known of {', '.join(sorted(missing))}: it is not streamed"


@contextlib.contextmanager
def _saying_yes(entry: _Entry) -> Iterator[None]:
    """Have the entry answer QUESTION with yes, all others as before."""
    before = entry.get_proc_address
    find, say_yes = _Find(before), _Answer(lambda: True)
    yes = ctypes.cast(say_yes, ctypes.c_void_p).value
    answer = _Find(lambda entry, name: yes if name == QUESTION else find(entry, name))
    entry.get_proc_address = ctypes.cast(answer, ctypes.c_void_p).value
    try:
        yield
    finally:
        entry.get_proc_address = before


def _entry(library: ctypes.CDLL) -> _Entry | None:
    """Return the CPU backend's registry entry, None where it is not the struct described above."""
    try:
        by_name, find = library.ggml_backend_reg_by_name, library.ggml_backend_reg_get_proc_address
    except AttributeError:
        return None
    by_name.restype, by_name.argtypes = ctypes.c_void_p, (ctypes.c_char_p,)
    find.restype, find.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p)
    address = by_name(b"CPU")
    if not address:
        return None
    entry = _Entry.from_address(address)
    if entry.api_version != API_VERSION or not entry.get_proc_address:
        return None
    answer = find(address, QUESTION)  # the library's own way to the same pointer
    is_same = answer and answer == _Find(entry.get_proc_address)(address, QUESTION)
    return entry if is_same else None


def _read_ahead_again(paths: Sequence[str]) -> list[Mapped]:
    """Undo MADV_RANDOM, which comes with several memory nodes; return the mappings that had it."""
    path_of = {Path(path).stat().st_ino: path for path in paths}
    undone = []
    for smap in _smaps():
        header = _HEADER.match(smap)
        if header is None or int(header[4]) not in path_of:
            continue
        start, end, offset = (int(number, 16) for number in header.groups()[:3])
        size = ctypes.c_size_t(end - start)
        _libc.madvise(ctypes.c_void_p(start), size, ctypes.c_int(mmap.MADV_NORMAL))
        read_in_large_pieces(start, end - start)
        if _is_random(smap):
            undone.append(Mapped(path_of[int(header[4])], offset, start, end - start))
    return undone


def _smaps() -> list[str]:
    """Return the mappings of this process, the lines about each as one text."""
    try:
        text = Path("/proc/self/smaps").read_text(errors="replace")
    except OSError:
        return []
    return re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE)


def _is_random(smap: str) -> bool:
    return re.search(r"^VmFlags:.* rr\b", smap, re.MULTILINE) is not None
