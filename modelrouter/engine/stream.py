"""Streaming: the weights that are not pinned, read from the disk ahead of each pass and let go of
behind it. It knows files, layers and how far a pass is, no tensor and no llama.cpp.

A dense model is read in a circle. A page cache that is smaller than the circle drops each page just
before its turn, so it helps nothing, and filling it pushes out everybody else's pages. So a thread
reads the next layers into the page cache, never more than a window of bytes, and drops each layer
once the pass is in the next one.

How far the pass is, the page table says: a page is in llama.cpp's mapping from the first touch to
our `zap`. That costs the pass nothing. Whatever goes wrong here costs time only: a page that is not
there is read by the kernel when it is touched.
"""

import itertools
import os
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelrouter.engine.mapping import Mapped
from modelrouter.engine.pages import PAGE_BYTES, Pages, zap
from modelrouter.engine.protocol import Span
from modelrouter.engine.weights import rest

PIECE_BYTES: Final = 16 * 2**20
"""What is read at a time. docs/memory.md has others beside it."""

LOOK_SECONDS: Final = 0.004
"""How often the pass is looked at while the window is full: a layer takes tens of them."""

PROBES: Final = 8
"""Pages of a layer that are looked at."""

LAYERS_AHEAD: Final = 3
"""How many layers a pass may enter between two looks before it is lost sight of until its end."""

PRESENT: Final = 1 << 63
"""The bit of a page's entry in /proc/self/pagemap that says that it is mapped."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What is streamed of a layer, and the addresses by which its use is seen."""

    pieces: tuple[Span, ...]
    probes: tuple[int, ...]


