"""The order in which weights are pinned, and what is left to be streamed."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from modelrouter import synthetic
from modelrouter.engine.pages import PAGE_BYTES
from modelrouter.engine.protocol import Span
from modelrouter.engine.weights import rest, spans
from modelrouter.gguf import GgufFacts, GgufFile, read_facts
from modelrouter.synthetic import Geometry

DENSE = Geometry(8, 256, 512, heads=4, kv_heads=4, context_length=256)


def facts_of(folder: Path, geometry: Geometry) -> GgufFacts:
    """Write a model and read its header."""
    path = folder / "model.gguf"
    synthetic.write(path, geometry, "Q8_0")
    return read_facts(path)


@pytest.fixture
def dense(tmp_path: Path) -> GgufFacts:
    """A dense model of eight layers."""
    return facts_of(tmp_path, DENSE)


def span_of(found: tuple[Span, ...], facts: GgufFacts, name: str) -> Span:
    """Return the span that holds the middle of a tensor."""
    (tensor,) = [tensor for tensor in facts.tensors if tensor.name == name]
    middle = tensor.offset + tensor.n_bytes // 2
    (span,) = [span for span in found if span.offset <= middle < span.offset + span.n_bytes]
    return span


@pytest.mark.parametrize("experts", [0, 4])
def test_every_byte_is_in_one_span(tmp_path: Path, experts: int) -> None:
    """They are disjoint, begin at pages, and reach from the first tensor to the file's end."""
    geometry = replace(DENSE, expert_count=experts, expert_used_count=experts // 2)
    facts = facts_of(tmp_path, geometry)
    found = sorted(spans(facts), key=lambda span: span.offset)
    assert all(span.offset % PAGE_BYTES == 0 for span in found)
    assert all(a.offset + a.n_bytes == b.offset for a, b in itertools.pairwise(found))
    first = min(tensor.offset for tensor in facts.tensors)
    assert found[0].offset == first // PAGE_BYTES * PAGE_BYTES
    last = max(tensor.offset + tensor.n_bytes for tensor in facts.tensors)
    assert found[-1].offset + found[-1].n_bytes == last


def test_layers_are_spread_and_embeddings_come_last(dense: GgufFacts) -> None:
    """The output head, then every other layer of every other: any beginning is spread evenly."""
    found = spans(dense)
    assert [span.layer for span in found] == [8, 0, 4, 2, 6, 1, 5, 3, 7, None]
    assert found[0] == span_of(found, dense, "output.weight")
    assert found[-1] == span_of(found, dense, "token_embd.weight")


def test_tied_embeddings_are_the_output_head(tmp_path: Path) -> None:
    """They are read whole for the logits, so they come first."""
    facts = facts_of(tmp_path, replace(DENSE, tied_embeddings=True))
    found = spans(facts)
    embeddings = span_of(found, facts, "token_embd.weight")
    assert embeddings in found[:2]
    assert embeddings.layer == 8
    assert None not in [span.layer for span in found]


def test_experts_come_after_what_every_pass_reads(tmp_path: Path) -> None:
    """A pass uses two of four: a byte of them pinned saves half of what another saves."""
    facts = facts_of(tmp_path, replace(DENSE, expert_count=4, expert_used_count=2))
    found = spans(facts)
    whole = [span for span in found if span.layer is not None]
    assert found[: len(whole)] == tuple(whole)
    assert span_of(found, facts, "blk.0.ffn_up_exps.weight").layer is None
    assert span_of(found, facts, "blk.0.attn_q.weight").layer == 0
    assert found[-1] == span_of(found, facts, "token_embd.weight")


def test_split_files(dense: GgufFacts) -> None:
    """Each stretch is in one file, and the order goes across them; a first file may be empty."""
    names = ("a.gguf", "b.gguf", "c.gguf")
    split = replace(
        dense,
        files=tuple(GgufFile(Path(name), 10**9) for name in names),
        tensors=tuple(
            replace(tensor, file_index=1 + (number % 2))
            for number, tensor in enumerate(dense.tensors)
        ),
    )
    found = spans(split)
    assert {span.path for span in found} == {"b.gguf", "c.gguf"}
    assert [span.path for span in found if span.layer == 0] == ["b.gguf", "c.gguf"]


def test_the_rest_begins_where_the_pin_ends() -> None:
    """Whole spans leave, one is cut, and nothing is left in the end."""
    weights = (Span("a", 0, 8, 0), Span("b", 16, 8, 1))
    assert tuple(rest(weights, 0)) == weights
    assert tuple(rest(weights, 8)) == weights[1:]
    assert tuple(rest(weights, 11)) == (Span("b", 19, 5, 1),)
    assert tuple(rest(weights, 99)) == ()
