"""Every file that is no whole model is refused with its name, the numbers, and what would help."""

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from gguf_bytes import (
    ARRAY,
    STRING,
    U32,
    entry,
    key,
    numbers,
    packed_file,
    packed_geometry,
    strings,
    text,
)

from modelrouter.errors import BadModelFile
from modelrouter.gguf import read_facts
from modelrouter.gguf.reader import MAX_HEADER_BYTES


def message(path: Path) -> str:
    """Return what read_facts says is wrong with the file, without its path."""
    with pytest.raises(BadModelFile) as caught:
        read_facts(path)
    assert caught.value.message.startswith(f"{path}: ")
    return caught.value.message.removeprefix(f"{path}: ")


def shape_file(shape: Sequence[int], type_code: int = 0, offset: int = 0) -> bytes:
    """Pack a file with one tensor and no data."""
    return packed_file(packed_geometry(), [entry("a", shape, type_code, offset)])


def key_file(name: str, value_type: int, packed: bytes) -> bytes:
    """Pack a model of two layers with one more key."""
    return packed_file([*packed_geometry(), key(name, value_type, packed)])


WHOLE = packed_file(packed_geometry(), [entry("a", [8])], bytes(32))
ONE_COUNT = struct.pack("<I", 1)

CUT_SHORT = {
    "three bytes": (
        b"GGU",
        "the magic number at byte 0 would end at byte 4, but the file ends at 3",
    ),
    "in the counts": (
        WHOLE[:20],
        "a table of 1 tensors at byte 16 would end at byte 48, but the file ends at 20",
    ),
    "in a key's name": (
        packed_file(packed_geometry())[:40],
        "a table of 5 keys at byte 24 would end at byte 89, but the file ends at 40",
    ),
    "in a value's length": (
        packed_file([key("general.name", STRING, text("a name"))])[:54],
        (
            "the length of the value of general.name at byte 48 would end at byte 56, "
            "but the file ends at 54"
        ),
    ),
    "in a value": (
        packed_file([key("general.name", STRING, text("a name"))])[:58],
        "the value of general.name at byte 56 would end at byte 62, but the file ends at 58",
    ),
    "in the tensor table": (
        WHOLE[:233],
        "the shape of a at byte 230 would end at byte 238, but the file ends at 233",
    ),
    "keys beyond counting": (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63) + bytes(99),
        (
            "a table of 9,223,372,036,854,775,808 keys at byte 24 would end at byte "
            "119,903,836,479,112,085,528, but the file ends at 123"
        ),
    ),
    "tensors beyond counting": (
        b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0) + bytes(99),
        (
            "a table of 1,099,511,627,776 tensors at byte 16 would end at byte 35,184,372,088,848, "
            "but the file ends at 123"
        ),
    ),
    "a text beyond the file": (
        key_file("general.name", STRING, struct.pack("<Q", 2**63)),
        (
            "the value of general.name at byte 249 would end at byte 9,223,372,036,854,776,057, "
            "but the file ends at 256"
        ),
    ),
    "an array beyond the file": (
        key_file("a", ARRAY, struct.pack("<IQ", U32, 2**61)),
        (
            "a table of 2,305,843,009,213,693,952 items in a at byte 242 would end at byte "
            "9,223,372,036,854,776,050, but the file ends at 256"
        ),
    ),
    "a last string beyond the file": (
        key_file("a", ARRAY, struct.pack("<IQQ", STRING, 1, 99)),
        "the strings of a at byte 242 would end at byte 349, but the file ends at 256",
    ),
    "strings beyond the file": (
        key_file("a", ARRAY, struct.pack("<IQ", STRING, 3) + text("b") + struct.pack("<Q", 99)),
        "the strings of a at byte 242 would end at byte 366, but the file ends at 288",
    ),
}


@pytest.mark.parametrize("case", CUT_SHORT)
def test_cut_short(case: str, tmp_path: Path) -> None:
    """Where a header breaks off is said: what was being read, from which byte to which."""
    content, expected = CUT_SHORT[case]
    path = tmp_path / "cut.gguf"
    path.write_bytes(content)
    assert message(path) == "its header is damaged or cut short: " + expected


