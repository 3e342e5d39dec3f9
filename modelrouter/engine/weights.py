"""Where a mapped model's weights lie in its files, in the order in which they are worth pinning.

Pure: a header's facts in, stretches of files out. It knows nothing of how they are read.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from modelrouter.engine.pages import PAGE_BYTES
from modelrouter.engine.protocol import Span
from modelrouter.gguf import GgufFacts
from modelrouter.gguf.tensors import Tensor, Use, uses

Group: TypeAlias = tuple[int, int]
"""What is pinned together: the rank of its use, and the place in the pass."""

_LAYER = re.compile(r"blk\.(\d+)\.")
_RANKS: Mapping[Use, int] = {"whole": 0, "experts": 1, "rows": 2}


def spans(facts: GgufFacts) -> tuple[Span, ...]:
    """Return the stretches that hold weights, disjoint, from whole pages on, best to pin first.

    First what every pass reads whole: the output head with the norms, then the layers, spread
    evenly, so that however many are pinned, the disk always has a next one to read while a pinned
    one is computed. A byte of it saves a byte of every pass. Then experts, in the layers' order:
    which ones are used is not known beforehand. Embeddings last: a pass looks up a few rows.
    """
    groups: dict[Group, list[Span]] = {}
    for group, span in _runs(facts):
        groups.setdefault(group, []).append(span)
    ordered = sorted(groups, key=lambda group: (group[0], _spread(group[1], facts.layers)))
    return tuple(span for group in ordered for span in groups[group])


def rest(weights: Iterable[Span], pinned_bytes: int) -> Iterator[Span]:
    """Yield what is left of the stretches behind the first `pinned_bytes` of them all."""
    for span in weights:
        taken = min(pinned_bytes, span.n_bytes)
        pinned_bytes -= taken
        if taken < span.n_bytes:
            yield Span(span.path, span.offset + taken, span.n_bytes - taken, span.layer)


def _runs(facts: GgufFacts) -> Iterator[tuple[Group, Span]]:
    """Yield each group's tensors that lie side by side as one stretch.

    A page that two tensors share goes with the second.
    """
    paths = {index: str(file.path) for index, file in enumerate(facts.files)}
    by_place = sorted(uses(facts.tensors), key=lambda pair: (pair[0].file_index, pair[0].offset))
    for file_index, pairs in itertools.groupby(by_place, lambda pair: pair[0].file_index):
        grouped = [(_group(tensor, use, facts.layers), tensor) for tensor, use in pairs]
        starts = [tensor.offset // PAGE_BYTES * PAGE_BYTES for _, tensor in grouped]
        last = grouped[-1][1]
        ends = [*starts[1:], last.offset + last.n_bytes]
        pieces = zip(grouped, starts, ends, strict=True)
        for group, run in itertools.groupby(pieces, lambda piece: piece[0][0]):
            places = [(start, end) for _, start, end in run]
            first, end = places[0][0], places[-1][1]
            if first < end:
                layer = None if group[0] else group[1]
                yield group, Span(paths[file_index], first, end - first, layer)


def _group(tensor: Tensor, use: Use, layers: int) -> Group:
    found = _LAYER.match(tensor.name)
    return (_RANKS[use], layers if found is None else int(found[1]))


def _spread(layer: int, layers: int) -> tuple[int, str]:
    """Return a layer's place in an order of which every beginning is spread evenly over all.

    Its number's binary digits from the last to the first; what is no layer comes before them.
    """
    return (0, "") if layer == layers else (1, f"{layer:016b}"[::-1])
