"""Streams a synthetic model to disk: all of it under its final name, or nothing at all.

It knows files and free space; what the bytes mean was decided before.
"""

import errno
import os
import secrets
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modelrouter.errors import CapacityError, RequestError
from modelrouter.synthetic.geometry import Geometry
from modelrouter.synthetic.header import Plan, aligned, plan_file
from modelrouter.synthetic.quantization import (
    QUANTIZATIONS,
    Quantization,
    WeightPool,
    quantization_named,
)

DEFAULT_NAME = "synthetic"


def planned_bytes(geometry: Geometry, quantization: str, *, name: str = DEFAULT_NAME) -> int:
    """Return the exact size of the file that `write` would write."""
    return plan_file(geometry, quantization_named(quantization), name).n_bytes


def write(
    path: Path,
    geometry: Geometry,
    quantization: str,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    name: str = DEFAULT_NAME,
) -> int:
    """Write a model with random weights to `path` and return its size in bytes.

    The same arguments give the same bytes. A file of that name is replaced once the new one is
    whole; until then the bytes gather beside it, and whatever goes wrong, they are removed.
    `progress` is told, every few megabytes, how many bytes of how many are written. Memory use is
    a few megabytes for any size.

    Raises RequestError for a quantization that does not fit the geometry or a place that cannot be
    written to, CapacityError where the disk is too small or fills up.
    """
    chosen = quantization_named(quantization)
    plan = plan_file(geometry, chosen, name)
    _refuse_folder(path)
    _refuse_small_disk(path, plan.n_bytes)
    with _all_or_nothing(path, plan.n_bytes) as output:
        for piece in _pieces(plan, chosen, seed):
            output.append(piece)
            if progress:
                progress(output.written_bytes, plan.n_bytes)
    return plan.n_bytes


def write_hollow(
    path: Path, geometry: Geometry, quantization: str, *, name: str = DEFAULT_NAME
) -> int:
    """Write the header of what `write` would write, and a hole in place of its weights.

    The file is as long and takes no disk space to speak of: enough to be asked about, not to run.
    Returns its length. Raises RequestError as `write` does, CapacityError where no file may be so
    long.
    """
    plan = plan_file(geometry, quantization_named(quantization), name)
    try:
        with path.open("wb") as file:
            file.write(plan.header)
            file.truncate(plan.n_bytes)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno == errno.EFBIG:
            raise CapacityError(
                f"{path}: no file of {plan.n_bytes:,} bytes can be written: {error.strerror}",
                hint="the disk's file system or `ulimit -f` bounds the size of a file",
            ) from error
        raise _unwritable(path, error) from error
    return plan.n_bytes


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise RequestError(f"cannot write {path}: it is a folder", hint="add a file name")


def _refuse_small_disk(path: Path, n_bytes: int) -> None:
    try:
        free_bytes = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise _unwritable(path, error) from error
    if n_bytes > free_bytes:
        raise CapacityError(
            f"{path} needs {n_bytes:,} bytes, but its disk has {free_bytes:,} free",
            hint="choose a smaller geometry or quantization, or another disk",
        )


def _unwritable(path: Path, error: OSError) -> RequestError:
    return RequestError(f"cannot write {path}: {error.strerror or error}")


def _pieces(plan: Plan, quantization: Quantization, seed: int) -> Iterator[bytes | memoryview]:
    weights = WeightPool(quantization, _largest(plan, is_quantized=True), seed)
    gates = WeightPool(QUANTIZATIONS["F32"], _largest(plan, is_quantized=False), seed)
    yield plan.header
    for tensor in plan.tensors:
        if tensor.shape.is_norm:
            yield struct.pack("<f", 1.0) * tensor.shape.shape[0]
        else:
            pool = weights if tensor.shape.is_quantized else gates
            yield from pool.tensor(tensor.n_bytes)
        yield bytes(aligned(tensor.n_bytes) - tensor.n_bytes)


def _largest(plan: Plan, *, is_quantized: bool) -> int:
    return max(
        tensor.n_bytes for tensor in plan.tensors if tensor.shape.is_quantized == is_quantized
    )


class _Output:
    """A file that is only appended to, and counts what it holds."""

    def __init__(self, target: Path, descriptor: int, planned_bytes: int) -> None:
        self._target = target
        self._descriptor = descriptor
        self._planned_bytes = planned_bytes
        self.written_bytes = 0

    def append(self, piece: bytes | memoryview) -> None:
        """Write all of `piece`."""
        left = memoryview(piece)
        try:
            while left:
                n_bytes = os.write(self._descriptor, left)
                self.written_bytes += n_bytes
                left = left[n_bytes:]
        except OSError as error:
            raise CapacityError(
                f"{self._target}: {error.strerror}, after {self.so_far()}",
                hint="free some disk space or choose a smaller geometry or quantization",
            ) from error

    def so_far(self) -> str:
        """Say how far the file has come."""
        return f"{self.written_bytes:,} of {self._planned_bytes:,} bytes; they are removed"


@contextmanager
def _all_or_nothing(target: Path, n_bytes: int) -> Iterator[_Output]:
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        file = partial.open("xb", buffering=0)
    except OSError as error:
        raise _unwritable(target, error) from error
    output = _Output(target, file.fileno(), n_bytes)
    try:
        with file:
            yield output
        _rename(partial, target)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if not isinstance(error, CapacityError | RequestError):
            error.add_note(f"{target}: stopped after {output.so_far()}")
        raise


def _rename(partial: Path, target: Path) -> None:
    try:
        partial.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from error
