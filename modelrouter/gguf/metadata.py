"""A header's keys by name and type: asked for an integer, it gives an integer or says why not.

It knows no particular key. Absent keys are None; a key of the wrong type is the file's fault.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelrouter.errors import BadModelFile
from modelrouter.gguf.reader import Array, Value, ValueType, bad_file


@dataclass(frozen=True, slots=True)
class Metadata:
    """The keys of the file at `path`."""

    path: Path
    values: Mapping[str, Value]

    def text(self, key: str) -> str | None:
        """Return the string at `key`."""
        value = self.values.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(key, value, "a string")

    def flag(self, key: str) -> bool | None:
        """Return the truth value at `key`."""
        value = self.values.get(key)
        if value is None or isinstance(value, bool):
            return value
        raise self._wrong(key, value, "true or false")

    def count(self, key: str) -> int | None:
        """Return the integer at `key`, which is 0 or more."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        raise self._wrong(key, value, "a count")

    def counts_by_layer(self, key: str, layers: int) -> tuple[int, ...] | None:
        """Return one count for each layer; a single count in the file stands for all of them."""
        value = self.values.get(key)
        if not isinstance(value, Array):
            single = self.count(key)
            return None if single is None else (single,) * layers
        if value.count != layers:
            raise bad_file(self.path, f"{key} holds {value.count:,} values for {layers:,} layers")
        counts = tuple(n for n in self.numbers(key) if isinstance(n, int) and n >= 0)
        if len(counts) != layers:
            raise self._wrong(key, value, "counts")
        return counts

    def numbers(self, key: str) -> tuple[int | float, ...]:
        """Return the array of numbers at `key`; an absent one is empty."""
        value = self.values.get(key)
        if value is None:
            return ()
        if isinstance(value, Array) and value.item_type != ValueType.STRING:
            return value.numbers()
        raise self._wrong(key, value, "an array of numbers")

    def strings(self, key: str) -> list[bytes]:
        """Return the array of strings at `key`, as raw UTF-8; an absent one is empty."""
        value = self.values.get(key)
        if value is None:
            return []
        if isinstance(value, Array) and value.item_type == ValueType.STRING:
            return value.strings()
        raise self._wrong(key, value, "an array of strings")

    def missing(self, key: str) -> BadModelFile:
        """Return the error for a key without which the file is no model."""
        return bad_file(self.path, f"says no {key:.80}, which every model must")

    def _wrong(self, key: str, value: Value, expected: str) -> BadModelFile:
        shown = f"an array of {value.count:,} items" if isinstance(value, Array) else repr(value)
        return bad_file(self.path, f"{key} is {shown[:80]}, expected {expected}")
