"""Models over several files, and the fingerprint by which a changed file is known."""

import os
from collections.abc import Callable
from pathlib import Path

import llama_cpp
import pytest
from gguf_bytes import (
    entry,
    llama_model,
    packed_file,
    packed_geometry,
)
from split_files import split_keys, write_split

from modelrouter import synthetic
from modelrouter.errors import BadModelFile
from modelrouter.gguf import GgufFile, read_facts
from modelrouter.synthetic import SMALL, TINY


def test_split_model(tmp_path: Path) -> None:
    """The first file of a split model leads to all of them, and llama.cpp loads the same whole."""
    paths = write_split(tmp_path, 3)
    facts, whole = read_facts(paths[0]), read_facts(tmp_path / "whole.gguf")
    assert facts.files == tuple(GgufFile(path, path.stat().st_size) for path in paths)
    assert [tensor.name for tensor in facts.tensors if tensor.file_index == 1] == [
        tensor.name for tensor in whole.tensors[1::3]
    ]
    assert (facts.weights_bytes, facts.parameters) == (whole.weights_bytes, whole.parameters)
    with llama_model(paths[0]) as model:
        assert llama_cpp.llama_model_n_params(model) == facts.parameters
        assert llama_cpp.llama_model_size(model) == facts.weights_bytes


def test_split_tensors_lie_in_their_files(tmp_path: Path) -> None:
    """A tensor's offset counts in the file that its index names."""
    facts, whole = read_facts(write_split(tmp_path, 2)[0]), read_facts(tmp_path / "whole.gguf")
    by_name = {tensor.name: tensor for tensor in whole.tensors}
    for tensor in facts.tensors:
        there, here = by_name[tensor.name], facts.files[tensor.file_index].path.read_bytes()
        expected = (tmp_path / "whole.gguf").read_bytes()[
            there.offset : there.offset + there.n_bytes
        ]
        assert here[tensor.offset : tensor.offset + tensor.n_bytes] == expected


def refusal(path: Path) -> tuple[str, str | None]:
    """Return message and hint of the error for a file, without the folder's name."""
    with pytest.raises(BadModelFile) as caught:
        read_facts(path)
    folder = f"{path.parent}{os.sep}"
    hint = caught.value.hint
    return caught.value.message.replace(folder, ""), hint and hint.replace(folder, "")


def test_split_file_missing(tmp_path: Path) -> None:
    """A missing file of a split model is named."""
    paths = write_split(tmp_path, 3)
    paths[2].rename(tmp_path / "elsewhere")
    assert refusal(paths[0]) == (
        "big-00001-of-00003.gguf: is one of 3 files; missing beside it: big-00003-of-00003.gguf",
        "download all files of the model into one folder",
    )


def test_split_file_not_the_first(tmp_path: Path) -> None:
    """Any other file than the first says which the first is."""
    paths = write_split(tmp_path, 3)
    assert refusal(paths[1]) == (
        "big-00002-of-00003.gguf: its header says file 1 of 3, expected 0 of 3 (from 0)",
        "name the first file: big-00001-of-00003.gguf",
    )


def test_split_files_swapped(tmp_path: Path) -> None:
    """A file under another one's name is found out."""
    paths = write_split(tmp_path, 3)
    paths[2].write_bytes(paths[1].read_bytes())
    assert refusal(paths[0]) == (
        "big-00003-of-00003.gguf: its header says file 1 of 3, expected 2 of 3 (from 0)",
        None,
    )


def test_split_file_renamed(tmp_path: Path) -> None:
    """A first file whose name gives the others away no longer says so."""
    renamed = write_split(tmp_path, 3)[0].rename(tmp_path / "big.gguf")
    assert refusal(renamed) == (
        "big.gguf: is one of 3 files, but its name does not end in -00001-of-00003.gguf",
        "give the files back the names they were split into",
    )


def test_split_tensors_missing(tmp_path: Path) -> None:
    """Files of two different splits do not pass for one model."""
    paths = write_split(tmp_path, 2)
    paths[1].write_bytes(packed_file(split_keys(1, 2, 21), [entry("lone", [1])], bytes(32)))
    assert refusal(paths[0]) == (
        "big-00001-of-00002.gguf: its files hold 12 different tensors, but were split from 21",
        "download all files of the model again, from one place",
    )


# ---- fingerprint


def flip(path: Path, at: int) -> None:
    """Change one byte and put the time of last change back."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def touch(path: Path) -> None:
    """Change nothing but the time of last change, by one nanosecond."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def grow(path: Path) -> None:
    """Append a byte and put the time of last change back."""
    status = path.stat()
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path: Path) -> None:
    """Put other weights of the same shapes in its place, with the same time of last change."""
    status = path.stat()
    synthetic.write(path, SMALL, "F16", seed=2)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(touch, id="touched"),
        pytest.param(grow, id="longer"),
        pytest.param(replace, id="replaced"),
        pytest.param(lambda path: flip(path, path.read_bytes().index(b"synthetic")), id="header"),
        pytest.param(lambda path: flip(path, -1), id="last byte"),
    ],
)
def test_fingerprint_changes(change: Callable[[Path], None], tmp_path: Path) -> None:
    """Whatever changes in a file, its fingerprint changes, so no answer of the old one is used."""
    path = tmp_path / "model.gguf"
    synthetic.write(path, SMALL, "F16", seed=1)
    before = read_facts(path).fingerprint
    assert len(before) == 32
    assert read_facts(path).fingerprint == before
    change(path)
    assert read_facts(path).fingerprint != before


def test_fingerprint_covers_the_size(tmp_path: Path) -> None:
    """A file that only grew, by bytes like those before, has another fingerprint."""
    path = tmp_path / "zeros.gguf"
    path.write_bytes(packed_file(packed_geometry(), [entry("a", [8])], bytes(100_000)))
    before = read_facts(path).fingerprint
    grow(path)
    assert read_facts(path).fingerprint != before


def test_fingerprint_covers_every_split(tmp_path: Path) -> None:
    """A change in the last file of a split model changes the model's fingerprint."""
    paths = write_split(tmp_path, 3)
    before = read_facts(paths[0]).fingerprint
    flip(paths[2], -1)
    assert read_facts(paths[0]).fingerprint != before


def test_fingerprint_is_the_same_under_another_name(tmp_path: Path) -> None:
    """A model that is moved keeps its fingerprint, and with it what is cached of it."""
    path = tmp_path / "model.gguf"
    synthetic.write(path, TINY, "Q8_0")
    before = read_facts(path).fingerprint
    assert read_facts(path.rename(tmp_path / "moved.gguf")).fingerprint == before
