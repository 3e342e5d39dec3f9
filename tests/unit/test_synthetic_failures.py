"""A synthetic model is written whole or not at all, and every refusal says why with the numbers."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelrouter.errors import CapacityError, RequestError
from modelrouter.gguf import read_facts
from modelrouter.synthetic import GEOMETRIES, SMALL, TINY, geometry_named, planned_bytes, write
from modelrouter.synthetic.vocabulary import SMALL_VOCABULARY_SIZE


class Stop(Exception):
    """What the progress callbacks of these tests raise."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    path = tmp_path / "models"
    path.mkdir()
    return path


def stop(error: type[BaseException]) -> Callable[[int, int], None]:
    """Return a progress callback that raises once half of the file is written."""

    def raise_half_way(written_bytes: int, n_bytes: int) -> None:
        if written_bytes > n_bytes // 2:
            raise error

    return raise_half_way


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, OSError])
def test_stopped_half_way(error: type[BaseException], folder: Path) -> None:
    """What stops the writing half-way comes through, with a note of how far it was."""
    with pytest.raises(error) as caught:
        write(folder / "model.gguf", TINY, "F32", progress=stop(error))
    (note,) = caught.value.__notes__
    n_bytes = planned_bytes(TINY, "F32")
    path = folder / "model.gguf"
    stopped = rf"{path}: stopped after 3\d\d,\d\d\d of {n_bytes:,} bytes; they are removed"
    assert re.fullmatch(stopped, note)
    assert list(folder.iterdir()) == []


def test_old_file_stays_until_the_new_is_whole(folder: Path) -> None:
    """A failed write leaves the file of that name as it was; a finished one takes its place."""
    path = folder / "model.gguf"
    write(path, TINY, "Q8_0")
    before = path.read_bytes()
    with pytest.raises(Stop):
        write(path, TINY, "F16", progress=stop(Stop))
    assert path.read_bytes() == before
    write(path, TINY, "F16")
    assert read_facts(path).file_type == "F16"
    assert list(folder.iterdir()) == [path]


def test_progress_counts_up_to_the_whole(folder: Path) -> None:
    """Progress is told in rising numbers that end with the planned size."""
    seen: list[tuple[int, int]] = []
    n_bytes = write(folder / "model.gguf", TINY, "Q4_0", progress=lambda *at: seen.append(at))
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {n_bytes}
    assert seen[-1] == (n_bytes, n_bytes)


def test_disk_fills_up(folder: Path) -> None:
    """Where the disk takes no more, the error says how much it took, and gets it back."""
    program = """
import resource, sys
from pathlib import Path
from modelrouter.errors import CapacityError
from modelrouter.synthetic import TINY, write
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write(Path(sys.argv[1]), TINY, "F32")
except CapacityError as error:
    print(error.message)
"""
    path = folder / "model.gguf"
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    n_bytes = planned_bytes(TINY, "F32")
    assert done.stdout == (
        f"{path}: File too large, after 100,000 of {n_bytes:,} bytes; they are removed\n"
    )
    assert list(folder.iterdir()) == []


def test_disk_too_small(folder: Path) -> None:
    """A model larger than the free space is refused before a byte is written."""
    petabytes = replace(SMALL, layers=512, embedding_length=2**19, feed_forward_length=2**24)
    path = folder / "model.gguf"
    with pytest.raises(CapacityError) as caught:
        write(path, petabytes, "F32")
    needed = f"{planned_bytes(petabytes, 'F32'):,}"
    assert re.fullmatch(
        rf"{path} needs {needed} bytes, but its disk has [\d,]+ free", caught.value.message
    )
    assert list(folder.iterdir()) == []


