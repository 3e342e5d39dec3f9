"""How much memory a model's worker needs, from its header and its settings, before anything is
loaded.

It counts what nobody can take back (anonymous memory). A mapped model's weights lie in the page
cache, which the kernel gives and takes; they are counted apart. It knows no budget and no other
model. llama.cpp's own account, where it can be asked (`engine/probe.py`), goes before the formula.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from modelrouter.gguf import GgufFacts
from modelrouter.gguf.tensors import EMBEDDINGS, uses
from modelrouter.memory.kv import BYTES_PER_VALUE, stored_types
from modelrouter.types import KvType

Origin: TypeAlias = Literal["llama.cpp", "formula"]
"""Who says so: llama.cpp, asked for its plan of this very file, or the formula below."""

WORKER_BYTES = 24 * 2**20
"""A worker without a model: the interpreter, numpy, llama.cpp. Measured: 22.4 MiB anonymous. The
libraries' own pages, another 20 MiB, are files': shared by all workers, and the kernel's to take.
"""
RUNNING_BYTES = 4 * 2**20
"""What a worker takes beyond a probe: modules and threads of its own, and what decoding for the
first time allocates. Measured: 1.9 to 2.5 MiB; rounded up.
"""
THREAD_BYTES = 80 * 2**10
"""A thread of llama.cpp's: its stack. Measured: 75 KiB. There may be one for each processor."""
TOKEN_BYTES = 160
"""A token of a sequence: its place in llama.cpp's list of cells, its number in three lists of ours.
Measured over 4,096 to 131,072 tokens: 147 to 160 bytes.
"""
CANDIDATE_BYTES = 12
"""What a sampler notes of each token of the vocabulary: number, logit, probability. One at a time
draws; the list of the one before may still lie in the heap.
"""

CELL_BYTES = 64
"""What llama.cpp notes about a KV cell, used or not. Measured: 56 bytes."""
VOCABULARY_BYTES = 552
"""A token of the vocabulary and two merges: 151 and 200 bytes, as measured. Llama 3 has as many."""
LAYER_BYTES = 64 * 2**10
"""A layer in llama.cpp's graph and lists. Measured: 40 to 65 KiB."""

ROW_INPUTS = 92
"""2-byte values that the graph holds of a row besides: its token, its place. As measured."""

CELLS_STEP = 256
"""llama.cpp rounds a sequence's context up to a multiple of this."""

Q8_K_BYTES = 292 / 256
SCRATCH_BYTES = {"F32": 0.0, "F16": 2.0, "BF16": 2.0}
"""Bytes of an input's value once it is of the type that weights of a type are multiplied with; for
all quantized ones it is Q8_K or one slightly smaller.
"""

FULL_EVERY: Mapping[str, int] = {"cohere2": 4, "gemma3": 6}
"""Which layers look at the whole context in models with a sliding window: every sixth of Gemma 3's.
From `set_swa_pattern` in llama.cpp's code of each architecture. In one that is not here all do.
"""

REPACKED_TYPES = frozenset({"Q4_0", "Q4_K", "Q2_K", "IQ4_NL", "MXFP4"})
"""The types that llama.cpp rearranges on x86 with AVX2, with Q2_K that AVX-512 adds.
From ggml/src/ggml-cpu/repack.cpp.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes a worker needs. `mapped_bytes`, weights in the page cache, are not in the total.

    Weights in the worker's own memory are `plain_bytes`, as they are in the file, or
    `repacked_bytes`, rearranged for speed as they are read. `output_bytes` are the logits.
    `worker_bytes` is everything that is not a tensor: libraries, vocabulary, tokens.
    """

    plain_bytes: int
    repacked_bytes: int
    kv_bytes: int
    compute_bytes: int
    output_bytes: int
    worker_bytes: int
    mapped_bytes: int
    origin: Origin

    @property
    def weights_bytes(self) -> int:
        """The weights in the worker's own memory: none of a mapped model's."""
        return self.plain_bytes + self.repacked_bytes

    @property
    def total_bytes(self) -> int:
        """What the budget is charged."""
        buffers = self.kv_bytes + self.compute_bytes + self.output_bytes
        return self.weights_bytes + buffers + self.worker_bytes


def footprint(
    facts: GgufFacts,
    *,
    whole: bool,
    context_tokens: int,
    slots: int,
    batch_rows: int,
    kv_type: KvType,
    logit_rows: int = 1,
) -> Footprint:
    """Return the formula's footprint of a model; the settings are the engine's Load message's."""
    outputs = min(slots * logit_rows, batch_rows)
    plain, repacked = _weights_bytes(facts) if whole else (0, 0)
    cells = _multiple(context_tokens, CELLS_STEP)
    window_cells = _window_cells(facts, cells, batch_rows)
    graph = _graph_bytes(
        facts,
        kv_type,
        rows=_multiple(batch_rows, slots),
        outputs=outputs,
        mask_cells=cells + window_cells,
    )
    return Footprint(
        plain_bytes=plain,
        repacked_bytes=repacked,
        kv_bytes=slots * _kv_bytes(facts, cells, window_cells, kv_type),
        compute_bytes=computing_bytes(facts, batch_rows, graph),
        output_bytes=4 * outputs * facts.vocab_size,
        worker_bytes=_idle_bytes(facts, cells * slots) + running_bytes(facts, cells, slots),
        mapped_bytes=0 if whole else facts.weights_bytes,
        origin="formula",
    )


