"""What the first message says of a model: where its weights lie, and who gives way."""

from dataclasses import replace
from pathlib import Path

from modelrouter.engine.protocol import Span
from modelrouter.engine.spawning import BACKGROUND, load_message
from modelrouter.gguf import GgufFile
from modelrouter.registry import ModelSpec


def test_mapped_weights_are_where_the_tensors_are(long_spec: ModelSpec) -> None:
    """From the first tensor's first byte to the last one's last, which ends the file."""
    path = long_spec.facts.path
    (span,) = load_message(long_spec).weights
    assert span.path == str(path)
    assert span.offset == min(tensor.offset for tensor in long_spec.facts.tensors)
    assert 0 <= path.stat().st_size - (span.offset + span.n_bytes) < 32  # the last one's padding


def test_each_split_file_has_its_span(long_spec: ModelSpec) -> None:
    """In the files' order; the first of a split model may hold a header and nothing else."""
    facts = long_spec.facts
    first, second, *_ = facts.tensors
    split = replace(
        facts,
        files=tuple(GgufFile(Path(name), 10**6) for name in ("a.gguf", "b.gguf", "c.gguf")),
        tensors=(
            replace(first, file_index=2, offset=500, n_bytes=50),
            replace(second, file_index=1, offset=300, n_bytes=30),
            replace(second, file_index=1, offset=100, n_bytes=10),
        ),
    )
    assert load_message(replace(long_spec, facts=split)).weights == (
        Span("b.gguf", 100, 230),
        Span("c.gguf", 500, 50),
    )


def test_who_gives_way(tiny_spec: ModelSpec, long_spec: ModelSpec) -> None:
    """A mapped model does, a resident one does not; whoever starts it may say otherwise."""
    assert load_message(tiny_spec).niceness == "normal"
    assert load_message(tiny_spec).weights == ()
    assert load_message(long_spec).niceness == BACKGROUND
    assert load_message(long_spec, "normal").niceness == "normal"
