"""One GGUF file's header: its keys, its tensor table, and a digest that tells two files apart.

It knows what makes the file whole. What a model needs, and which other files a split model has,
is not said here.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import FileIO
from pathlib import Path

from modelrouter.errors import BadModelFile, did_you_mean
from modelrouter.gguf.metadata import Metadata
from modelrouter.gguf.reader import U32, U64, Reader, Value, bad_file
from modelrouter.gguf.tensors import TENSOR_TYPES, Tensor, packed_bytes

MAGIC = b"GGUF"
READABLE_VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 2**20
MAX_DIMENSIONS = 4
SAMPLED_BLOCKS = 16
SAMPLED_BLOCK_BYTES = 4096

_LEAST_KEY_BYTES = 8 + 4 + 1  # an empty name, a type, a value of one byte
_LEAST_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8  # an empty name, one dimension, a type, an offset

_OTHER_FORMATS: Mapping[bytes, str] = {
    b"vers": "it looks like a git-lfs pointer: `git lfs pull` fetches the file itself",
    b"<!DO": "it looks like a web page: the download link led somewhere else",
    b"PK\x03\x04": "it looks like a PyTorch checkpoint: convert it to GGUF with llama.cpp",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What one file says of itself; `digest` is 32 bytes that change whenever the file does."""

    path: Path
    n_bytes: int
    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    digest: bytes


def read_header(path: Path, file_index: int = 0) -> Header:
    """Read the header of the GGUF file at `path`; its tensors get `file_index`.

    Raises BadModelFile for anything but a whole little-endian GGUF file of version 2 or 3.
    """
    try:
        _refuse_irregular(path)
        with path.open("rb", buffering=0) as file:
            return _header(path, file, file_index)
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise bad_file(path, f"cannot be read: {error.strerror or error}") from error


def _missing(path: Path) -> BadModelFile:
    folder = path.parent
    if not folder.is_dir():
        return bad_file(path, "there is no such file", hint=f"there is no folder {folder} either")
    names = [other.name for other in folder.glob("*.gguf")]
    return bad_file(path, "there is no such file", hint=did_you_mean(path.name, names))


def _refuse_irregular(path: Path) -> None:
    try:
        status = path.stat()
    except ValueError as error:
        raise bad_file(path, f"cannot be the name of a file: {error}") from error
    if stat.S_ISDIR(status.st_mode):
        raise bad_file(path, "is a folder, not a model file", hint="name the .gguf file in it")
    if not stat.S_ISREG(status.st_mode):
        raise bad_file(path, "is not a regular file, so llama.cpp cannot map it")
    if status.st_size == 0:
        raise bad_file(path, "is empty (0 bytes)", hint="download the file again")


