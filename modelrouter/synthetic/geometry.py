"""The shapes of a decoder model: how many layers of what width.

It knows which tensors such a model has, and not how their weights are stored.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from modelrouter.errors import RequestError
from modelrouter.synthetic.vocabulary import SMALL_VOCABULARY_SIZE

MOST: Mapping[str, int] = {
    "layers": 512,  # llama.cpp's LLAMA_MAX_LAYERS
    "embedding_length": 2**20,
    "feed_forward_length": 2**24,
    "context_length": 2**24,
}
MOST_TOKENS = 2**20
MOST_EXPERTS = 512  # llama.cpp's LLAMA_MAX_EXPERTS


@dataclass(frozen=True, slots=True)
class TensorShape:
    """A tensor by name and shape, the contiguous dimension first."""

    name: str
    shape: tuple[int, ...]
    is_quantized: bool = True
    is_norm: bool = False


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of a model; `vocab_size` None takes the small vocabulary.

    `expert_count` 0 makes a dense model. With `tied_embeddings` the output layer is the embeddings
    once more and not stored. A `sliding_window` is how many tokens back most layers look; every
    sixth looks at all, as in Gemma 3, whose architecture such a model has: llama's knows no window.
    `key_length` None shares the width out among the heads. Raises RequestError for sizes
    that no such model can have.
    """

    layers: int
    embedding_length: int
    feed_forward_length: int
    heads: int
    kv_heads: int
    context_length: int
    vocab_size: int | None = None
    expert_count: int = 0
    expert_used_count: int = 0
    tied_embeddings: bool = False
    sliding_window: int | None = None
    key_length: int | None = None

    def __post_init__(self) -> None:
        """Refuse what llama.cpp would refuse at load, with the numbers."""
        for name, most in MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise RequestError(
                    f"{name} must be from 1 to {most:,}, got {getattr(self, name):,}"
                )
        self._refuse_vocabulary()
        self._refuse_heads()
        self._refuse_experts()
        self._refuse_window()

    def _refuse_vocabulary(self) -> None:
        if not SMALL_VOCABULARY_SIZE <= self.n_tokens <= MOST_TOKENS:
            raise RequestError(
                f"vocab_size must be from {SMALL_VOCABULARY_SIZE:,} to {MOST_TOKENS:,}, "
                f"got {self.n_tokens:,}",
                hint="leave vocab_size out for the small vocabulary",
            )

    def _refuse_heads(self) -> None:
        if not 1 <= self.kv_heads <= self.heads or self.heads % self.kv_heads:
            raise RequestError(
                f"heads must be a multiple of kv_heads, got {self.heads:,} and {self.kv_heads:,}"
            )
        if self.key_length is not None:
            self._refuse_odd_heads(self.key_length)
        elif self.embedding_length % (2 * self.heads):
            raise RequestError(
                f"embedding_length must give each of {self.heads:,} heads an even share, "
                f"got {self.embedding_length:,}"
            )

    def _refuse_odd_heads(self, key_length: int) -> None:
        if not 2 <= key_length <= self.embedding_length or key_length % 2:
            raise RequestError(
                f"key_length must be even and from 2 to {self.embedding_length:,}, "
                f"got {key_length:,}"
            )

    def _refuse_experts(self) -> None:
        used, count = self.expert_used_count, self.expert_count
        if (used, count) != (0, 0) and not 1 <= used <= count <= MOST_EXPERTS:
            raise RequestError(
                f"{used:,} of {count:,} experts cannot be used; "
                f"1 or more of at most {MOST_EXPERTS:,} can, or 0 of 0"
            )

    def _refuse_window(self) -> None:
        window = self.sliding_window
        if window is None:
            return
        if not 1 <= window <= self.context_length:
            raise RequestError(
                f"sliding_window must be from 1 to the context's {self.context_length:,} tokens, "
                f"got {window:,}"
            )
        if self.expert_count:
            raise RequestError("a model has a sliding window or experts here, not both")

    @property
    def architecture(self) -> str:
        """The architecture that llama.cpp runs such a model as."""
        return "llama" if self.sliding_window is None else "gemma3"

    @property
    def n_tokens(self) -> int:
        """How many tokens the vocabulary has."""
        return SMALL_VOCABULARY_SIZE if self.vocab_size is None else self.vocab_size

    @property
    def head_length(self) -> int:
        """The width of one attention head."""
        return self.key_length or self.embedding_length // self.heads

    @property
    def parameters(self) -> int:
        """How many weights the model has."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors())

    def tensors(self) -> Iterator[TensorShape]:
        """Yield the model's tensors in the order of a pass: embeddings, layers, output."""
        width, tokens = self.embedding_length, self.n_tokens
        yield TensorShape("token_embd.weight", (width, tokens))
        for layer in range(self.layers):
            yield from self._attention(f"blk.{layer}.")
            yield from self._feed_forward(f"blk.{layer}.")
        yield _norm("output_norm.weight", width)
        if not self.tied_embeddings:
            yield TensorShape("output.weight", (width, tokens))

    def _attention(self, layer: str) -> Iterator[TensorShape]:
        width = self.embedding_length
        q_width, kv_width = self.head_length * self.heads, self.head_length * self.kv_heads
        yield _norm(layer + "attn_norm.weight", width)
        yield TensorShape(layer + "attn_q.weight", (width, q_width))
        yield TensorShape(layer + "attn_k.weight", (width, kv_width))
        yield TensorShape(layer + "attn_v.weight", (width, kv_width))
        yield TensorShape(layer + "attn_output.weight", (q_width, width))
        if self.sliding_window is not None:
            yield _norm(layer + "attn_q_norm.weight", self.head_length)
            yield _norm(layer + "attn_k_norm.weight", self.head_length)
            yield _norm(layer + "post_attention_norm.weight", width)

    def _feed_forward(self, layer: str) -> Iterator[TensorShape]:
        width, inner, experts = self.embedding_length, self.feed_forward_length, self.expert_count
        yield _norm(layer + "ffn_norm.weight", width)
        suffix, stacked = ("_exps.weight", (experts,)) if experts else (".weight", ())
        if experts:
            yield TensorShape(layer + "ffn_gate_inp.weight", (width, experts), is_quantized=False)
        yield TensorShape(layer + "ffn_gate" + suffix, (width, inner, *stacked))
        yield TensorShape(layer + "ffn_up" + suffix, (width, inner, *stacked))
        yield TensorShape(layer + "ffn_down" + suffix, (inner, width, *stacked))
        if self.sliding_window is not None:
            yield _norm(layer + "post_ffw_norm.weight", width)


def _norm(name: str, width: int) -> TensorShape:
    return TensorShape(name, (width,), is_quantized=False, is_norm=True)


TINY = Geometry(2, 64, 128, heads=2, kv_heads=1, context_length=4096)
"""About 0.5 MB in F32 and 0.15 MB in Q8_0; loads in milliseconds. Too narrow for the K types."""

SMALL = Geometry(2, 256, 512, heads=8, kv_heads=2, context_length=4096)
"""The narrowest that every quantization can store."""