BAD_FILES = {
    "no GGUF": (
        b"\x93NUMPY\x01\x00",
        "is not a GGUF file: its first bytes are 93 4e 55 4d ('\\\\x93NUM')",
    ),
    "big-endian": (b"GGUF" + struct.pack(">I", 3) + bytes(16), "is a big-endian GGUF file"),
    "version 1": (
        packed_file([], version=1),
        "has GGUF version 1; versions 2 and 3 can be read",
    ),
    "version of tomorrow": (
        packed_file([], version=40_000),
        "has GGUF version 40,000; versions 2 and 3 can be read",
    ),
    "cut in the data": (
        WHOLE[:-8],
        "holds 280 bytes; its tensor table needs 288: the download was cut short?",
    ),
    "array of arrays": (
        key_file("a", ARRAY, struct.pack("<IQ", ARRAY, 0)),
        "a is an array of arrays, which llama.cpp cannot read",
    ),
    "unknown value type": (
        key_file("a", 13, b""),
        "a has the unknown value type 13 (0 to 12 exist)",
    ),
    "key twice": (
        packed_file([*packed_geometry(), *packed_geometry()]),
        "the key 'general.architecture' is there twice",
    ),
    "key not UTF-8": (
        packed_file([text(b"a\xff") + ONE_COUNT]),
        "the name of key 0 at byte 32 is not UTF-8: invalid start byte at its byte 1, 0xff",
    ),
    "text not UTF-8": (
        key_file("general.name", STRING, text(b"caf\xe9")),
        (
            "the value of general.name at byte 249 is not UTF-8: unexpected end of data "
            "at its byte 3, 0xe9"
        ),
    ),
    "tensor of no dimensions": (
        shape_file([]) + bytes(32),
        "tensor 'a' has 0 dimensions; 1 to 4 can be read",
    ),
    "tensor of five dimensions": (
        shape_file([1] * 5),
        "tensor 'a' has 5 dimensions; 1 to 4 can be read",
    ),
    "tensor of unknown type": (
        shape_file([32], 31),
        "tensor 'a' has the unknown type 31",
    ),
    "tensor of no rows": (
        shape_file([4, 0]),
        "tensor 'a' has the shape (4, 0), which blocks of 1 F32 weights cannot fill",
    ),
    "tensor of half blocks": (
        shape_file([48, 2], 2),
        "tensor 'a' has the shape (48, 2), which blocks of 32 Q4_0 weights cannot fill",
    ),
    "tensor off the alignment": (
        shape_file([1], offset=7),
        "tensor 'a' starts at 7, off the alignment of 32",
    ),
    "tensor beyond everything": (
        shape_file([2**60, 2**60]),
        (
            "holds 288 bytes; its tensor table needs "
            "5,316,911,983,139,663,491,615,228,241,121,378,592: the download was cut short?"
        ),
    ),
    "tensor twice": (
        packed_file(packed_geometry(), [entry("a", [1]), entry("a", [1])], bytes(32)),
        "tensor 'a' is there twice",
    ),
    "alignment": (
        key_file("general.alignment", U32, struct.pack("<I", 48)),
        "general.alignment is 48, which is no sane power of two",
    ),
    "no architecture": (
        packed_file([key("general.name", STRING, text("a"))]),
        "says no general.architecture, which every model must",
    ),
    "no layers": (
        packed_file(packed_geometry(block_count=-1)),
        "says no llama.block_count, which every model must",
    ),
    "absurd layers": (
        packed_file(packed_geometry(block_count=2**31)),
        "says it has 2,147,483,648 layers; 4,096 is the most",
    ),
    "no width": (
        packed_file(packed_geometry(embedding_length=-1)),
        "says no llama.embedding_length, which every model must",
    ),
    "wrong type": (
        key_file("general.file_type", STRING, text("Q4")),
        "general.file_type is 'Q4', expected a count",
    ),
    "values of another number of layers": (
        key_file("llama.attention.head_count", ARRAY, numbers(4, 4, 4)),
        "llama.attention.head_count holds 3 values for 2 layers",
    ),
    "values that do not count": (
        key_file("llama.attention.head_count", ARRAY, strings("4", "4")),
        "llama.attention.head_count is an array of 2 items, expected an array of numbers",
    ),
    "token beyond the vocabulary": (
        key_file("tokenizer.ggml.eos_token_id", U32, ONE_COUNT),
        "tokenizer.ggml.eos_token_id is 1, but there are 0 tokens",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file(case: str, tmp_path: Path) -> None:
    """What is wrong with the file is said in full, with the byte and the numbers."""
    content, expected = BAD_FILES[case]
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    assert message(path) == expected


@pytest.mark.parametrize(
    ("start", "hint"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "it looks like a git-lfs pointer: `git lfs pull` fetches the file itself",
        ),
        (
            b"<!DOCTYPE html>",
            "it looks like a web page: the download link led somewhere else",
        ),
        (
            b"PK\x03\x04\x00\x00",
            "it looks like a PyTorch checkpoint: convert it to GGUF with llama.cpp",
        ),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{", "llama.cpp reads GGUF files only"),
    ],
)
def test_other_formats(start: bytes, hint: str, tmp_path: Path) -> None:
    """What people mistake for a model file is recognised, and the way out is said."""
    path = tmp_path / "other.gguf"
    path.write_bytes(start)
    with pytest.raises(BadModelFile) as caught:
        read_facts(path)
    assert caught.value.hint == hint


def test_no_such_file(tmp_path: Path) -> None:
    """A name that is nearly right gets the right one as a hint."""
    (tmp_path / "coder-7b-q4.gguf").touch()
    path = tmp_path / "coder-7b-q5.gguf"
    with pytest.raises(BadModelFile) as caught:
        read_facts(path)
    assert caught.value.message == f"{path}: there is no such file"
    assert caught.value.hint == 'did you mean "coder-7b-q4.gguf"?'


def test_no_such_folder(tmp_path: Path) -> None:
    """Where the folder is missing too, the hint says so."""
    path = tmp_path / "modles" / "a.gguf"
    with pytest.raises(BadModelFile) as caught:
        read_facts(path)
    assert caught.value.message == f"{path}: there is no such file"
    assert caught.value.hint == f"there is no folder {path.parent} either"


def test_not_a_regular_file(tmp_path: Path) -> None:
    """Folders, empty files, pipes and loops of links are told apart, and none of them hangs."""
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    assert message(tmp_path) == "is a folder, not a model file"
    assert message(tmp_path / "empty") == "is empty (0 bytes)"
    assert message(tmp_path / "pipe") == "is not a regular file, so llama.cpp cannot map it"
    assert message(tmp_path / "a\0b") == "cannot be the name of a file: embedded null byte"
    assert message(tmp_path / "loop") == "cannot be read: Too many levels of symbolic links"


def test_endless_header(tmp_path: Path) -> None:
    """A huge file whose header never ends is refused after the longest header there can be."""
    path = tmp_path / "sparse.gguf"
    path.write_bytes(key_file("a", ARRAY, struct.pack("<IQ", U32, 2**33)))
    os.truncate(path, 2**36)
    assert message(path) == (
        "its header is damaged or cut short: a table of 8,589,934,592 items in a at byte 242 "
        f"would end at byte 34,359,738,610, but no header is longer than {MAX_HEADER_BYTES:,}"
    )
