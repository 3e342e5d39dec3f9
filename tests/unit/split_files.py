"""The tiny model over several files, the way llama.cpp's gguf-split writes it."""

import struct
from pathlib import Path

from gguf_bytes import I32, U16, entry, key, packed_file

from modelrouter import synthetic
from modelrouter.gguf import read_facts
from modelrouter.gguf.tensors import TENSOR_TYPES
from modelrouter.synthetic import TINY, header
from modelrouter.synthetic.quantization import QUANTIZATIONS


def split_keys(number: int, count: int, n_tensors: int) -> list[bytes]:
    """Pack the keys by which the files of a split model know each other."""
    return [
        key("split.no", U16, struct.pack("<H", number)),
        key("split.count", U16, struct.pack("<H", count)),
        key("split.tensors.count", I32, struct.pack("<i", n_tensors)),
    ]


def write_split(folder: Path, n_files: int) -> list[Path]:
    """Write the tiny model over several files, the way llama.cpp's gguf-split does."""
    quantization = QUANTIZATIONS["Q8_0"]
    whole = folder / "whole.gguf"
    synthetic.write(whole, TINY, "Q8_0")
    facts, content = read_facts(whole), whole.read_bytes()
    codes = {tensor_type.name: code for code, tensor_type in TENSOR_TYPES.items()}
    keys = [*header._model_keys(TINY, quantization, "split"), *header._tokenizer_keys(TINY)]
    paths = []
    for number in range(n_files):
        entries, data = [], b""
        for tensor in facts.tensors[number::n_files]:
            entries.append(entry(tensor.name, tensor.shape, codes[tensor.type_name], len(data)))
            data += content[tensor.offset : tensor.offset + tensor.n_bytes]
            data += bytes(-len(data) % 32)
        own_keys = split_keys(number, n_files, len(facts.tensors)) + (keys if number == 0 else [])
        paths.append(folder / f"big-{number + 1:05}-of-{n_files:05}.gguf")
        paths[-1].write_bytes(packed_file(own_keys, entries, data))
    return paths
