"""Random weights in ggml's storage types: blocks that any llama.cpp accepts as sound.

It makes bytes, and does not know what model they belong to.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from modelrouter.errors import RequestError, did_you_mean
from modelrouter.gguf.tensors import TENSOR_TYPES, TensorType

POOL_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Quantization:
    """A storage type and which bytes of its blocks may not be random.

    `columns` maps a byte's place in the block to the values it may take, a power of two of them.
    They are the exponents of floating-point scales: chosen so that the weights' mean is about 0 and
    their spread about 0.02, as in trained models, and so that none is infinite or not a number.
    """

    name: str
    tensor_type_code: int
    file_type_code: int
    columns: Mapping[int, bytes]

    @property
    def tensor_type(self) -> TensorType:
        """The ggml type of the tensors."""
        return TENSOR_TYPES[self.tensor_type_code]

    def blocks(self, n_blocks: int, source: random.Random) -> bytes:
        """Return `n_blocks` blocks of random weights."""
        step = self.tensor_type.block_bytes
        packed = bytearray(source.randbytes(n_blocks * step))
        for place, allowed in self.columns.items():
            table = allowed * (256 // len(allowed))
            packed[place::step] = packed[place::step].translate(table)
        return bytes(packed)


def _half(place: int, bits: int) -> dict[int, bytes]:
    """Fix the two bytes of a 16-bit float."""
    return {place: bytes([bits & 0xFF]), place + 1: bytes([bits >> 8])}


# The layouts are those of `ggml-common.h`; the numbers are ggml's type and llama.cpp's file type.
# A weight is, with d and m the block's 16-bit floats, q the weight's own bits, s and t sub-scales:
QUANTIZATIONS: Mapping[str, Quantization] = {
    quantization.name: quantization
    for quantization in (
        # sign and exponent 2**-7 or 2**-6; the mantissa is random
        Quantization("F32", 0, 0, {3: b"\x3c\xbc"}),
        Quantization("F16", 1, 1, {1: bytes([*range(0x20, 0x28), *range(0xA0, 0xA8)])}),
        # d*(q-8): d = 2**-8
        Quantization("Q4_0", 2, 2, _half(0, 0x1C00)),
        # d*q + m: d = 2**-8, m = -7.5*d
        Quantization("Q4_1", 3, 3, _half(0, 0x1C00) | _half(2, 0xA780)),
        # d*q: d = 2**-12
        Quantization("Q8_0", 8, 7, _half(0, 0x0C00)),
        # d*s*q - m*t: d = 2**-14, m = 7.5*d
        Quantization("Q4_K", 12, 14, _half(0, 0x0400) | _half(2, 0x0F80)),
        # as Q4_K with five bits: m = 15.5*d
        Quantization("Q5_K", 13, 16, _half(0, 0x0400) | _half(2, 0x13C0)),
        # d*s*(q-32): d = 2**-16, which a 16-bit float holds as a subnormal
        Quantization("Q6_K", 14, 18, _half(208, 0x0100)),
    )
}


def quantization_named(name: str) -> Quantization:
    """Return the quantization of this name; RequestError names the known ones."""
    if found := QUANTIZATIONS.get(name):
        return found
    known = ", ".join(QUANTIZATIONS)
    raise RequestError(
        f"there is no quantization {name!r} to write; there are {known}",
        hint=did_you_mean(name.upper(), list(QUANTIZATIONS)),
    )


class WeightPool:
    """Random blocks that are made once and dealt out to tensor after tensor from other places.

    Drawing 36 GB of random numbers would take minutes; the disk takes them faster than that. The
    number of blocks is odd, so that rows, most of them a power of two of blocks long, do not repeat
    within a tensor, and every place in the pool is dealt from once before any is used again.
    """

    def __init__(self, quantization: Quantization, largest_bytes: int, seed: int) -> None:
        """Make blocks for tensors of up to `largest_bytes`; `seed` decides all of them."""
        source = random.Random(seed)  # noqa: S311 - weights need no secrecy
        self._block_bytes = quantization.tensor_type.block_bytes
        self._n_blocks = min(POOL_BYTES, largest_bytes) // self._block_bytes | 1
        self._blocks = memoryview(quantization.blocks(self._n_blocks, source))
        self._place = 0

    def tensor(self, n_bytes: int) -> Iterator[memoryview]:
        """Yield the bytes of the next tensor in pieces."""
        start = self._place * self._block_bytes
        while n_bytes:
            piece = self._blocks[start : start + n_bytes]
            yield piece
            n_bytes -= len(piece)
            start = 0
        # Odd and power of two have no common divisor, hence the tour of all places.
        step = 1 << max(1, self._n_blocks.bit_length() - 2)
        self._place = (self._place + step) % self._n_blocks
