"""The values a GGUF header is made of, taken one after the other from its bytes.

It knows how numbers, strings and arrays are packed, and not what any of them means. The format:
docs/gguf.md in the ggml repository.
"""

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TypeAlias

from modelrouter.errors import BadModelFile

MAX_HEADER_BYTES = 128 * 2**20
"""No count or length in a header can make us allocate or loop beyond this. A vocabulary of 262,144
tokens takes about 15 MB."""

_LOADED_BYTES = 2**20


class ValueType(enum.IntEnum):
    """The type codes of metadata values."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


SCALARS: Mapping[int, struct.Struct] = {
    ValueType.UINT8: struct.Struct("<B"),
    ValueType.INT8: struct.Struct("<b"),
    ValueType.UINT16: struct.Struct("<H"),
    ValueType.INT16: struct.Struct("<h"),
    ValueType.UINT32: struct.Struct("<I"),
    ValueType.INT32: struct.Struct("<i"),
    ValueType.FLOAT32: struct.Struct("<f"),
    ValueType.BOOL: struct.Struct("<?"),
    ValueType.UINT64: struct.Struct("<Q"),
    ValueType.INT64: struct.Struct("<q"),
    ValueType.FLOAT64: struct.Struct("<d"),
}
U32 = SCALARS[ValueType.UINT32]
U64 = SCALARS[ValueType.UINT64]


def bad_file(path: Path, what: str, *, hint: str | None = None) -> BadModelFile:
    """Return the error that says what is wrong with the file at `path`."""
    return BadModelFile(f"{path}: {what}", hint=hint)


@dataclass(frozen=True, slots=True)
class Array:
    """An array of the metadata, packed as in the file, since most are never looked into."""

    item_type: int
    count: int
    packed: bytes

    def strings(self) -> list[bytes]:
        """Unpack an array of strings. They are meant to be UTF-8, which nobody has checked."""
        packed, length_at, end = self.packed, U64.unpack_from, 0
        texts = []
        for _ in range(self.count):
            start = end + U64.size
            end = start + length_at(packed, end)[0]
            texts.append(packed[start:end])
        return texts

    def numbers(self) -> tuple[int | float, ...]:
        """Unpack an array of numbers."""
        return struct.unpack(f"<{self.count}{SCALARS[self.item_type].format[1:]}", self.packed)


Value: TypeAlias = int | float | bool | str | Array


class Reader:
    """A place in a header that moves on as values are taken.

    The file is read, not mapped: were it cut short meanwhile, a mapping would end the process.
    """

    def __init__(self, path: Path, file: FileIO, n_bytes: int) -> None:
        """Start at byte 0 of `file`, which is `n_bytes` long and lies at `path`."""
        self.path = path
        self.content = bytearray()
        self.at = 0
        self._file = file
        self._end = min(n_bytes, MAX_HEADER_BYTES)

    def load(self, until: int, reading: str) -> None:
        """Have all bytes before `until` in `content`; `reading` says in errors what they are."""
        while len(self.content) < until:
            piece = b"" if until > self._end else self._file.read(_LOADED_BYTES)
            if not piece:
                raise self.cut_short(until, reading)
            self.content += piece

    def cut_short(self, until: int, reading: str) -> BadModelFile:
        """Return the error for a value that reaches beyond the header's end."""
        last = "no header is longer than" if self._end == MAX_HEADER_BYTES else "the file ends at"
        return bad_file(
            self.path,
            f"its header is damaged or cut short: {reading} at byte {self.at:,} would end at byte "
            f"{until:,}, but {last} {self._end:,}",
            hint="download the file again",
        )

    def skip(self, n_bytes: int, reading: str) -> int:
        """Step over `n_bytes` and return where they start."""
        start = self.at
        self.load(start + n_bytes, reading)
        self.at = start + n_bytes
        return start

    def number(self, packing: struct.Struct, reading: str) -> int:
        """Take one number."""
        value: int = packing.unpack_from(self.content, self.skip(packing.size, reading))[0]
        return value

    def count(self, things: str, least_bytes: int) -> int:
        """Take a 64-bit count of things that are each at least `least_bytes` long."""
        value = self.number(U64, f"the count of {things}")
        if (until := self.at + value * least_bytes) > self._end:
            raise self.cut_short(until, f"a table of {value:,} {things}")
        return value

    def text(self, reading: str) -> str:
        """Take a string: its length in bytes, then UTF-8."""
        n_bytes = self.number(U64, f"the length of {reading}")
        start = self.skip(n_bytes, reading)
        raw = self.content[start : self.at]
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise bad_file(
                self.path,
                f"{reading} at byte {start:,} is not UTF-8: {error.reason} at its byte "
                f"{error.start:,}, 0x{raw[error.start]:02x}",
            ) from error

    def value(self, type_code: int, key: str) -> Value:
        """Take a metadata value of the given type."""
        if type_code == ValueType.STRING:
            return self.text(f"the value of {key:.60}")
        if type_code == ValueType.ARRAY:
            return self.array(key)
        return self.number(self.scalar(type_code, key), f"the value of {key:.60}")

    def scalar(self, type_code: int, key: str) -> struct.Struct:
        """Return the packing of a number's type code."""
        if packing := SCALARS.get(type_code):
            return packing
        raise bad_file(
            self.path, f"{key:.60} has the unknown value type {type_code} (0 to 12 exist)"
        )

    def array(self, key: str) -> Array:
        """Take an array without unpacking it."""
        item_type = self.number(U32, f"the item type of {key:.60}")
        if item_type == ValueType.ARRAY:
            raise bad_file(
                self.path, f"{key:.60} is an array of arrays, which llama.cpp cannot read"
            )
        if item_type == ValueType.STRING:
            count = self.count(f"items in {key:.60}", U64.size)
            start = self.at
            self.skip_strings(count, f"the strings of {key:.60}")
        else:
            item_bytes = self.scalar(item_type, key).size
            count = self.count(f"items in {key:.60}", item_bytes)
            start = self.skip(count * item_bytes, f"the numbers of {key:.60}")
        return Array(item_type, count, bytes(self.content[start : self.at]))

    def skip_strings(self, count: int, reading: str) -> None:
        """Step over `count` strings. Half of the time of reading a header is spent in this loop."""
        content, length_at, at = self.content, U64.unpack_from, self.at
        last = len(content) - U64.size
        for _ in range(count):
            if at > last:
                self.load(at + U64.size, reading)
                last = len(content) - U64.size
            at += U64.size + length_at(content, at)[0]
        self.load(at, reading)
        self.at = at