def _header(path: Path, file: FileIO, file_index: int) -> Header:
    status = os.fstat(file.fileno())
    reader = Reader(path, file, status.st_size)
    version = _version(reader)
    n_tensors = reader.count("tensors", _LEAST_TENSOR_BYTES)
    n_keys = reader.count("keys", _LEAST_KEY_BYTES)
    metadata = _metadata(reader, n_keys)
    entries = [_tensor_entry(reader, index) for index in range(n_tensors)]
    alignment = _alignment(path, metadata)
    data_start = -(-reader.at // alignment) * alignment
    tensors = tuple(_tensor(path, entry, data_start, alignment, file_index) for entry in entries)
    _refuse_same_names(path, tensors)
    _refuse_missing_data(path, tensors, status.st_size)
    return Header(
        path=path,
        n_bytes=status.st_size,
        version=version,
        metadata=metadata,
        tensors=tensors,
        digest=_digest(reader, file, status),
    )


def _version(reader: Reader) -> int:
    path, start = reader.path, reader.skip(len(MAGIC), "the magic number")
    magic = bytes(reader.content[start : reader.at])
    if magic != MAGIC:
        shown = f"{magic.hex(' ')} ({magic.decode('ascii', 'backslashreplace')!r})"
        hint = _OTHER_FORMATS.get(magic, "llama.cpp reads GGUF files only")
        raise bad_file(path, f"is not a GGUF file: its first bytes are {shown}", hint=hint)
    version = reader.number(U32, "the version")
    if version in READABLE_VERSIONS:
        return version
    if version & 0xFFFF == 0 and version != 0:
        raise bad_file(path, "is a big-endian GGUF file", hint="download the little-endian one")
    raise bad_file(
        path,
        f"has GGUF version {version:,}; versions 2 and 3 can be read",
        hint="convert the model again with a current llama.cpp",
    )


def _metadata(reader: Reader, n_keys: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for index in range(n_keys):
        key = reader.text(f"the name of key {index:,}")
        if key in metadata:
            raise bad_file(reader.path, f"the key {key!r:.80} is there twice")
        metadata[key] = reader.value(reader.number(U32, f"the type of {key:.60}"), key)
    return metadata


def _alignment(path: Path, metadata: Mapping[str, Value]) -> int:
    alignment = Metadata(path, metadata).count("general.alignment")
    if alignment is None:
        return DEFAULT_ALIGNMENT
    if 0 < alignment <= MAX_ALIGNMENT and alignment.bit_count() == 1:
        return alignment
    raise bad_file(path, f"general.alignment is {alignment:,}, which is no sane power of two")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the tensor table as it stands there; `offset` counts from the data's start."""

    name: str
    shape: tuple[int, ...]
    type_code: int
    offset: int


def _tensor_entry(reader: Reader, index: int) -> _Entry:
    name = reader.text(f"the name of tensor {index:,}")
    n_dimensions = reader.number(U32, f"the dimension count of {name:.60}")
    if not 1 <= n_dimensions <= MAX_DIMENSIONS:
        raise bad_file(
            reader.path, f"tensor {name!r:.80} has {n_dimensions:,} dimensions; 1 to 4 can be read"
        )
    shape = tuple(reader.number(U64, f"the shape of {name:.60}") for _ in range(n_dimensions))
    type_code = reader.number(U32, f"the type of {name:.60}")
    return _Entry(name, shape, type_code, reader.number(U64, f"the offset of {name:.60}"))


def _tensor(path: Path, entry: _Entry, data_start: int, alignment: int, file_index: int) -> Tensor:
    tensor_type = TENSOR_TYPES.get(entry.type_code)
    if tensor_type is None:
        raise bad_file(
            path,
            f"tensor {entry.name!r:.80} has the unknown type {entry.type_code:,}",
            hint="the file was made for a newer or a much older llama.cpp",
        )
    if min(entry.shape) < 1 or entry.shape[0] % tensor_type.block_size:
        raise bad_file(
            path,
            f"tensor {entry.name!r:.80} has the shape {entry.shape}, which blocks of "
            f"{tensor_type.block_size} {tensor_type.name} weights cannot fill",
        )
    if entry.offset % alignment:
        raise bad_file(
            path,
            f"tensor {entry.name!r:.80} starts at {entry.offset:,}, "
            f"off the alignment of {alignment:,}",
        )
    return Tensor(
        name=entry.name,
        shape=entry.shape,
        type_name=tensor_type.name,
        file_index=file_index,
        offset=data_start + entry.offset,
        n_bytes=packed_bytes(entry.shape, tensor_type),
    )


def _refuse_same_names(path: Path, tensors: Sequence[Tensor]) -> None:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise bad_file(path, f"tensor {tensor.name!r:.80} is there twice")
        seen.add(tensor.name)


def _refuse_missing_data(path: Path, tensors: Sequence[Tensor], n_bytes: int) -> None:
    needed_bytes = max((tensor.offset + tensor.n_bytes for tensor in tensors), default=0)
    if needed_bytes > n_bytes:
        raise bad_file(
            path,
            f"holds {n_bytes:,} bytes; its tensor table needs {needed_bytes:,}: "
            "the download was cut short?",
            hint="download the file again",
        )


def _digest(reader: Reader, file: FileIO, status: os.stat_result) -> bytes:
    """Return a hash that changes whenever the file does, without reading gigabytes.

    The header tells models apart, size and mtime tell of every ordinary edit, and the samples of
    tensor data catch a file that another replaced with its mtime kept (`cp -p`, rsync, tar). Only
    an edit between the samples that also restores mtime goes unseen: nobody does that by accident.
    """
    start, end = reader.at, status.st_size
    digest = sha256(memoryview(reader.content)[:start])
    digest.update(b"%d %d" % (end, status.st_mtime_ns))
    step = max(0, end - start - SAMPLED_BLOCK_BYTES) / (SAMPLED_BLOCKS - 1)
    for block in range(SAMPLED_BLOCKS):
        digest.update(os.pread(file.fileno(), SAMPLED_BLOCK_BYTES, start + round(block * step)))
    return digest.digest()