def test_nowhere_to_write(folder: Path) -> None:
    """A missing folder and a folder in the file's place are the request's fault."""
    missing, taken = folder / "nowhere" / "model.gguf", folder / "taken"
    taken.mkdir()
    with pytest.raises(RequestError) as caught:
        write(missing, TINY, "F32")
    assert caught.value.message == f"cannot write {missing}: No such file or directory"
    with pytest.raises(RequestError) as caught:
        write(taken, TINY, "F32")
    assert caught.value.message == f"cannot write {taken}: it is a folder"
    assert list(folder.iterdir()) == [taken]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"layers": 0}, "layers must be from 1 to 512, got 0"),
        (
            {"feed_forward_length": 2**40},
            "feed_forward_length must be from 1 to 16,777,216, got 1,099,511,627,776",
        ),
        ({"context_length": -5}, "context_length must be from 1 to 16,777,216, got -5"),
        ({"kv_heads": 3}, "heads must be a multiple of kv_heads, got 8 and 3"),
        ({"kv_heads": 16}, "heads must be a multiple of kv_heads, got 8 and 16"),
        ({"heads": 0, "kv_heads": 0}, "heads must be a multiple of kv_heads, got 0 and 0"),
        (
            {"embedding_length": 264},
            "embedding_length must give each of 8 heads an even share, got 264",
        ),
        ({"key_length": 33}, "key_length must be even and from 2 to 256, got 33"),
        ({"key_length": 512}, "key_length must be even and from 2 to 256, got 512"),
        (
            {"expert_used_count": 2},
            "2 of 0 experts cannot be used; 1 or more of at most 512 can, or 0 of 0",
        ),
        (
            {"expert_count": 4},
            "0 of 4 experts cannot be used; 1 or more of at most 512 can, or 0 of 0",
        ),
        (
            {"sliding_window": 0},
            "sliding_window must be from 1 to the context's 4,096 tokens, got 0",
        ),
        (
            {"sliding_window": 8, "expert_count": 4, "expert_used_count": 2},
            "a model has a sliding window or experts here, not both",
        ),
        (
            {"vocab_size": 100},
            f"vocab_size must be from {SMALL_VOCABULARY_SIZE:,} to 1,048,576, got 100",
        ),
    ],
)
def test_impossible_geometry(changes: dict[str, Any], expected: str) -> None:
    """What no model can be is refused where it is said, with the numbers."""
    with pytest.raises(RequestError) as caught:
        replace(SMALL, **changes)
    assert caught.value.message == expected


def test_geometry_does_not_fit_the_quantization(folder: Path) -> None:
    """Rows that are not whole blocks are refused, naming the first such tensor."""
    with pytest.raises(RequestError) as caught:
        write(folder / "model.gguf", TINY, "Q4_K")
    assert caught.value.message == (
        "Q4_K packs 256 weights of a row together, but the rows of token_embd.weight are 64 long"
    )
    assert caught.value.hint == (
        "choose lengths that are multiples of 256, or a quantization of smaller blocks, "
        "such as Q4_0 or Q8_0"
    )
    with pytest.raises(RequestError):
        planned_bytes(replace(TINY, feed_forward_length=100), "Q8_0")
    assert list(folder.iterdir()) == []


def test_unknown_quantization() -> None:
    """An unknown quantization is answered with all that are known."""
    with pytest.raises(RequestError) as caught:
        planned_bytes(TINY, "Q4_k")
    assert caught.value.message == (
        "there is no quantization 'Q4_k' to write; there are "
        "F32, F16, Q4_0, Q4_1, Q8_0, Q4_K, Q5_K, Q6_K"
    )
    assert caught.value.hint == 'did you mean "Q4_K"?'


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Llama-65B", 'did you mean "llama-65b"?'),
        ("qwen2.5-coder-9b", 'did you mean "qwen2.5-coder-7b"?'),
        ("x", None),
    ],
)
def test_unknown_geometry(name: str, hint: str | None) -> None:
    """It is answered with all that are known, and the nearest."""
    with pytest.raises(RequestError) as caught:
        geometry_named(name)
    assert caught.value.message.startswith(
        f'there is no geometry "{name}"; there are tiny, small, smollm2-135m, llama-7b, '
    )
    assert caught.value.hint == hint


def test_every_named_geometry_has_a_quantization() -> None:
    """All named geometries can be planned in Q8_0, the one that fits the most widths."""
    assert all(planned_bytes(geometry, "Q8_0") > 0 for geometry in GEOMETRIES.values())
