"""What is true of a model: the facts that its GGUF header tells, over all of its split files.

It knows the keys that models are described by, and nothing of who asks or what is decided.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from modelrouter.gguf.header import Header, read_header
from modelrouter.gguf.metadata import Metadata
from modelrouter.gguf.reader import bad_file
from modelrouter.gguf.tensors import FILE_TYPES, Tensor
from modelrouter.gguf.vocabulary import FimTokens, read_vocabulary

MAX_LAYERS = 4096  # eight times what llama.cpp allows
GUESSED_FILE_TYPE = 1024  # llama.cpp adds this bit to a file type that it has guessed
SHOWN_NAMES = 5

_SPLIT_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


@dataclass(frozen=True, slots=True)
class GgufFile:
    """One file of a model and its size."""

    path: Path
    n_bytes: int


@dataclass(frozen=True)
class GgufFacts:
    """What a model's header says. Counts are 0 where the file does not say.

    `kind` is `general.type`: "model" for text generators and embedding models; others, such as
    "mmproj" and "adapter", have no layers of their own. `heads` and `kv_heads` are the most of any
    layer. `control_tokens` are the texts that a user's text must not be able to become: of type
    control or unknown, or known to llama.cpp as such. User-defined ones it matches in any text;
    often they are runs of spaces. `special_ids` has the ids of those, and of all markers of
    fill-in-the-middle families that the vocabulary knows. `longest_token_bytes` is of a token's
    text as the file spells it, which is never shorter than what the token stands for. `fingerprint`
    changes whenever a file does (`header.py` says what it covers).
    """

    path: Path
    files: tuple[GgufFile, ...]
    version: int
    kind: str
    architecture: str
    name: str | None
    file_type: str
    layers: int
    embedding_length: int
    feed_forward_length: int
    heads: int
    kv_heads: int
    heads_by_layer: tuple[int, ...]
    kv_heads_by_layer: tuple[int, ...]
    key_length: int
    value_length: int
    sliding_window: int | None
    context_length: int
    vocab_size: int
    expert_count: int
    expert_used_count: int
    tensors: tuple[Tensor, ...]
    tokenizer_model: str | None
    bos_id: int | None
    bos_text: str | None
    eos_id: int | None
    eos_text: str | None
    adds_bos: bool
    control_tokens: tuple[str, ...]
    longest_token_bytes: int
    special_ids: Mapping[str, int]
    fim: FimTokens | None
    chat_template: str | None
    fingerprint: str

    @cached_property
    def weights_bytes(self) -> int:
        """Bytes of all tensors, as llama.cpp counts a model's size."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    @property
    def main_type(self) -> str:
        """The type that most of the weights have, by bytes."""
        return _main_type(self.tensors)

    @cached_property
    def parameters(self) -> int:
        """Weights of all tensors."""
        return sum(tensor.n_weights for tensor in self.tensors)


def read_facts(path: Path) -> GgufFacts:
    """Read the facts of the model at `path`, the first of its files where it is split.

    Raises BadModelFile, naming the file, for anything that llama.cpp could not load.
    """
    first = read_header(path)
    headers = (first, *_further_splits(first))
    tensors = tuple(tensor for header in headers for tensor in header.tensors)
    _refuse_wrong_count(Metadata(path, first.metadata), tensors)
    return _facts(Metadata(path, first.metadata), headers, tensors)


def _facts(metadata: Metadata, headers: Sequence[Header], tensors: tuple[Tensor, ...]) -> GgufFacts:
    architecture = metadata.text("general.architecture")
    if architecture is None:
        raise metadata.missing("general.architecture")
    kind = metadata.text("general.type") or ("mmproj" if architecture == "clip" else "model")
    keys = _GeometryKeys(metadata, architecture, is_model=kind == "model")
    layers = keys.layers()
    embedding_length = keys.required("embedding_length")
    heads_by_layer = keys.by_layer("attention.head_count", layers)
    kv_heads_by_layer = keys.by_layer("attention.head_count_kv", layers) or heads_by_layer
    heads = max(heads_by_layer, default=0)
    head_length = embedding_length // heads if heads else 0
    vocabulary = read_vocabulary(metadata)
    return GgufFacts(
        path=metadata.path,
        files=tuple(GgufFile(header.path, header.n_bytes) for header in headers),
        version=headers[0].version,
        kind=kind,
        architecture=architecture,
        name=metadata.text("general.name"),
        file_type=_file_type(metadata, tensors),
        layers=layers,
        embedding_length=embedding_length,
        feed_forward_length=max(keys.by_layer("feed_forward_length", layers), default=0),
        heads=heads,
        heads_by_layer=heads_by_layer,
        kv_heads=max(kv_heads_by_layer, default=0),
        kv_heads_by_layer=kv_heads_by_layer,
        key_length=keys.count("attention.key_length") or head_length,
        value_length=keys.count("attention.value_length") or head_length,
        sliding_window=keys.count("attention.sliding_window") or None,
        context_length=keys.required("context_length"),
        vocab_size=vocabulary.size or keys.count("vocab_size"),
        expert_count=keys.count("expert_count"),
        expert_used_count=keys.count("expert_used_count"),
        tensors=tensors,
        tokenizer_model=vocabulary.tokenizer_model,
        bos_id=vocabulary.bos_id,
        bos_text=vocabulary.bos_text,
        eos_id=vocabulary.eos_id,
        eos_text=vocabulary.eos_text,
        adds_bos=vocabulary.adds_bos,
        control_tokens=vocabulary.control_tokens,
        longest_token_bytes=vocabulary.longest_token_bytes,
        special_ids=vocabulary.special_ids,
        fim=vocabulary.fim,
        chat_template=vocabulary.chat_template,
        fingerprint=_fingerprint(headers),
    )


