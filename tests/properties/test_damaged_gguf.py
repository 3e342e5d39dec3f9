"""Whatever bytes a model file holds, reading its header ends in facts or in a clear refusal."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter import synthetic
from modelrouter.errors import BadModelFile
from modelrouter.gguf import read_facts


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole tiny model, to be damaged in copies."""
    path = tmp_path_factory.mktemp("fuzz") / "whole.gguf"
    synthetic.write(path, synthetic.TINY, "Q4_0")
    return path


def facts_or_refusal(path: Path, content: bytes) -> None:
    """Read the file; it must come out as facts or as BadModelFile, and nothing else."""
    path.write_bytes(content)
    try:
        facts = read_facts(path)
    except BadModelFile as error:
        assert error.message.startswith(f"{path}: ")  # noqa: PT017 - either outcome is right
    else:
        assert facts.weights_bytes <= len(content)


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_bytes(data: st.DataObject, whole: Path) -> None:
    """Any bytes of the header may be anything: the answer is facts or BadModelFile."""
    content = bytearray(whole.read_bytes())
    header_end = min(tensor.offset for tensor in read_facts(whole).tensors)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, header_end - 1))
        damage = data.draw(st.binary(min_size=1, max_size=12))
        content[at : at + len(damage)] = damage
    facts_or_refusal(whole.with_name("damaged.gguf"), bytes(content))


@settings(max_examples=100)
@given(at=st.integers(0, 500), value=st.integers(0, 2**64 - 1))
def test_damaged_numbers(at: int, value: int, whole: Path) -> None:
    """A length, count or type of any value at all is survived."""
    content = bytearray(whole.read_bytes())
    content[at : at + 8] = struct.pack("<Q", value)
    facts_or_refusal(whole.with_name("damaged.gguf"), bytes(content))


@settings(max_examples=100)
@given(share=st.floats(0, 1, exclude_max=True))
def test_cut_anywhere(share: float, whole: Path) -> None:
    """A file cut short at any byte is refused, for the last byte of the weights too."""
    content = whole.read_bytes()
    last = max(tensor.offset + tensor.n_bytes for tensor in read_facts(whole).tensors)
    path = whole.with_name("cut.gguf")
    path.write_bytes(content[: int(last * share)])
    with pytest.raises(BadModelFile) as caught:
        read_facts(path)
    assert caught.value.message.startswith(f"{path}: ")
