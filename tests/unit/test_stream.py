"""What is read ahead of a pass and dropped behind it: the kernel says what is in memory.

A file of eight layers of 8 MiB; the pass is played by touching a mapping of it, layer by layer.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt
import pytest
from page_cache import PAGE, forget, pages_in_memory

from modelrouter import synthetic
from modelrouter.engine.backend import Row
from modelrouter.engine.llama import LlamaBackend
from modelrouter.engine.mapping import Mapped
from modelrouter.engine.pages import Pages
from modelrouter.engine.protocol import Load, Span
from modelrouter.engine.stream import Layer, Stream, _Turn
from modelrouter.engine.weights import spans
from modelrouter.gguf import read_facts
from modelrouter.memory.kv import StoredTypes

MIB = 2**20
LAYERS, LAYER_BYTES, PIECE_BYTES = 8, 8 * MIB, 2 * MIB
WINDOW_BYTES = 2 * LAYER_BYTES
EDGES_BYTES = 8 * MIB
"""What the kernel may read beyond a touch: 4 MiB at a time, before and behind."""


class Played:
    """A file under a stream, and the mapping whose touching is the pass."""

    def __init__(self, path: Path, pinned_bytes: int = 0) -> None:
        """Write the file and have it streamed but for its first bytes."""
        path.write_bytes(b"\1" * (LAYERS * LAYER_BYTES))
        forget(path)
        places = range(0, LAYERS * LAYER_BYTES, LAYER_BYTES)
        self.path = path
        self.weights = [Span(str(path), at, LAYER_BYTES, n) for n, at in enumerate(places)]
        self.pages = Pages(str(path), LAYERS * LAYER_BYTES)
        self._pinned_bytes = pinned_bytes
        self._looks = 0
        self.stream = Stream(self.weights, WINDOW_BYTES, self._pinned, PIECE_BYTES)
        address = self.pages._address
        self.stream.follow([Mapped(str(path), 0, address, LAYERS * LAYER_BYTES)])
        self.bytes = np.frombuffer(self.pages._memory, np.uint8)
        self.stream.start()

    def _pinned(self) -> int:
        """Say what is pinned; the thread asks whenever it has heard that a pass begins."""
        self._looks += 1
        return self._pinned_bytes

    def settle(self) -> None:
        """Wait until the thread has heard of a pass, done what there is to do, and heard again."""
        for _ in range(2):
            looks = self._looks
            self.stream.pass_begins()
            while self._looks == looks:
                pass

    @property
    def in_memory_bytes(self) -> int:
        """What of the file is in memory."""
        return pages_in_memory(self.path) * PAGE

    def touch(self, layer: int) -> None:
        """Read a byte of each page of a layer."""
        start = layer * LAYER_BYTES
        assert self.bytes[start : start + LAYER_BYTES : PAGE].sum() == LAYER_BYTES // PAGE

    def until(self, condition: Callable[[int], bool]) -> int:
        """Wait until so many bytes of the file are in memory; return how many."""
        return next(n for n in self._in_memory() if condition(n))

    def until_full(self) -> None:
        """Wait until the thread has taken as many pieces as the window holds."""
        while not self.stream._turn.is_streaming or self.stream._turn.has_room:
            pass

    def _in_memory(self) -> Iterator[int]:
        while True:
            yield self.in_memory_bytes


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    """A file of which nothing is pinned."""
    played = Played(tmp_path / "model.gguf")
    yield played
    played.stream.close()


def test_it_reads_ahead_as_much_as_the_window_holds(played: Played) -> None:
    """Before anything is touched; and not a piece more, however long the pass stands still."""
    played.stream.pass_begins()
    played.until_full()
    assert played.until(lambda n: n >= WINDOW_BYTES) <= WINDOW_BYTES + EDGES_BYTES
    for _ in range(3):
        played.settle()
        assert played.stream._turn._next == WINDOW_BYTES // PIECE_BYTES
    assert played.in_memory_bytes <= WINDOW_BYTES + EDGES_BYTES


def test_it_follows_the_pass_and_drops_what_is_behind(played: Played) -> None:
    """In two passes, one after the other, no more is in memory than the window and its edges."""
    for _ in range(2):
        played.stream.pass_begins()
        for layer in range(LAYERS):
            played.touch(layer)
            played.until(lambda n: n <= WINDOW_BYTES + EDGES_BYTES)
        played.stream.pass_ends()
    played.until(lambda n: WINDOW_BYTES <= n <= WINDOW_BYTES + EDGES_BYTES)


def test_a_pass_that_ends_early_begins_anew(played: Played) -> None:
    """After an interrupt the first layers are read again, not the next ones."""
    played.stream.pass_begins()
    played.until_full()
    for layer in range(4):
        played.touch(layer)
    played.stream.pass_ends()
    turn = played.stream._turn
    while turn._next != WINDOW_BYTES // PIECE_BYTES or turn._layer != -1:
        turn = played.stream._turn
    played.until(lambda n: n <= WINDOW_BYTES + EDGES_BYTES)


def test_what_is_pinned_is_not_streamed(tmp_path: Path) -> None:
    """Where no more than the window is left, the kernel keeps it; nothing is read or dropped."""
    played = Played(tmp_path / "model.gguf", pinned_bytes=6 * LAYER_BYTES)
    played.settle()
    assert played.in_memory_bytes == 0
    for layer in range(6, 8):
        played.touch(layer)
    played.stream.pass_ends()
    played.settle()
    assert played.in_memory_bytes >= 2 * LAYER_BYTES
    assert played.stream._layers(6 * LAYER_BYTES) == ()
    (first, *_), *_ = (layer.pieces for layer in played.stream._layers(5 * LAYER_BYTES + PAGE))
    assert first == Span(str(played.path), 5 * LAYER_BYTES + PAGE, PIECE_BYTES - PAGE, 5)
    played.stream.close()


def turn_of(layers: int, window_bytes: int) -> _Turn:
    """Return a circle of layers of two pieces of ten bytes, each seen by its own number."""
    pieces = [Span("a", place, 10, place // 20) for place in range(0, 20 * layers, 10)]
    pairs = zip(pieces[::2], pieces[1::2], strict=True)
    return _Turn([Layer(tuple(pair), (n,)) for n, pair in enumerate(pairs)], window_bytes)


def offsets(turn: _Turn) -> list[int]:
    """Return where the pieces lie that are read until the window is full."""
    return [piece.offset for piece in iter(turn.next, None)]


def test_the_circle_goes_on_into_the_next_pass() -> None:
    """The window is filled across the pass's end; what is over makes room, piece by piece."""
    turn = turn_of(layers=3, window_bytes=30)
    assert offsets(turn) == [0, 10, 20]
    assert [p.offset for p in turn.reached({0, 1}.__contains__)] == [0, 10]
    assert offsets(turn) == [30, 40]
    assert [p.offset for p in turn.reached({2}.__contains__)] == [20, 30]
    assert offsets(turn) == [50, 0]
    assert [p.offset for p in turn.is_over()] == [40, 50]
    assert offsets(turn) == [10, 20]