@dataclass(frozen=True, slots=True)
class _GeometryKeys:
    """The keys that stand under the architecture's name; absent ones are 0 or empty."""

    metadata: Metadata
    architecture: str
    is_model: bool

    def count(self, name: str) -> int:
        return self.metadata.count(f"{self.architecture}.{name}") or 0

    def required(self, name: str) -> int:
        if self.is_model and f"{self.architecture}.{name}" not in self.metadata.values:
            raise self.metadata.missing(f"{self.architecture}.{name}")
        return self.count(name)

    def layers(self) -> int:
        layers = self.required("block_count")
        if layers > MAX_LAYERS:
            raise bad_file(
                self.metadata.path, f"says it has {layers:,} layers; {MAX_LAYERS:,} is the most"
            )
        return layers

    def by_layer(self, name: str, layers: int) -> tuple[int, ...]:
        return self.metadata.counts_by_layer(f"{self.architecture}.{name}", layers) or ()


def _file_type(metadata: Metadata, tensors: Sequence[Tensor]) -> str:
    """Return the name of the type mix: the file's word, else the type that most bytes have."""
    number = metadata.count("general.file_type")
    if number is not None:
        number &= ~GUESSED_FILE_TYPE
        return FILE_TYPES.get(number, f"unknown ({number:,})")
    return _main_type(tensors)


def _main_type(tensors: Sequence[Tensor]) -> str:
    bytes_by_type: Counter[str] = Counter()
    for tensor in tensors:
        bytes_by_type[tensor.type_name] += tensor.n_bytes
    return bytes_by_type.most_common(1)[0][0] if bytes_by_type else "no tensors"


def _fingerprint(headers: Sequence[Header]) -> str:
    """Return 32 hex digits that change whenever one of the model's files does."""
    return sha256(b"".join(header.digest for header in headers)).hexdigest()[:32]


def _further_splits(first: Header) -> list[Header]:
    """Read the files after the first of a split model; names and numbers must agree."""
    metadata = Metadata(first.path, first.metadata)
    n_files = metadata.count("split.count") or 1
    if n_files == 1:
        return []
    name = _SPLIT_NAME.fullmatch(first.path.name)
    if name is None or int(name["count"]) != n_files:
        raise bad_file(
            first.path,
            f"is one of {n_files:,} files, but its name does not end in "
            f"-00001-of-{n_files:05}.gguf",
            hint="give the files back the names they were split into",
        )
    paths = [
        first.path.with_name(f"{name['stem']}-{number:05}-of-{n_files:05}.gguf")
        for number in range(1, n_files + 1)
    ]
    _refuse_wrong_split(metadata, 0, n_files, hint=f"name the first file: {paths[0]}")
    _refuse_missing_splits(paths)
    return [_split(paths[index], index, n_files) for index in range(1, n_files)]


def _refuse_missing_splits(paths: Sequence[Path]) -> None:
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise bad_file(
            paths[0],
            f"is one of {len(paths):,} files; missing beside it: "
            + ", ".join(missing[:SHOWN_NAMES])
            + (", ..." if missing[SHOWN_NAMES:] else ""),
            hint="download all files of the model into one folder",
        )


def _split(path: Path, index: int, n_files: int) -> Header:
    header = read_header(path, index)
    _refuse_wrong_split(Metadata(path, header.metadata), index, n_files)
    return header


def _refuse_wrong_split(
    metadata: Metadata, index: int, n_files: int, hint: str | None = None
) -> None:
    number, count = metadata.count("split.no"), metadata.count("split.count")
    if (number, count) != (index, n_files):
        raise bad_file(
            metadata.path,
            f"its header says file {number} of {count}, expected {index} of {n_files} (from 0)",
            hint=hint,
        )


def _refuse_wrong_count(metadata: Metadata, tensors: Sequence[Tensor]) -> None:
    expected = metadata.count("split.tensors.count")
    found = len({tensor.name for tensor in tensors})
    if expected is not None and found != expected:
        raise bad_file(
            metadata.path,
            f"its files hold {found:,} different tensors, but were split from {expected:,}",
            hint="download all files of the model again, from one place",
        )
