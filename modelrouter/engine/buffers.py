"""What llama.cpp would allocate for a model, by its own account: nothing is loaded.

It knows one symbol more of llama.cpp than `llama.py`: the sum of its buffers, which is C++.
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import llama_cpp.llama_cpp as lib

from modelrouter.engine import llama
from modelrouter.engine.protocol import Load, Planned
from modelrouter.errors import EngineError
from modelrouter.memory.process import held_bytes

PLAIN = b"CPU"
"""The buffer type of weights as they are in the file; all others hold them rearranged."""

ACCOUNT = "_Z26llama_get_memory_breakdownPK13llama_context"
"""`llama_get_memory_breakdown(const llama_context *)`: bytes of model, context and graph by type of
buffer, in a `std::map`. It is exported for llama.cpp's own tools and is not in llama.h.
"""


class _Map(ctypes.Structure):
    """A `std::map` as libstdc++ lays it out: its tree's head, and how many nodes hang there."""

    _fields_ = (
        ("compare", ctypes.c_void_p),
        ("color", ctypes.c_void_p),
        ("root", ctypes.c_void_p),
        ("leftmost", ctypes.c_void_p),
        ("rightmost", ctypes.c_void_p),
        ("count", ctypes.c_size_t),
    )


class _Node(ctypes.Structure):
    """A node of that tree: the type of a buffer, and the bytes of its three uses."""

    _fields_ = (
        ("color", ctypes.c_void_p),
        ("parent", ctypes.c_void_p),
        ("left", ctypes.c_void_p),
        ("right", ctypes.c_void_p),
        ("buffer_type", ctypes.c_void_p),
        ("model_bytes", ctypes.c_size_t),
        ("context_bytes", ctypes.c_size_t),
        ("graph_bytes", ctypes.c_size_t),
    )


Account: TypeAlias = dict[bytes, tuple[int, int, int]]


def plans(loads: Sequence[Load]) -> Iterator[Planned]:
    """Yield what llama.cpp would allocate for each load, and what this process then holds.

    All loads are of one file and one residency; it is opened once. LoadFailed where llama.cpp
    cannot read the model, EngineError where it gives no account.
    """
    lib.llama_log_set(llama.log_warnings, None)
    lib.llama_backend_init()
    model = llama.open_model(loads[0], is_plan=True)
    try:
        for load in loads:
            yield _plan(model, load)
    finally:
        lib.llama_model_free(model)


def _plan(model: Any, load: Load) -> Planned:
    context = llama.make_context(model, load)
    account = _account(context)
    vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    weights, kv, graph = (sum(column) for column in zip(*account.values(), strict=True))
    plain = account[PLAIN][0] if PLAIN in account else 0
    found = Planned(
        plain_bytes=plain,
        repacked_bytes=weights - plain,
        kv_bytes=kv,
        compute_bytes=graph,
        output_bytes=4 * vocabulary * load.most_outputs,
        worker_bytes=held_bytes(os.getpid()),
    )
    lib.llama_free(context)
    llama.trim_heap()  # else the next context would be counted with this one's leavings
    return found


def _account(context: Any) -> Account:
    if not sys.platform.startswith("linux"):
        raise EngineError("llama.cpp's account of its buffers can be read on Linux only")
    library = llama.library()
    try:
        ask, name = library[ACCOUNT], library.ggml_backend_buft_name
    except AttributeError as error:
        raise EngineError(f"this llama.cpp gives no account of its buffers: {error}") from error
    ask.argtypes, ask.restype = (ctypes.c_void_p,), _Map
    name.argtypes, name.restype = (ctypes.c_void_p,), ctypes.c_char_p
    answer = ask(context)
    nodes = list(_nodes(answer.root))
    if len(nodes) != answer.count:
        raise EngineError(
            f"llama.cpp's account has {len(nodes)} buffers where it says {answer.count}"
        )
    return {
        name(node.buffer_type): (node.model_bytes, node.context_bytes, node.graph_bytes)
        for node in nodes
    }


def _nodes(address: int | None) -> Iterator[_Node]:
    if address is not None:
        node = _Node.from_address(address)
        yield from _nodes(node.left)
        yield node
        yield from _nodes(node.right)
