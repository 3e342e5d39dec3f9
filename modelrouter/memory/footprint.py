"""How much memory a model's worker needs, from its header and its settings, before anything is
loaded.

It counts what nobody can take back (anonymous memory). A mapped model's weights lie in the page
cache, which the kernel gives and takes; they are counted apart. It knows no budget and no other
model.
"""

from dataclasses import dataclass

from modelrouter.gguf import GgufFacts

WORKER_BYTES = 64 * 2**20
"""A worker without a model: the interpreter, numpy, llama.cpp. Measured: 48 MiB, of which 22 are
library pages shared with other workers; rounded up.
"""

CELLS_STEP = 256
"""llama.cpp rounds a sequence's context up to a multiple of this."""

BYTES_PER_VALUE = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""KV cache types: bytes of a value, from ggml's block sizes."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes a worker needs. `mapped_bytes`, weights in the page cache, are not in the total."""

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    worker_bytes: int
    mapped_bytes: int

    @property
    def total_bytes(self) -> int:
        """What the budget is charged."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes + self.worker_bytes


def footprint(
    facts: GgufFacts,
    *,
    whole: bool,
    context_tokens: int,
    slots: int,
    batch_rows: int,
    kv_type: str,
) -> Footprint:
    """Return the footprint of a model; `whole` as in the engine's Load message."""
    return Footprint(
        weights_bytes=facts.weights_bytes if whole else 0,
        kv_bytes=_kv_bytes(facts, context_tokens, slots, kv_type),
        compute_bytes=_compute_bytes(facts, batch_rows, context_tokens, slots),
        worker_bytes=WORKER_BYTES,
        mapped_bytes=0 if whole else facts.weights_bytes,
    )


def _kv_bytes(facts: GgufFacts, context_tokens: int, slots: int, kv_type: str) -> int:
    """llama.cpp, src/llama-kv-cache.cpp: a key and a value row for every cell of every layer."""
    cells = -(-context_tokens // CELLS_STEP) * CELLS_STEP * slots
    values = sum(
        heads * (facts.key_length + facts.value_length) for heads in facts.kv_heads_by_layer
    )
    return int(cells * values * BYTES_PER_VALUE[kv_type])


def _compute_bytes(facts: GgufFacts, batch_rows: int, context_tokens: int, slots: int) -> int:
    """Return the size of llama.cpp's graph buffer with flash attention, and of its logits.

    The buffer is as large as the widest phase of a pass: the feed-forward's three products of each
    expert used, or the logits at the end; 4-byte values, and a 2-byte mask over the context. Found
    by comparing with what llama.cpp itself allocates for a zoo of geometries.
    """
    width = facts.embedding_length
    experts = max(1, facts.expert_used_count)
    feed_forward = 3 * facts.feed_forward_length * experts + 4 * width
    row_bytes = 4 * max(facts.vocab_size + 2 * width, feed_forward) + 2 * context_tokens
    return batch_rows * row_bytes + 4 * slots * facts.vocab_size
