"""GGUF files packed by hand for tests, and the real llama.cpp to compare with.

It shares no code with the reader under test.
"""

import ctypes
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import llama_cpp

from modelrouter.synthetic import vocabulary

U16, U32, I32, FLOAT32, STRING, ARRAY = 2, 4, 5, 6, 8, 9
GEOMETRY = {
    "block_count": 2,
    "context_length": 512,
    "embedding_length": 64,
    "feed_forward_length": 96,
}
HEADS = {"llama.attention.head_count": 4, "llama.attention.layer_norm_rms_epsilon": 1e-5}


def text(value: str | bytes) -> bytes:
    """Pack a GGUF string."""
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def strings(*texts: str | bytes) -> bytes:
    """Pack the value of an array of strings."""
    return struct.pack("<IQ", STRING, len(texts)) + b"".join(map(text, texts))


def numbers(*values: int) -> bytes:
    """Pack the value of an array of 32-bit counts."""
    return struct.pack(f"<IQ{len(values)}I", U32, len(values), *values)


def key(name: str, value_type: int, packed: bytes) -> bytes:
    """Pack a key and its packed value."""
    return text(name) + struct.pack("<I", value_type) + packed


def entry(name: str, shape: Sequence[int], type_code: int = 0, offset: int = 0) -> bytes:
    """Pack a line of the tensor table."""
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<IQ", type_code, offset)


def packed_geometry(**others: int) -> list[bytes]:
    """Pack the keys that every model has; `others` replace values under "llama.", -1 leaves out."""
    packed = [key("general.architecture", STRING, text("llama"))]
    values = {**GEOMETRY, **others}
    return packed + [
        key(f"llama.{name}", U32, struct.pack("<I", value))
        for name, value in values.items()
        if value >= 0
    ]


def packed_file(
    keys: Sequence[bytes], entries: Sequence[bytes] = (), data: bytes = b"", *, version: int = 3
) -> bytes:
    """Pack a whole GGUF file, its data aligned to 32 bytes."""
    counts = struct.pack("<IQQ", version, len(entries), len(keys))
    header = b"GGUF" + counts + b"".join(keys) + b"".join(entries)
    return header + bytes(-len(header) % 32) + data


def vocabulary_file(path: Path, tokens: Sequence[str], keys: Mapping[str, int | str]) -> Path:
    """Write a file that has a tokenizer and no weights: byte tokens, then `tokens`."""
    writer = gguf.GGUFWriter(path, "llama")
    adding = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
    }
    geometry = {f"llama.{name}": value for name, value in GEOMETRY.items()}
    for name, value in {**geometry, **HEADS, **keys}.items():
        adding[type(value)](name, value)
    texts = [*vocabulary.byte_letters(), *tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(texts)
    writer.add_token_types([gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL] * len(tokens))
    writer.add_token_merges(["a b"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@contextmanager
def llama_model(
    path: Path, *, vocab_only: bool = False, check_tensors: bool = False
) -> Iterator[Any]:
    """Load the file with the real llama.cpp."""
    silence = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
    llama_cpp.llama_log_set(silence, ctypes.c_void_p(0))
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = vocab_only
    parameters.check_tensors = check_tensors
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    assert model, f"llama.cpp cannot load {path}"
    try:
        yield model
    finally:
        llama_cpp.llama_model_free(model)