def running_bytes(facts: GgufFacts, context_tokens: int, slots: int) -> int:
    """Return what a worker takes beyond its buffers once all its slots' contexts are full."""
    threads = THREAD_BYTES * (os.cpu_count() or 1)
    tokens = TOKEN_BYTES * context_tokens * slots
    return RUNNING_BYTES + threads + tokens + 2 * CANDIDATE_BYTES * facts.vocab_size


def computing_bytes(facts: GgufFacts, batch_rows: int, graph_bytes: int) -> int:
    """Return what a worker takes for passes whose graph llama.cpp plans with `graph_bytes`.

    One part of the graph's buffer is never touched: the place for embeddings that come ready-made,
    where ours are tokens (`build_inp_embd` in src/llama-graph.cpp). And ggml takes scratch memory
    that is in no account of llama.cpp's.
    """
    return graph_bytes - 4 * batch_rows * facts.embedding_length + _scratch_bytes(facts, batch_rows)


def _scratch_bytes(facts: GgufFacts, batch_rows: int) -> int:
    """`ggml_graph_plan`, ggml/src/ggml-cpu/ggml-cpu.c: the input of the widest product, in the type
    that its weights are multiplied with; and for each expert, which rows chose it.
    """
    inputs = (
        tensor.shape[0]
        * SCRATCH_BYTES.get(tensor.type_name, Q8_K_BYTES)
        * (facts.expert_used_count if "_down_exps" in tensor.name else 1)
        for tensor in facts.tensors
        if tensor.shape[1:]
    )
    choices = 8 * facts.expert_count * facts.expert_used_count
    return int(batch_rows * (max(inputs, default=0) + choices))


def _experts_width(facts: GgufFacts) -> int:
    return facts.feed_forward_length * max(1, facts.expert_used_count)


def _weights_bytes(facts: GgufFacts) -> tuple[int, int]:
    """Return the plain and the repacked bytes of weights that are read whole.

    What is looked up, not multiplied, stays plain. Where embeddings are the output layer too, and
    of a type that is repacked, that layer is a second copy.
    """
    plain = repacked = 0
    for tensor, use in uses(facts.tensors):
        can_repack = tensor.type_name in REPACKED_TYPES and tensor.shape[1:2] != (1,)
        if use == "rows" or tensor.name == EMBEDDINGS or not can_repack:
            plain += tensor.n_bytes
        if can_repack and use != "rows":
            repacked += tensor.n_bytes
    return plain, repacked


def _multiple(count: int, step: int) -> int:
    """Round up."""
    return -(-count // step) * step


def _window_cells(facts: GgufFacts, cells: int, batch_rows: int) -> int:
    """Return the cells of a layer with a sliding window, 0 where no layer has one.

    llama.cpp, src/llama-kv-cache-iswa.cpp: the window and what a pass adds to it.
    """
    if facts.sliding_window is None or facts.architecture not in FULL_EVERY:
        return 0
    return min(cells, _multiple(facts.sliding_window + batch_rows, CELLS_STEP))


def _kv_bytes(facts: GgufFacts, cells: int, window_cells: int, kv_type: KvType) -> int:
    """llama.cpp, src/llama-kv-cache.cpp: a key and a value row for every cell of every layer."""
    every = FULL_EVERY.get(facts.architecture, 1) if window_cells else 1
    heads_of_cells = sum(
        heads * (cells if layer % every == every - 1 else window_cells)
        for layer, heads in enumerate(facts.kv_heads_by_layer)
    )
    stored = stored_types(kv_type, facts.key_length)
    key_bytes = facts.key_length * BYTES_PER_VALUE[stored.keys]
    value_bytes = facts.value_length * BYTES_PER_VALUE[stored.values]
    return int(heads_of_cells * (key_bytes + value_bytes))


def _graph_bytes(
    facts: GgufFacts, kv_type: KvType, *, rows: int, outputs: int, mask_cells: int
) -> int:
    """Return the size of llama.cpp's graph buffer with flash attention.

    It is as large as the widest phase of a pass, in 4-byte values a row: the feed-forward's three
    products of each expert used, the experts' results, or the logits at the end. All the while a
    row has a 2-byte mask over the cells. Each slot gets as many rows as any other. Found by
    comparing with what llama.cpp itself plans.
    """
    width, experts = facts.embedding_length, facts.expert_used_count
    feed_forward = 3 * _experts_width(facts) + (4 if kv_type == "f16" else 3) * width
    row = max(feed_forward, (5 + 2 * experts) * width)
    logits = outputs * (facts.vocab_size + 2 * width)
    return 4 * max(rows * row, logits) + 2 * rows * (mask_cells + ROW_INPUTS)


def _idle_bytes(facts: GgufFacts, cells: int) -> int:
    vocabulary = VOCABULARY_BYTES * facts.vocab_size
    return WORKER_BYTES + vocabulary + LAYER_BYTES * facts.layers + CELL_BYTES * cells