class Stream:
    """Reads ahead of the passes of one model."""

    def __init__(
        self,
        weights: Sequence[Span],
        window_bytes: int,
        pinned: Callable[[], int],
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        """Stream what is behind the first `pinned()` bytes of `weights`, once `follow` says where
        they are mapped. At most `window_bytes` are read ahead and not dropped yet.
        """
        self._weights = weights
        self._window_bytes = window_bytes
        self._pinned = pinned
        self._piece_bytes = piece_bytes
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_closed = False
        self._begun = self._over = 0
        self._mappings: Sequence[Mapped] = ()
        self._files: dict[str, Pages] = {}
        self._pinned_bytes = -1
        self._turn = _Turn((), window_bytes)

    def start(self) -> None:
        """Start the thread; it inherits the caller's priority."""
        self._thread.start()

    def close(self) -> None:
        """End the thread: before llama.cpp unmaps the files, whose addresses it works on."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def follow(self, mappings: Sequence[Mapped]) -> None:
        """Take note of where llama.cpp has mapped the files."""
        self._mappings = mappings

    def pass_begins(self) -> None:
        """A pass begins: from now on its place is looked at."""
        with self._changed:
            self._begun += 1
            self._changed.notify()

    def pass_ends(self) -> None:
        """The pass is over, at its end or before."""
        with self._changed:
            self._over = self._begun
            self._changed.notify()

    def _run(self) -> None:
        try:
            with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
                self._work(pagemap.fileno())
        except (OSError, ValueError):
            return  # no page table to be seen, or the file is cut short: the kernel reads alone

    def _work(self, pagemap: int) -> None:
        begun, over = 0, 0  # as far as this thread has heard
        while not self._is_closed:
            with self._changed:
                if (begun, over) == (self._begun, self._over) and not (
                    self._turn.has_room or self._is_closed
                ):
                    is_watching = begun != over and self._turn.is_streaming
                    self._changed.wait(LOOK_SECONDS if is_watching else None)
                heard, begun, over = (begun, over), self._begun, self._over
            if over != heard[1]:
                self._drop(self._turn.is_over())
            if begun != heard[0]:
                self._take_pin_in()
            if begun != over:
                self._drop(self._turn.reached(lambda page: _is_mapped(pagemap, page)))
            if (piece := self._turn.next()) is not None:
                self._file(piece.path).read(piece.offset, piece.n_bytes)

    def _take_pin_in(self) -> None:
        """Begin anew with what is not pinned now; in the midst of a pass it would be lost."""
        if (pinned_bytes := self._pinned()) != self._pinned_bytes:
            self._pinned_bytes = pinned_bytes
            self._turn = _Turn(self._layers(pinned_bytes), self._window_bytes)

    def _layers(self, pinned_bytes: int) -> tuple[Layer, ...]:
        """Return what is to be streamed; nothing where all of it fits into the window."""
        left = [span for span in rest(self._weights, pinned_bytes) if span.layer is not None]
        if sum(span.n_bytes for span in left) <= self._window_bytes:
            return ()
        left.sort(key=lambda span: (span.layer, span.path, span.offset))
        layers = []
        for _, spans in itertools.groupby(left, lambda span: span.layer):
            pieces = tuple(piece for span in spans for piece in _cut(span, self._piece_bytes))
            layers.append(Layer(pieces, self._probes(pieces)))
        return tuple(layers) if any(layer.probes for layer in layers) else ()

    def _probes(self, pieces: Sequence[Span]) -> tuple[int, ...]:
        """Return pages in the middle of large pieces: what touches a layer's end may map the next
        one's beginning.
        """
        large = [piece for piece in pieces if piece.n_bytes > self._piece_bytes // 2]
        step = -(-len(large) // PROBES) or 1
        addresses = (self._address(piece) for piece in large[::step])
        middle = self._piece_bytes // 4
        return tuple((place + middle) // PAGE_BYTES for place in addresses if place is not None)

    def _address(self, piece: Span) -> int | None:
        """Return where llama.cpp has mapped the piece."""
        for mapped in self._mappings:
            start = piece.offset - mapped.offset
            if mapped.path == piece.path and 0 <= start <= mapped.n_bytes - piece.n_bytes:
                return mapped.address + start
        return None

    def _drop(self, pieces: Sequence[Span]) -> None:
        for piece in pieces:
            if (address := self._address(piece)) is not None:
                zap(address, piece.n_bytes)
            self._file(piece.path).drop(piece.offset, piece.n_bytes)

    def _file(self, path: str) -> Pages:
        if path not in self._files:
            end = max(s.offset + s.n_bytes for s in self._weights if s.path == path)
            self._files[path] = Pages(path, end)
        return self._files[path]


class _Turn:
    """Where the pass and the reading are in the circle of layers; places count pieces."""

    def __init__(self, layers: Sequence[Layer], window_bytes: int) -> None:
        self._pieces = tuple(piece for layer in layers for piece in layer.pieces)
        self._probes = [layer.probes for layer in layers]
        sizes = (len(layer.pieces) for layer in layers)
        self._starts = list(itertools.accumulate(sizes, initial=0))
        self._layer = -1  # in which the pass was last seen
        self._dropped = 0  # what comes before is dropped
        self._next = 0  # to be read; counts on through the next pass's
        self._room_bytes = window_bytes

    @property
    def is_streaming(self) -> bool:
        """True where there is anything to be read."""
        return bool(self._pieces)

    @property
    def has_room(self) -> bool:
        """True where another piece may be read ahead."""
        return self.is_streaming and (
            self._next < self._dropped + len(self._pieces)
            and self._pieces[self._next % len(self._pieces)].n_bytes <= self._room_bytes
        )

    def next(self) -> Span | None:
        """Return the piece to be read now, None where there is no room."""
        if not self.has_room:
            return None
        piece = self._pieces[self._next % len(self._pieces)]
        self._next += 1
        self._room_bytes -= piece.n_bytes
        return piece

    def reached(self, is_mapped: Callable[[int], bool]) -> Sequence[Span]:
        """Look where the pass is; return what is behind it."""
        ahead = range(self._layer + 1, min(self._layer + 1 + LAYERS_AHEAD, len(self._probes)))
        entered = [n for n in ahead if any(map(is_mapped, self._probes[n]))]
        if not entered:
            return ()
        self._layer = entered[-1]
        return self._behind(self._starts[self._layer])

    def is_over(self) -> Sequence[Span]:
        """Begin the circle anew; return what is left of the pass that is over."""
        pieces = self._behind(len(self._pieces))
        self._layer = -1
        self._dropped -= len(self._pieces)
        self._next -= len(self._pieces)
        return pieces

    def _behind(self, place: int) -> Sequence[Span]:
        """Return the pieces before `place` that are not dropped yet; they need not be read."""
        pieces = self._pieces[self._dropped : place]
        read = self._pieces[self._dropped : min(place, self._next)]
        self._room_bytes += sum(piece.n_bytes for piece in read)
        self._dropped = max(self._dropped, place)
        self._next = max(self._next, place)
        return pieces


def _cut(span: Span, piece_bytes: int) -> list[Span]:
    """Cut a span at whole multiples of `piece_bytes` of the file, where huge pages begin."""
    end = span.offset + span.n_bytes
    first = span.offset // piece_bytes * piece_bytes
    cuts = [span.offset, *range(first + piece_bytes, end, piece_bytes), end]
    pairs = itertools.pairwise(cuts)
    return [Span(span.path, start, stop - start, span.layer) for start, stop in pairs]


def _is_mapped(pagemap: int, page: int) -> bool:
    (entry,) = struct.unpack("<Q", os.pread(pagemap, 8, 8 * page))
    return bool(entry & PRESENT)
