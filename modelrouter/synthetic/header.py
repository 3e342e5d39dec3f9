"""The header of a synthetic model file: its keys and its tensor table, as GGUF version 3.

It packs bytes and writes none of them. The format: docs/gguf.md in the ggml repository.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from modelrouter.errors import RequestError
from modelrouter.gguf.header import DEFAULT_ALIGNMENT, MAGIC
from modelrouter.gguf.reader import SCALARS, U32, U64, ValueType
from modelrouter.gguf.tensors import TENSOR_TYPES, packed_bytes
from modelrouter.synthetic import vocabulary
from modelrouter.synthetic.geometry import Geometry, TensorShape
from modelrouter.synthetic.quantization import Quantization

VERSION = 3
F32 = 0
NORM_EPSILON = 1e-5
ROPE_BASE = 10_000.0


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor with its place: `n_bytes` of data at `offset` from the data's start."""

    shape: TensorShape
    type_code: int
    offset: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole file before any of it is written: the header padded to the alignment, the tensors."""

    header: bytes
    tensors: tuple[PlannedTensor, ...]

    @property
    def n_bytes(self) -> int:
        """The size of the file."""
        last = self.tensors[-1]
        return len(self.header) + aligned(last.offset + last.n_bytes)


def aligned(n_bytes: int) -> int:
    """Return `n_bytes` rounded up to the alignment."""
    return -(-n_bytes // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT


def plan_file(geometry: Geometry, quantization: Quantization, name: str) -> Plan:
    """Lay out a whole file. RequestError where rows are not whole blocks of the quantization."""
    tensors = _tensors(geometry, quantization)
    keys = [*_model_keys(geometry, quantization, name), *_tokenizer_keys(geometry)]
    header = b"".join(
        (
            MAGIC,
            U32.pack(VERSION),
            U64.pack(len(tensors)),
            U64.pack(len(keys)),
            *keys,
            *(_table_entry(tensor) for tensor in tensors),
        )
    )
    return Plan(header.ljust(aligned(len(header)), b"\0"), tensors)


def _tensors(geometry: Geometry, quantization: Quantization) -> tuple[PlannedTensor, ...]:
    planned: list[PlannedTensor] = []
    offset = 0
    for tensor in geometry.tensors():
        type_code = quantization.tensor_type_code if tensor.is_quantized else F32
        tensor_type = TENSOR_TYPES[type_code]
        if tensor.shape[0] % tensor_type.block_size:
            raise RequestError(
                f"{quantization.name} packs {tensor_type.block_size} weights of a row together, "
                f"but the rows of {tensor.name} are {tensor.shape[0]:,} long",
                hint=f"choose lengths that are multiples of {tensor_type.block_size}, or a "
                "quantization of smaller blocks, such as Q4_0 or Q8_0",
            )
        n_bytes = packed_bytes(tensor.shape, tensor_type)
        planned.append(PlannedTensor(tensor, type_code, offset, n_bytes))
        offset = aligned(offset + n_bytes)
    return tuple(planned)


def _table_entry(tensor: PlannedTensor) -> bytes:
    shape = tensor.shape.shape
    return b"".join(
        (
            _text(tensor.shape.name),
            U32.pack(len(shape)),
            *(U64.pack(length) for length in shape),
            U32.pack(tensor.type_code),
            U64.pack(tensor.offset),
        )
    )


def _model_keys(geometry: Geometry, quantization: Quantization, name: str) -> list[bytes]:
    keys = [
        _string("general.architecture", geometry.architecture),
        _string("general.type", "model"),
        _string("general.name", name),
        _count("general.file_type", quantization.file_type_code),
        _count("general.quantization_version", 2),
    ]
    counts = {
        "block_count": geometry.layers,
        "context_length": geometry.context_length,
        "embedding_length": geometry.embedding_length,
        "feed_forward_length": geometry.feed_forward_length,
        "attention.head_count": geometry.heads,
        "attention.head_count_kv": geometry.kv_heads,
        "attention.key_length": geometry.key_length or 0,
        "attention.value_length": geometry.key_length or 0,
        "rope.dimension_count": geometry.head_length,
        "vocab_size": geometry.n_tokens,
        "expert_count": geometry.expert_count,
        "expert_used_count": geometry.expert_used_count,
        "attention.sliding_window": geometry.sliding_window or 0,
    }
    numbers = {
        "attention.layer_norm_rms_epsilon": NORM_EPSILON,
        "rope.freq_base": ROPE_BASE,
    }
    architecture = geometry.architecture
    keys += [_count(f"{architecture}.{key}", count) for key, count in counts.items() if count]
    keys += [_float(f"{architecture}.{key}", number) for key, number in numbers.items()]
    return keys


def _tokenizer_keys(geometry: Geometry) -> list[bytes]:
    tokens = vocabulary.tokens(geometry.n_tokens)
    pairs = [" ".join(pair) for pair in vocabulary.merges()]
    return [
        _string("tokenizer.ggml.model", "gpt2"),
        _string("tokenizer.ggml.pre", "gpt-2"),
        _strings("tokenizer.ggml.tokens", [text for text, _ in tokens]),
        _counts("tokenizer.ggml.token_type", [token_type for _, token_type in tokens]),
        _strings("tokenizer.ggml.merges", pairs),
        _count("tokenizer.ggml.bos_token_id", vocabulary.token_id(vocabulary.END_OF_TEXT)),
        _count("tokenizer.ggml.eos_token_id", vocabulary.token_id(vocabulary.TURN_END)),
        _count("tokenizer.ggml.padding_token_id", vocabulary.token_id(vocabulary.END_OF_TEXT)),
        _flag("tokenizer.ggml.add_bos_token", value=False),
        _string("tokenizer.chat_template", vocabulary.CHAT_TEMPLATE),
    ]


def _key(name: str, value_type: ValueType, packed: bytes) -> bytes:
    return _text(name) + U32.pack(value_type) + packed


def _text(text: str) -> bytes:
    raw = text.encode()
    return U64.pack(len(raw)) + raw


def _string(name: str, text: str) -> bytes:
    return _key(name, ValueType.STRING, _text(text))


def _count(name: str, count: int) -> bytes:
    return _key(name, ValueType.UINT32, U32.pack(count))


def _float(name: str, number: float) -> bytes:
    return _key(name, ValueType.FLOAT32, SCALARS[ValueType.FLOAT32].pack(number))


def _flag(name: str, *, value: bool) -> bytes:
    return _key(name, ValueType.BOOL, SCALARS[ValueType.BOOL].pack(value))


def _array(name: str, item_type: ValueType, packed: Sequence[bytes]) -> bytes:
    lead = U32.pack(item_type) + U64.pack(len(packed))
    return _key(name, ValueType.ARRAY, lead + b"".join(packed))


def _strings(name: str, texts: Sequence[str]) -> bytes:
    return _array(name, ValueType.STRING, [_text(text) for text in texts])


def _counts(name: str, counts: Sequence[int]) -> bytes:
    packing = SCALARS[ValueType.INT32]
    return _array(name, ValueType.INT32, [packing.pack(count) for count in counts])
