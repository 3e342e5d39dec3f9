"""How the keys and values of a context are stored: the two ggml types behind a `kv_type`.

It knows the types and their sizes, and nothing of who allocates them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from modelrouter.types import KvType

StoredType: TypeAlias = Literal["f16", "bf16", "q8_0", "q4_0"]

BYTES_PER_VALUE: Final[Mapping[StoredType, float]] = {
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q4_0": 18 / 32,
}
"""From ggml's block sizes."""

BLOCK_VALUES: Final = 32
"""A quantized row is made of whole blocks of so many values."""


@dataclass(frozen=True, slots=True)
class StoredTypes:
    """What keys and what values are stored as."""

    keys: StoredType
    values: StoredType


def stored_types(kv_type: KvType, key_length: int) -> StoredTypes:
    """Return the types for heads whose keys have `key_length` values.

    Where both were f16, llama.cpp would choose an attention kernel by how many rows a sequence has
    in a pass and by who else is in it, and each rounds in a way of its own: the answer to a long
    prompt would depend on company. Where they differ, or are quantized, there is one kernel
    (ADR 13). So "f16" has keys of 8 bits, or values in bf16 where a key is no whole blocks.
    """
    if kv_type != "f16":
        return StoredTypes(kv_type, kv_type)
    if key_length % BLOCK_VALUES:
        return StoredTypes("f16", "bf16")
    return StoredTypes("q8_0", "f16")