def test_a_pass_that_overtakes_the_reading() -> None:
    """What it has read by itself is dropped too, and not read again."""
    turn = turn_of(layers=4, window_bytes=20)
    assert offsets(turn) == [0, 10]
    assert [p.offset for p in turn.reached({2}.__contains__)] == [0, 10, 20, 30]
    assert offsets(turn) == [40, 50]


def test_the_same_logits_while_it_streams(tmp_path: Path) -> None:
    """With nothing pinned, in a window of two layers, it computes what a whole one does."""
    path = tmp_path / "wide.gguf"
    geometry = synthetic.Geometry(8, 512, 2048, heads=8, kv_heads=8, context_length=512)
    synthetic.write(path, geometry, "Q8_0")
    window = 10 * MIB
    weights = spans(read_facts(path))
    found: dict[bool, list[npt.NDArray[np.float32]]] = {True: [], False: []}
    for whole in (True, False):
        load = Load(
            str(path),
            whole,
            256,
            1,
            32,
            StoredTypes("q8_0", "f16"),
            2,
            weights,
            window_bytes=window,
        )
        backend = LlamaBackend(load, lambda _: None)
        stream = Stream(weights, window, lambda: 0, MIB)
        stream.start()
        stream.follow(backend.mappings)
        for position in range(12):
            stream.pass_begins()
            assert backend.decode([Row(0, position, 65 + position, wants_logits=True)])
            stream.pass_ends()
            pointer = lib.llama_get_logits_ith(backend._context, 0)
            found[whole].append(np.ctypeslib.as_array(pointer, (backend._vocabulary,)).copy())
        assert stream._turn.is_streaming != whole
        stream.close()
        backend.close()
    assert np.array_equal(found[True], found[False])
