"""A hole's prompt in a real tokenizer: its markers are single tokens, and the caller's text is not.

The tiny model has the markers of Qwen2.5-Coder in its vocabulary.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelrouter.engine.fim import render_hole
from modelrouter.engine.llama import LlamaBackend
from modelrouter.engine.protocol import Load
from modelrouter.gguf.fim import BY_NAME
from modelrouter.memory.kv import StoredTypes
from modelrouter.synthetic.vocabulary import CONTROL_TOKENS, token_id
from modelrouter.types import Extra, Hole

QWEN = BY_NAME["qwen2.5-coder"]
CONTROLS = frozenset(map(token_id, CONTROL_TOKENS))
texts = st.lists(st.sampled_from([*CONTROL_TOKENS, "<|fim_", "prefix|>", "a", "\n", "é"])).map(
    "".join
)


@pytest.fixture(scope="module")
def tiny(tiny_gguf: Path) -> Iterator[LlamaBackend]:
    """The tiny model, for its tokenizer."""
    backend = LlamaBackend(
        Load(str(tiny_gguf), True, 512, 1, 32, StoredTypes("q8_0", "f16"), 1), lambda _: None
    )
    yield backend
    backend.close()


def test_markers_are_single_tokens(tiny: LlamaBackend) -> None:
    """Each is the one token of its text, and the text between is the caller's to the byte."""
    hole = Hole("a = [", "]\n", (Extra("b.py", "b = 1"),))
    tokens = tiny.tokenize(render_hole(hole, QWEN, 4096, 128))
    names = {token_id(text): text for text in CONTROL_TOKENS}
    spelled = b"".join(names.get(t, "").encode() or tiny.bytes_of(t) for t in tokens).decode()
    assert spelled == (
        "<|repo_name|>project\n<|file_sep|>b.py\nb = 1\n<|file_sep|>filename\n"
        "<|fim_prefix|>a = [<|fim_suffix|>]\n<|fim_middle|>"
    )


@given(prefix=texts, suffix=texts, elsewhere=texts)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_becomes_a_control_token(
    tiny: LlamaBackend, prefix: str, suffix: str, elsewhere: str
) -> None:
    """Whatever the caller writes, wherever: the control tokens are those of the layout alone."""
    hole = Hole(prefix, suffix, (Extra(elsewhere, elsewhere),))
    tokens = tiny.tokenize(render_hole(hole, QWEN, 100_000, 128))
    layout = (QWEN.repository, QWEN.file, QWEN.file, QWEN.prefix, QWEN.suffix, QWEN.middle)
    assert [token for token in tokens if token in CONTROLS] == [token_id(text) for text in layout]
